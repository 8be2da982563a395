//! Requests to gateways: one of several addresses, the token, and what refusals say.

use crate::{exit::Failure, settings::LineSettings};
use rand::Rng as _;
use reqwest::{Client, Method, StatusCode, Url, header, redirect};
use serde_json::Value;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a gateway waits for an executor.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often all addresses are gone through before a request is given up.
const ROUNDS: u32 = 3;
/// Bound of the pause after the first round; doubled with each.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest pause that a gateway's `Retry-After` can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// The gateways of one installation. Cheap to clone; clones share which one answered last.
#[derive(Clone)]
pub struct Gateways {
    urls: Arc<[Url]>,
    token: Token,
    client: Client,
    /// The address that answered last.
    at: Arc<AtomicUsize>,
}

/// Where the token comes from.
#[derive(Clone)]
enum Token {
    None,
    Text(Arc<str>),
    /// Read again each time, because whatever renews it writes it there.
    File(PathBuf),
}

/// A request's body.
#[derive(Clone)]
pub enum Body {
    /// None.
    Empty,
    /// A JSON value.
    Json(String),
    /// Events, one a line.
    Lines(bytes::Bytes),
}

/// What a gateway answered.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// When to come back, where it said so.
    pub after: Option<Duration>,
    /// The body, as it came.
    pub text: String,
}

/// Nothing came back.
pub struct NoAnswer {
    /// Whether it is sure that the gateway has not had the request.
    pub unsent: bool,
    /// What happened.
    pub reason: String,
}

impl Answer {
    /// The code and the words of a refusal.
    #[must_use]
    pub fn refusal(&self) -> (String, String) {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let word = |name: &str| body["error"][name].as_str().map(str::to_owned);
        match word("code") {
            Some(code) => (code, word("message").unwrap_or_default()),
            None => (String::new(), format!("the gateway answered {}", self.status)),
        }
    }

    fn failure(&self) -> Failure {
        let (code, message) = self.refusal();
        match (code.as_str(), self.status.as_u16()) {
            ("", 401) => Failure::told("unauthenticated", &message),
            ("", 403) => Failure::told("forbidden", &message),
            ("", 500..) => Failure::away(message),
            ("", _) => Failure::told("refused", &message),
            (code, _) => Failure::told(code, &message),
        }
    }

    /// Nothing was done, and another gateway, or this one in a moment, may do it.
    fn is_for_another(&self) -> bool {
        let (code, _) = self.refusal();
        matches!(code.as_str(), "draining" | "overloaded" | "unavailable" | "rate_limited")
            || (code.is_empty() && matches!(self.status.as_u16(), 502 | 503))
    }
}

