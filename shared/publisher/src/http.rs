//! Publishing through a gateway: `POST /api/events` with NDJSON, for executors without a broker connection.

use crate::{
    HttpTargetError, PublishError,
    sink::{Entry, Fate},
};
use bytes::Bytes;
use reqwest::{Client, Response, StatusCode, Url, header};
use serde::Deserialize;
use std::time::Duration;
use weft_bus::Ack;

/// Without an answer for so long, a request is repeated.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause that a gateway's `Retry-After` can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15);
/// Most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) struct HttpSink {
    client: Client,
    url: Url,
    token: Option<String>,
}

impl HttpSink {
    pub(crate) fn new(base_url: &str, token: Option<String>) -> Result<Self, HttpTargetError> {
        let refuse = |why: String| HttpTargetError(format!("gateway URL: {why}"));
        let base = Url::parse(base_url).map_err(|error| refuse(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(refuse("must begin with http:// or https://".into()));
        }
        let mut url = base;
        let path = format!("{}/api/events", url.path().trim_end_matches('/'));
        url.set_path(&path);
        // Another part of the process may have chosen its provider already; that one serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| HttpTargetError(format!("HTTP client: {error}")))?;
        Ok(Self { client, url, token })
    }

    /// Posts a batch and answers for each event, in order. A batch that is refused as a whole is halved until it is
    /// known which event is at fault.
    pub(crate) async fn send(&self, batch: &[Entry]) -> Vec<Fate> {
        let mut fates = Vec::with_capacity(batch.len());
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            let Some(answered) = self.post(part).await else {
                let (before, after) = part.split_at(part.len() / 2);
                parts.extend([after, before]);
                continue;
            };
            let all_done = answered.iter().all(|fate| matches!(fate, Fate::Stored(_) | Fate::Refused(_)));
            fates.extend(answered);
            if !all_done {
                break;
            }
        }
        fates.resize_with(batch.len(), || Fate::HeldBack);
        fates
    }

    /// `None` where the batch is refused as a whole, and only a smaller one would tell more.
    async fn post(&self, batch: &[Entry]) -> Option<Vec<Fate>> {
        let mut request = self.client.post(self.url.clone()).header(header::CONTENT_TYPE, "application/x-ndjson");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = match request.body(ndjson(batch)).send().await {
            Ok(answer) => answer,
            Err(error) => return Some(held(batch.len(), sentence(&error), None)),
        };
        let (status, after) = (answer.status(), retry_after(&answer));
        let text = read(answer).await;
        Some(match status {
            StatusCode::ACCEPTED | StatusCode::OK => accepted(batch.len(), &text),
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {
                return refused_one(batch.len(), status, &text);
            }
            StatusCode::PAYLOAD_TOO_LARGE if batch.len() > 1 => return None,
            StatusCode::PAYLOAD_TOO_LARGE => vec![Fate::Refused(PublishError::TooLarge(told(&text, status)))],
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                held(batch.len(), told(&text, status), after)
            }
            _ if status.is_server_error() => held(batch.len(), told(&text, status), after),
            // The address or the token is wrong; that is the same for every event.
            _ => batch.iter().map(|_| Fate::Refused(PublishError::Refused(told(&text, status)))).collect(),
        })
    }
}

/// An acceptance of fewer events than were sent is none: the ids make sending all again harmless.
fn accepted(sent: usize, text: &[u8]) -> Vec<Fate> {
    #[derive(Deserialize)]
    struct Accepted {
        accepted: usize,
    }
    match serde_json::from_slice::<Accepted>(text) {
        Ok(answer) if answer.accepted == sent => {
            (0..sent).map(|_| Fate::Stored(Ack { position: None, duplicate: false })).collect()
        }
        Ok(answer) => held(sent, format!("{} of {sent} events accepted", answer.accepted), None),
        Err(_) => held(sent, "accepted without saying how many".into(), None),
    }
}

/// One event of the batch is at fault. Whether those before it are stored is unknown; they are sent again.
fn refused_one(sent: usize, status: StatusCode, text: &[u8]) -> Option<Vec<Fate>> {
    let refusal = Refusal::read(text);
    let named = refusal.as_ref().and_then(Refusal::item).filter(|at| *at < sent);
    let at = named.or((sent == 1).then_some(0))?;
    let mismatch = refusal.as_ref().and_then(Refusal::code).is_some_and(|code| code == "owner_mismatch");
    let failure = if mismatch { PublishError::OwnerMismatch } else { PublishError::Refused(told(text, status)) };
    let mut fates: Vec<Fate> = (0..sent).map(|_| Fate::HeldBack).collect();
    fates[at] = Fate::Refused(failure);
    Some(fates)
}

fn ndjson(batch: &[Entry]) -> Bytes {
    let mut body = Vec::with_capacity(batch.iter().map(|entry| entry.item.event.body.len() + 1).sum());
    for entry in batch {
        body.extend_from_slice(&entry.item.event.body);
        body.push(b'\n');
    }
    body.into()
}

fn held(events: usize, reason: String, after: Option<Duration>) -> Vec<Fate> {
    let mut fates: Vec<Fate> = (0..events).map(|_| Fate::HeldBack).collect();
    if let Some(first) = fates.first_mut() {
        *first = Fate::Again { reason, after };
    }
    fates
}

fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

async fn read(mut answer: Response) -> Vec<u8> {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.extend_from_slice(&chunk);
        // An acceptance lists an id for every event, so only what is surely no answer of ours is cut.
        if text.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    text
}

fn sentence(error: &reqwest::Error) -> String {
    let mut sentence = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        sentence = format!("{sentence}: {cause}");
        source = cause.source();
    }
    sentence
}

fn told(text: &[u8], status: StatusCode) -> String {
    let message = Refusal::read(text).and_then(|refusal| refusal.message());
    format!("the gateway answered {}{}", status.as_u16(), message.map_or(String::new(), |message| format!(": {message}")))
}

/// A gateway's refusal: which item, and why.
#[derive(Default, Deserialize)]
struct Refusal {
    error: Option<Detail>,
    #[serde(flatten)]
    top: Fields,
}

/// Older gateways tell the reason as a plain string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Detail {
    Fields(Fields),
    Text(String),
}

#[derive(Default, Deserialize)]
struct Fields {
    code: Option<String>,
    message: Option<String>,
    #[serde(alias = "index")]
    item: Option<usize>,
}

impl Refusal {
    fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    fn item(&self) -> Option<usize> {
        match &self.error {
            Some(Detail::Fields(fields)) => fields.item.or(self.top.item),
            _ => self.top.item,
        }
    }

    fn code(&self) -> Option<&str> {
        match &self.error {
            Some(Detail::Fields(fields)) => fields.code.as_deref().or(self.top.code.as_deref()),
            Some(Detail::Text(text)) => self.top.code.as_deref().or(Some(text)),
            None => self.top.code.as_deref(),
        }
    }

    fn message(&self) -> Option<String> {
        match &self.error {
            Some(Detail::Fields(fields)) => fields.message.clone().or_else(|| self.top.message.clone()),
            Some(Detail::Text(text)) => self.top.message.clone().or_else(|| Some(text.clone())),
            None => self.top.message.clone(),
        }
    }
}
