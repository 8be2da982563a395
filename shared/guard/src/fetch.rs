//! Asking others over HTTP, carefully: no redirects, a bounded answer, a bounded time, and no URL in an error.

use futures_util::StreamExt;
use reqwest::{Client, Url, redirect::Policy};
use std::time::Duration;

/// Reads a URL: `https`, or `http` to this machine itself, or to others where that is allowed.
pub(crate) fn url(text: &str, may_be_plain: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_plain_enough = may_be_plain || is_loopback(&url);
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_plain_enough => Ok(url),
        "http" => Err("must be an https URL; http to another machine needs WEFT_AUTH_PLAIN_HTTP=true".into()),
        _ => Err("must be an https URL".into()),
    }
}

fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// A client for this URL. A redirect could lead anywhere; the URL of the settings is the one that is trusted.
pub(crate) fn client(url: &Url, timeout: Duration) -> Result<Client, String> {
    // Another part of the process may have chosen its provider already; that one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder().timeout(timeout).connect_timeout(timeout).redirect(Policy::none());
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| error.to_string())
}

/// Sends a request and reads an answer of at most so many bytes; any status but success is an error.
pub(crate) async fn answer(request: reqwest::RequestBuilder, bytes_max: usize) -> Result<Vec<u8>, String> {
    let told = |error: reqwest::Error| {
        let error = error.without_url();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    };
    let answer = request.send().await.map_err(told)?;
    if !answer.status().is_success() {
        return Err(format!("the answer was {}", answer.status()));
    }
    let (mut body, mut parts) = (Vec::new(), answer.bytes_stream());
    while let Some(part) = parts.next().await {
        body.extend_from_slice(&part.map_err(told)?);
        if body.len() > bytes_max {
            return Err(format!("the answer is larger than {bytes_max} bytes"));
        }
    }
    Ok(body)
}
