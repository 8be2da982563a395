//! Commands without a broker: a gateway is told which executions run here and streams their commands (SSE).

mod sse;

use self::sse::{SseEvent, SseReader};
use crate::refusal::{Code, Refusal};
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, Semaphore, mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use weft_bus::{Address, Command, Incoming, Reply};
use weft_event::Room;

/// A registration lives 30 s at the gateway.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// The gateway sends a comment every 10 s; a stream silent for longer than this is dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// One request but the stream.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to connect, doubled from the first to the last.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest a reply is repeated; whoever asked has stopped waiting by then.
const REPLY_FOR: Duration = Duration::from_secs(10);
/// Replies under way at once.
const REPLIES_AT_ONCE: usize = 64;

/// Where a gateway is and who we are there.
#[derive(Clone)]
pub struct Line {
    base: Url,
    token: Option<String>,
    client: Client,
    executor_id: String,
}

/// A gateway that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The URL is not one.
    #[error("WEFT_GATEWAY_URL: {0}")]
    Url(String),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Client(#[from] reqwest::Error),
}

/// Why a request to the gateway failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing came back.
    #[error("the gateway cannot be reached: {0}")]
    Away(reqwest::Error),
    /// Something else than expected came back.
    #[error("the gateway answered {0}")]
    Status(StatusCode),
}

/// A gateway's address, if it can be one.
///
/// # Errors
/// [`LineError::Url`], with the rule.
pub fn base_url(text: &str) -> Result<Url, LineError> {
    let base = Url::parse(text).map_err(|error| LineError::Url(error.to_string()))?;
    match base.scheme() {
        "http" | "https" if base.host_str().is_some() => Ok(base),
        _ => Err(LineError::Url("must be http://<host> or https://<host>".into())),
    }
}

impl Line {
    /// A line to the gateway at `base`, such as `http://127.0.0.1:3001`.
    pub fn new(base: &str, token: Option<String>, executor_id: &str) -> Result<Self, LineError> {
        let base = base_url(base)?;
        let client = crate::client::builder_for(&base).build()?;
        Ok(Self { base, token, client, executor_id: executor_id.to_owned() })
    }