impl Gateways {
    /// Checks the addresses and finds the token.
    ///
    /// # Errors
    /// A setting that cannot be used, by its name.
    pub fn new(settings: &LineSettings) -> Result<Self, Failure> {
        let given = settings.gateway.iter().filter(|url| !url.trim().is_empty());
        let urls = given.map(|url| base_url(url.trim())).collect::<Result<Vec<_>, _>>()?;
        if urls.is_empty() {
            return Err(Failure::usage("WEFT_GATEWAY_URL: must name a gateway, as in http://127.0.0.1:3001"));
        }
        let token = match (&settings.token_file, std::env::var("WEFT_TOKEN")) {
            (Some(path), _) => Token::File(path.clone()),
            (None, Ok(token)) if !token.trim().is_empty() => Token::Text(token.trim().into()),
            (None, _) => Token::None,
        };
        // Another part of the process may have chosen its provider already; that one serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("weft/", env!("CARGO_PKG_VERSION")))
            // A server that is named must not choose another one for us: it would be sent the token.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT);
        if urls.iter().all(is_loopback) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| Failure::away(format!("no HTTP client: {error}")))?;
        let gateways = Self { urls: urls.into(), token, client, at: Arc::default() };
        gateways.token()?;
        Ok(gateways)
    }

    /// A warning for the one who types, where the token would travel in the clear.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let clear = self.urls.iter().find(|url| url.scheme() == "http" && !is_loopback(url));
        clear.filter(|_| !matches!(self.token, Token::None)).map(|url| format!("the token travels in the clear to {url}"))
    }

    /// The token as of now.
    ///
    /// # Errors
    /// The file cannot be read, or holds no token.
    pub fn token(&self) -> Result<Option<String>, Failure> {
        let (name, token) = match &self.token {
            Token::None => return Ok(None),
            Token::Text(text) => ("WEFT_TOKEN".to_owned(), text.to_string()),
            Token::File(path) => {
                let name = format!("WEFT_TOKEN_FILE: {}", path.display());
                let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
                (name, text.trim().to_owned())
            }
        };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::usage(format!("{name}: must hold one token of visible ASCII characters")));
        }
        Ok(Some(token))
    }

    /// Whether asking for the token again may give another one.
    #[must_use]
    pub fn renews_token(&self) -> bool {
        matches!(self.token, Token::File(_))
    }

    /// How many addresses there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.urls.len()
    }

    /// The address of the native protocol at gateway `index`, counted round and round from the one that answered last.
    #[must_use]
    pub fn websocket(&self, index: usize) -> Url {
        let mut url = self.url(index).clone();
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        // A change between these schemes is always allowed.
        let _ = url.set_scheme(scheme);
        extend(&mut url, &["ws"], &[]);
        url
    }

    fn url(&self, index: usize) -> &Url {
        &self.urls[(self.at.load(Ordering::Relaxed) + index) % self.urls.len()]
    }

    /// One request to one gateway; `index` as in [`Gateways::websocket`].
    ///
    /// # Errors
    /// Nothing came back. (The failure is one of the settings.)
    pub async fn once(
        &self,
        index: usize,
        method: &Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: &Body,
    ) -> Result<Result<Answer, NoAnswer>, Failure> {
        let at = (self.at.load(Ordering::Relaxed) + index) % self.urls.len();
        let mut url = self.urls[at].clone();
        extend(&mut url, path, query);
        let mut request = self.client.request(method.clone(), url.clone());
        if let Some(token) = self.token()? {
            request = request.bearer_auth(token);
        }
        request = match body {
            Body::Empty => request,
            Body::Json(text) => request.header(header::CONTENT_TYPE, "application/json").body(text.clone()),
            Body::Lines(lines) => request.header(header::CONTENT_TYPE, "application/x-ndjson").body(lines.clone()),
        };
        let answered = match request.send().await {
            Ok(response) => read(response).await,
            Err(error) => Err(error),
        };
        Ok(match answered {
            Ok(answer) => {
                if answer.status.is_success() {
                    self.at.store(at, Ordering::Relaxed);
                }
                Ok(answer)
            }
            Err(error) => Err(NoAnswer { unsent: error.is_connect(), reason: format!("{}: {}", origin(&url), sentence(&error)) }),
        })
    }

    /// A request that may be repeated: at each gateway in turn, a few times round.
    ///
    /// # Errors
    /// A refusal, or nobody there.
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<String, Failure> {
        self.ask(&Method::GET, path, query, &Body::Empty, true).await
    }

    /// A request that does something. `repeatable` says that doing it twice is no more than doing it once; else it is sent again
    /// only where it is sure that nothing was done.
    ///
    /// # Errors
    /// A refusal, or nobody there.
    pub async fn post(&self, path: &[&str], body: &Value, repeatable: bool) -> Result<String, Failure> {
        self.ask(&Method::POST, path, &[], &Body::Json(body.to_string()), repeatable).await
    }

    async fn ask(
        &self,
        method: &Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: &Body,
        repeatable: bool,
    ) -> Result<String, Failure> {
        let mut last = Failure::away("no gateway was asked");
        for round in 0..ROUNDS {
            let mut after = None;
            for index in 0..self.urls.len() {
                match self.once(index, method, path, query, body).await? {
                    Ok(answer) if answer.status.is_success() => return Ok(answer.text),
                    Ok(answer) if answer.is_for_another() => {
                        last = answer.failure();
                        after = after.max(answer.after);
                    }
                    Ok(answer) => return Err(answer.failure()),
                    Err(no_answer) if repeatable || no_answer.unsent => last = Failure::away(no_answer.reason),
                    Err(no_answer) => {
                        return Err(Failure::away(format!("{}; whether it was done is unknown", no_answer.reason)));
                    }
                }
            }
            if round + 1 < ROUNDS {
                let bound = PAUSE * 2_u32.pow(round);
                let jitter = bound.mul_f64(rand::rng().random());
                tokio::time::sleep(after.map_or(jitter, |after| after.min(RETRY_AFTER_MAX))).await;
            }
        }
        Err(last)
    }
}

