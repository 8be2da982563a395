//! Plain HTTP requests to the processes under test.

use crate::{Fault, Result};
use std::{sync::OnceLock, time::Duration};

/// A request that takes longer has failed: the fabric answers in milliseconds or says 503.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A new HTTP client. Each test makes its own, because its connections live in the test's runtime.
///
/// # Panics
/// The TLS library cannot be set up, which no test can go on without.
#[must_use]
pub fn client() -> reqwest::Client {
    builder().timeout(REQUEST_TIMEOUT).build().expect("an HTTP client without files")
}

/// One whose answers may go on for as long as they like.
pub(crate) fn unlimited() -> reqwest::Client {
    builder().build().expect("an HTTP client without files")
}

fn builder() -> reqwest::ClientBuilder {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        // An error means that the test has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().no_proxy()
}

/// The body of a successful GET.
///
/// # Errors
/// No answer, or one that is not 2xx.
pub async fn get_text(url: &str) -> Result<String> {
    let answer = client().get(url).send().await.map_err(|error| Fault::said(url, error))?;
    let (status, body) = (answer.status(), answer.text().await.map_err(|error| Fault::said(url, error))?);
    if status.is_success() { Ok(body) } else { Err(Fault::said(url, format!("{status} {body}"))) }
}

/// The JSON body of a successful GET.
///
/// # Errors
/// No answer, one that is not 2xx, or no JSON.
pub async fn get_json(url: &str) -> Result<serde_json::Value> {
    let text = get_text(url).await?;
    serde_json::from_str(&text).map_err(|error| Fault::said(url, format!("{error}: {text}")))
}