    fn request(&self, method: reqwest::Method, path: &[&str], query: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

/// What the gateway is told about this process.
pub struct Registration {
    line: Line,
    workflows: Vec<Value>,
    executions: Mutex<BTreeSet<String>>,
    changed: Notify,
    /// One request at a time: an older one that arrives late must not take back what a newer one has said.
    turn: tokio::sync::Mutex<()>,
}

impl Registration {
    /// A registration that [`keep`](Self::keep) renews; `workflows` are summaries.
    #[must_use]
    pub fn new(line: Line, workflows: Vec<Value>) -> Self {
        Self { line, workflows, executions: Mutex::default(), changed: Notify::new(), turn: tokio::sync::Mutex::default() }
    }

    /// An execution runs here; say so with [`renew`](Self::renew).
    pub fn add(&self, id: &str) {
        self.executions.lock().insert(id.to_owned());
    }

    /// An execution takes no more commands.
    pub fn remove(&self, id: &str) {
        self.executions.lock().remove(id);
        self.changed.notify_one();
    }

    /// Tells the gateway what runs here.
    pub async fn renew(&self) -> Result<(), RequestError> {
        let _turn = self.turn.lock().await;
        let executions: Vec<String> = self.executions.lock().iter().cloned().collect();
        let body = json!({"executions": executions, "workflows": self.workflows});
        let request = self
            .line
            .request(reqwest::Method::PUT, &["commands", &self.line.executor_id], &[])
            .timeout(REQUEST_TIMEOUT)
            .json(&body);
        let response = request.send().await.map_err(RequestError::Away)?;
        if response.status().is_success() { Ok(()) } else { Err(RequestError::Status(response.status())) }
    }

    /// Renews on every change and in time.
    pub async fn keep(&self, leaving: CancellationToken) {
        let mut was_away = false;
        loop {
            let renewed = self.renew().await;
            if let (Err(error), false) = (&renewed, was_away) {
                warn!(%error, "the gateway does not know what runs here");
            }
            was_away = renewed.is_err();
            let pause = if was_away { PAUSE_MAX } else { RENEW_EVERY };
            tokio::select! {
                () = leaving.cancelled() => return,
                () = self.changed.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }
}

impl Registration {
    /// Whether the gateway knows of an execution with this id. One that may not be read counts as unknown.
    pub async fn knows(&self, id: &str) -> Result<bool, RequestError> {
        let request = self.line.request(reqwest::Method::GET, &["executions", id], &[]).timeout(REQUEST_TIMEOUT);
        match request.send().await.map_err(RequestError::Away)?.status() {
            StatusCode::OK => Ok(true),
            status if status.is_client_error() => Ok(false),
            status => Err(RequestError::Status(status)),
        }
    }
}

/// Takes commands from the gateway until `leaving`; reconnects for ever.
pub async fn take_commands(registration: Arc<Registration>, inbox: mpsc::Sender<Incoming>, leaving: CancellationToken) {
    let replies = Arc::new(Semaphore::new(REPLIES_AT_ONCE));
    let mut pause = PAUSE_MIN;
    loop {
        let streamed = leaving.run_until_cancelled(stream(&registration, &inbox, &replies)).await;
        match streamed {
            None => return,
            Some(Ok(())) => {
                debug!("the gateway ended the stream of commands");
                pause = PAUSE_MIN;
            }
            Some(Err(error)) => {
                warn!(%error, retry_ms = pause.as_millis() as u64, "no commands from the gateway");
            }
        }
        if leaving.run_until_cancelled(sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn stream(
    registration: &Registration,
    inbox: &mpsc::Sender<Incoming>,
    replies: &Arc<Semaphore>,
) -> Result<(), RequestError> {
    let line = &registration.line;
    let request = line.request(reqwest::Method::GET, &["commands"], &[("executor", &line.executor_id)]);
    let response = request.header("accept", "text/event-stream").send();
    let response = timeout(REQUEST_TIMEOUT, response).await.map_err(|_| RequestError::Status(StatusCode::GATEWAY_TIMEOUT))?;
    let response = response.map_err(RequestError::Away)?;
    if response.status() != StatusCode::OK {
        return Err(RequestError::Status(response.status()));
    }
    info!(gateway = %line.base, "takes commands from the gateway");
    // A gateway that has restarted knows nothing of us.
    registration.changed.notify_one();
    let (mut chunks, mut reader) = (response.bytes_stream(), SseReader::default());
    loop {
        let chunk: Bytes = match timeout(SILENCE_MAX, chunks.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(RequestError::Away(error)),
            Err(_) => {
                warn!("the stream of commands is silent");
                return Ok(());
            }
        };
        for event in reader.feed(&chunk) {
            take(line, event, inbox, replies).await;
        }
    }
}

/// A command as the gateway sends it.
#[derive(Deserialize)]
struct Sent {
    #[serde(rename = "ref")]
    reference: String,
    address: String,
    kind: String,
    subject: Option<String>,
    body: Box<RawValue>,
}

async fn take(line: &Line, event: SseEvent, inbox: &mpsc::Sender<Incoming>, replies: &Arc<Semaphore>) {
    if event.name != "command" {
        return;
    }
    let sent: Sent = match serde_json::from_str(&event.data) {
        Ok(sent) => sent,
        Err(error) => {
            warn!(%error, "the gateway sent what is no command");
            return;
        }
    };
    let (reply, answered) = oneshot::channel();
    let refused = match address_of(&sent.address) {
        None => Some(Refusal::field("address", "must be execution:<id> or executor:<id>")),
        Some(address) => {
            let (reference, kind, subject, body) = (sent.reference.clone(), sent.kind, sent.subject, sent.body);
            let incoming = Incoming { command: Command { reference, kind, subject, body }, address, reply };
            inbox.try_send(incoming).err().map(|_| Refusal::new(Code::Busy, "the executor takes no more commands now"))
        }
    };
    let Ok(place) = replies.clone().acquire_owned().await else { return };
    let line = line.clone();
    tokio::spawn(async move {
        let told = match refused {
            Some(refusal) => Some(crate::commands::rejected(&refusal)),
            None => answered.await.ok(),
        };
        if let Some(told) = told {
            send_reply(&line, &sent.reference, &told).await;
        }
        drop(place);
    });
}

fn address_of(text: &str) -> Option<Address> {
    match text.strip_prefix("executor:") {
        Some(id) => Some(Address::Executor(id.to_owned())),
        None => Room::parse_broker_name(text).ok().filter(|room| room.name().starts_with("execution:")).map(Address::Execution),
    }
}

/// Sends a reply, again and again while the gateway cannot be reached and somebody may still wait.
async fn send_reply(line: &Line, reference: &str, reply: &Reply) {
    let until = Instant::now() + REPLY_FOR;
    let mut pause = PAUSE_MIN;
    loop {
        let request =
            line.request(reqwest::Method::POST, &["commands", reference, "reply"], &[]).timeout(REQUEST_TIMEOUT).json(reply);
        let problem = match request.send().await {
            Ok(response) if response.status().is_success() => return,
            // Nobody waits for it any more, or it came before: a first attempt may have arrived after all.
            Ok(response) if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::CONFLICT) => {
                debug!(reference, status = response.status().as_u16(), "a reply was not needed");
                return;
            }
            Ok(response) if response.status().is_client_error() => {
                warn!(reference, status = response.status().as_u16(), "a reply was refused");
                return;
            }
            Ok(response) => RequestError::Status(response.status()),
            Err(error) => RequestError::Away(error),
        };
        if Instant::now() + pause > until {
            warn!(reference, error = %problem, "a reply could not be sent");
            return;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