fn base_url(text: &str) -> Result<Url, Failure> {
    let wrong = |rule: &str| Failure::usage(format!("WEFT_GATEWAY_URL: {text}: {rule}"));
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.host_str().is_some_and(|host| !host.is_empty()) => Ok(url),
        _ => Err(wrong("must be http://<host> or https://<host>")),
    }
}

fn extend(url: &mut Url, path: &[&str], query: &[(&str, &str)]) {
    // Only addresses that cannot be a base have no segments; those were refused.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("api").extend(path);
    }
    url.set_query(None);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        None => false,
    }
}

/// An address without what may be secret in it.
#[must_use]
pub fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

async fn read(mut response: reqwest::Response) -> Result<Answer, reqwest::Error> {
    let status = response.status();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        text.extend_from_slice(&chunk);
        // No answer of ours is so long; what is cut off does not read as JSON.
        if text.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(Answer { status, after: after.map(Duration::from_secs), text: String::from_utf8_lossy(&text).into_owned() })
}

/// An error with its causes, and without the address, which is told beside it.
fn sentence(error: &reqwest::Error) -> String {
    let mut source: &dyn std::error::Error = error;
    let mut sentence = String::from(if error.is_connect() { "cannot be reached" } else { "no answer" });
    while let Some(cause) = source.source() {
        source = cause;
    }
    sentence.push_str(": ");
    sentence.push_str(&source.to_string());
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateways(urls: &str) -> Result<Gateways, Failure> {
        Gateways::new(&LineSettings { gateway: urls.split(',').map(str::to_owned).collect(), token_file: None })
    }

    #[test]
    fn addresses_are_checked_and_become_those_of_the_protocol() {
        for (url, websocket) in [
            ("http://127.0.0.1:3001", "ws://127.0.0.1:3001/api/ws"),
            ("https://weft.example/", "wss://weft.example/api/ws"),
            ("https://weft.example/under/?x=1", "wss://weft.example/under/api/ws"),
        ] {
            assert_eq!(gateways(url).expect(url).websocket(0).as_str(), websocket);
        }
        for url in ["", "foo", "ftp://x", "nats://x:4222", "http://"] {
            let refused = gateways(url).err().expect(url);
            assert!(refused.message.starts_with("WEFT_GATEWAY_URL: "), "{refused}");
        }
        let two = gateways("http://a, http://b").expect("two");
        assert_eq!(
            [0, 1, 2].map(|at| two.websocket(at).host_str().map(str::to_owned)),
            ["a", "b", "a"].map(|host| Some(host.into()))
        );
    }

    #[test]
    fn refusals_are_read_in_the_services_words() {
        let answer = |status: u16, text: &str| Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            after: None,
            text: text.to_owned(),
        };
        for (status, text, message, for_another) in [
            (404, r#"{"error":{"code":"not_found","message":"no such"}}"#, "not_found: no such", false),
            (503, r#"{"error":{"code":"no_executor","message":"nobody"}}"#, "no_executor: nobody", false),
            (503, r#"{"error":{"code":"draining","message":"leaving"}}"#, "draining: leaving", true),
            (502, "<html>", "the gateway answered 502 Bad Gateway", true),
            (401, "", "unauthenticated: the gateway answered 401 Unauthorized", false),
        ] {
            let answer = answer(status, text);
            assert_eq!((answer.failure().message.as_str(), answer.is_for_another()), (message, for_another));
        }
    }
}
