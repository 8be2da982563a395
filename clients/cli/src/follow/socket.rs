//! The connection: open, subscribe, read, come back.

use super::{
    Ask, Message, Told, Wanted,
    backoff::Backoff,
    rooms::{News, Rooms},
    shown::Shown,
};
use crate::{
    exit::{Exit, Failure},
    gateway::{Gateways, origin},
};
use futures_util::{SinkExt as _, StreamExt as _};
use rand::Rng as _;
use serde_json::{Value, json};
use std::{collections::HashMap, ops::ControlFlow, time::Duration};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        self, Error,
        client::IntoClientRequest as _,
        http::{HeaderValue, StatusCode, header},
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use weft_dialect::told::{CLOSES, ComeBack, ERRORS};

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Silent for so long a gateway is asked whether it is there, and after as long again taken for gone.
const SILENCE: Duration = Duration::from_secs(20);
/// Largest message of a gateway.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// After so many refusals of a token in a row it is no use to read it again.
const TOKENS_MAX: u32 = 3;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection ended, if another may be tried.
struct Ended {
    /// For people.
    reason: String,
    /// Whether to wait longer than after a connection that broke.
    later: bool,
}

/// The task that holds the connection.
pub(super) struct Line {
    gateways: Gateways,
    rooms: Rooms,
    options: serde_json::Map<String, Value>,
    told: mpsc::Sender<Told>,
    asks: mpsc::Receiver<Ask>,
    backoff: Backoff,
    /// Requests whose answer is waited for, by `ref`.
    answers: HashMap<String, oneshot::Sender<Result<(), Failure>>>,
    /// Rooms of a subscribe whose answer is waited for, by `ref`.
    asked: HashMap<String, Vec<String>>,
    /// Rooms to be asked for again, and when.
    again: Option<(Instant, Vec<String>)>,
    count: u64,
    tokens_refused: u32,
    shown: Shown,
    /// Where the connection goes to.
    place: String,
}

/// What ends the task: a failure, or nobody who listens.
type Flow<T> = Result<T, Option<Failure>>;

impl Line {
    pub(super) fn new(gateways: Gateways, wanted: Wanted, told: mpsc::Sender<Told>, asks: mpsc::Receiver<Ask>) -> Self {
        let mut options = serde_json::Map::from_iter([("batch".to_owned(), Value::Bool(true))]);
        if wanted.snapshot {
            options.insert("snapshot".into(), true.into());
        }
        if !wanted.types.is_empty() {
            options.insert("types".into(), wanted.types.into());
        }
        Self {
            gateways,
            rooms: Rooms::new(wanted.rooms),
            options,
            told,
            asks,
            backoff: Backoff::default(),
            answers: HashMap::new(),
            asked: HashMap::new(),
            again: None,
            count: 0,
            tokens_refused: 0,
            shown: Shown::default(),
            place: String::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let Err(end) = self.connect_for_ever().await else { return };
        if let Some(failure) = end {
            // Nobody who listens is nobody to tell.
            let _ = self.told.send(Told::Failed(failure)).await;
        }
    }

    async fn connect_for_ever(&mut self) -> Flow<()> {
        let mut at = 0;
        loop {
            let begun = Instant::now();
            let ended = match self.open(at).await? {
                Ok(socket) => {
                    let ended = self.connection(socket).await?;
                    self.backoff.ended(begun.elapsed());
                    ended
                }
                Err(ended) => ended,
            };
            // Their senders are dropped: whether what was asked was done is unknown.
            self.answers.clear();
            self.asked.clear();
            self.again = None;
            self.tell(Told::Lost(ended.reason)).await?;
            at += 1;
            let pause = self.backoff.next(rand::rng().random(), ended.later);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.told.closed() => return Err(None),
            }
        }
    }

    /// `Ok(Err(…))` where another attempt may do better.
    async fn open(&mut self, at: usize) -> Flow<Result<Socket, Ended>> {
        let url = self.gateways.websocket(at);
        let wrong = |error: &dyn std::fmt::Display| Some(Failure::usage(format!("{url}: {error}")));
        let mut request = url.as_str().into_client_request().map_err(|error| wrong(&error))?;
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("weft.v1.json"));
        let token = self.gateways.token().map_err(Some)?;
        self.shown.begin(token.as_deref());
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| wrong(&error))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
        let opened = tokio::select! {
            opened = timeout(OPEN_TIMEOUT, connect_async_with_config(request, Some(config), true)) => opened,
            () = self.told.closed() => return Err(None),
        };
        let place = origin(&url);
        self.place.clone_from(&place);
        match opened {
            Ok(Ok((socket, _))) => Ok(Ok(socket)),
            Ok(Err(Error::Http(answer))) => self.not_upgraded(&place, answer.status(), answer.headers()).map(Err),
            Ok(Err(Error::Io(error))) => Ok(Err(Ended { reason: format!("{place}: {error}"), later: false })),
            Ok(Err(error)) => Ok(Err(Ended { reason: format!("{place}: {error}"), later: false })),
            Err(_) => Ok(Err(Ended { reason: format!("{place}: no answer within {} s", OPEN_TIMEOUT.as_secs()), later: false })),
        }
    }

    fn not_upgraded(&mut self, place: &str, status: StatusCode, headers: &tungstenite::http::HeaderMap) -> Flow<Ended> {
        let reason = format!("{place}: the gateway answered {status}");
        match status.as_u16() {
            401 => self.token_refused(&reason)?,
            403 => return Err(Some(Failure::told("forbidden", &reason))),
            400 | 404 | 405 => return Err(Some(Failure::new(Exit::Refused, reason))),
            _ => {}
        }
        let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        if let Some(seconds) = after {
            self.backoff.hint(Duration::from_secs(seconds));
        }
        Ok(Ended { reason, later: true })
    }

    fn token_refused(&mut self, reason: &str) -> Flow<()> {
        self.tokens_refused += 1;
        if self.gateways.renews_token() && self.tokens_refused < TOKENS_MAX {
            return Ok(());
        }
        Err(Some(Failure::told("unauthenticated", reason)))
    }

    /// One connection from its beginning to its end.
    async fn connection(&mut self, mut socket: Socket) -> Flow<Ended> {
        let mut heard = Instant::now();
        let mut pinged = false;
        loop {
            let again = self.again.as_ref().map(|(when, _)| *when);
            let next = tokio::select! {
                next = socket.next() => next,
                Some(ask) = self.asks.recv() => {
                    self.request(&mut socket, ask).await;
                    continue;
                }
                () = until(again) => {
                    if let Some((_, rooms)) = self.again.take() {
                        self.subscribe(&mut socket, rooms).await;
                    }
                    continue;
                }
                () = sleep(SILENCE) => {
                    if pinged && heard.elapsed() >= 2 * SILENCE {
                        return Ok(Ended { reason: "the gateway is silent".into(), later: false });
                    }
                    pinged = true;
                    send(&mut socket, &json!({"type": "ping"})).await;
                    continue;
                }
                () = self.told.closed() => {
                    // A polite end; a gateway that does not answer it is not waited for.
                    let _ = timeout(Duration::from_millis(200), socket.close(None)).await;
                    return Err(None);
                }
            };
            pinged = false;
            if let ControlFlow::Break(ended) = self.frame(&mut socket, next).await? {
                return Ok(ended);
            }
            // The reader may have taken long, and that is no silence of the gateway.
            heard = Instant::now();
        }
    }

    async fn frame(
        &mut self,
        socket: &mut Socket,
        next: Option<Result<tungstenite::Message, Error>>,
    ) -> Flow<ControlFlow<Ended>> {
        match next {
            Some(Ok(tungstenite::Message::Text(text))) => {
                for line in text.lines().filter(|line| !line.trim().is_empty()) {
                    self.heard(socket, line).await?;
                }
                Ok(ControlFlow::Continue(()))
            }
            Some(Ok(tungstenite::Message::Close(frame))) => self.closed(frame).map(ControlFlow::Break),
            Some(Ok(_)) => Ok(ControlFlow::Continue(())),
            Some(Err(error)) => Ok(ControlFlow::Break(Ended { reason: error.to_string(), later: false })),
            None => Ok(ControlFlow::Break(Ended { reason: "the connection broke".into(), later: false })),
        }
    }

    fn closed(&mut self, frame: Option<CloseFrame>) -> Flow<Ended> {
        let Some(frame) = frame else { return Ok(Ended { reason: "the connection was closed".into(), later: false }) };
        let code = u16::from(frame.code);
        let reason = format!("closed {code}: {}", frame.reason);
        // Any code that the table lacks, 1006 above all, means: come back.
        match CLOSES.iter().find(|close| close.code == code).map(|close| close.come_back) {
            Some(ComeBack::No) if code == 4403 => Err(Some(Failure::told("forbidden", &reason))),
            Some(ComeBack::No) => Err(Some(Failure::new(Exit::Refused, reason))),
            Some(ComeBack::NewToken) => {
                self.token_refused(&reason)?;
                Ok(Ended { reason, later: true })
            }
            Some(ComeBack::Later) => Ok(Ended { reason, later: true }),
            Some(ComeBack::Yes) | None => Ok(Ended { reason, later: false }),
        }
    }

    async fn heard(&mut self, socket: &mut Socket, text: &str) -> Flow<()> {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return self.tell(Told::Warning("the gateway sent something that is no JSON".into())).await;
        };
        match value["type"].as_str().unwrap_or_default() {
            "connected" => {
                self.tell(Told::Connected(self.place.clone())).await?;
                let all = self.rooms.names().map(str::to_owned).collect();
                self.subscribe(socket, all).await;
                Ok(())
            }
            "subscribed" => self.subscribed(&value).await,
            "ack" => {
                if let Some(answer) = value["ref"].as_str().and_then(|reference| self.answers.remove(reference)) {
                    let _ = answer.send(Ok(()));
                }
                Ok(())
            }
            "error" => self.refused(socket, &value).await,
            "reconnect" => {
                if let Some(ms) = value["afterMs"].as_u64() {
                    self.backoff.hint(Duration::from_millis(ms));
                }
                Ok(())
            }
            _ => {
                let news = self.rooms.take(&value);
                self.news(news, text, value).await
            }
        }
    }

    async fn subscribed(&mut self, value: &Value) -> Flow<()> {
        self.tokens_refused = 0;
        let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let (room, outcome) = (word("room"), word("outcome"));
        self.asked.retain(|reference, rooms| {
            rooms.retain(|asked| *reference != word("ref") || *asked != room);
            !rooms.is_empty()
        });
        let news = self.rooms.subscribed(value);
        self.tell(Told::Subscribed { room, outcome }).await?;
        self.news(news, "", Value::Null).await
    }

    async fn news(&mut self, news: News, text: &str, value: Value) -> Flow<()> {
        match news {
            News::None => Ok(()),
            News::Tell(room) => self.tell(Told::Message(Message { room, text: text.to_owned(), value })).await,
            News::Lost(gap) => {
                let room = gap["room"].as_str().unwrap_or_default().to_owned();
                self.tell(Told::Message(Message { room, text: gap.to_string(), value: gap })).await
            }
        }
    }

    async fn refused(&mut self, socket: &mut Socket, value: &Value) -> Flow<()> {
        let word = |name: &str| value[name].as_str().unwrap_or_default();
        let (code, message, reference) = (word("code"), word("message"), word("ref"));
        let failure = Failure::told(code, message);
        if let Some(answer) = self.answers.remove(reference) {
            let _ = answer.send(Err(failure));
            return Ok(());
        }
        if code == "token_expired" {
            if let Some(token) = self.shown.newer(&self.gateways) {
                send(socket, &json!({"type": "auth", "token": token})).await;
            }
            return Ok(());
        }
        let room = word("room").to_owned();
        if self.rooms.names().any(|name| name == room) {
            return self.room_refused(vec![room], code, failure);
        }
        match self.asked.remove(reference) {
            // One wrong room has the whole message refused: ask for each by itself, to know which.
            Some(rooms) if rooms.len() > 1 && !is_for_later(code) => {
                for room in rooms {
                    self.subscribe(socket, vec![room]).await;
                }
                Ok(())
            }
            Some(rooms) => self.room_refused(rooms, code, failure),
            None => self.tell(Told::Warning(failure.message)).await,
        }
    }

    fn room_refused(&mut self, rooms: Vec<String>, code: &str, failure: Failure) -> Flow<()> {
        if !is_for_later(code) {
            let named = format!("{}: {}", rooms.join(", "), failure.message);
            return Err(Some(Failure::new(failure.exit, named)));
        }
        let pause = self.backoff.next(rand::rng().random(), true);
        let (when, all) = self.again.get_or_insert((Instant::now() + pause, Vec::new()));
        *when = (*when).max(Instant::now() + pause);
        all.extend(rooms);
        Ok(())
    }

    /// All in one message, as they were followed together.
    async fn subscribe(&mut self, socket: &mut Socket, rooms: Vec<String>) {
        if rooms.is_empty() {
            return;
        }
        let reference = self.reference('s');
        let mut message = self.options.clone();
        message.insert("type".into(), "subscribe".into());
        message.insert("ref".into(), reference.as_str().into());
        message.insert("rooms".into(), self.rooms.wanted(&rooms));
        self.asked.insert(reference, rooms);
        send(socket, &Value::Object(message)).await;
    }

    async fn request(&mut self, socket: &mut Socket, ask: Ask) {
        let reference = self.reference('c');
        let mut message = ask.message;
        message["ref"] = reference.as_str().into();
        self.answers.insert(reference, ask.answer);
        send(socket, &message).await;
    }

    fn reference(&mut self, letter: char) -> String {
        self.count += 1;
        format!("{letter}{}", self.count)
    }

    async fn tell(&self, told: Told) -> Flow<()> {
        self.told.send(told).await.map_err(|_| None)
    }
}

fn is_for_later(code: &str) -> bool {
    ERRORS.iter().any(|error| error.code == code && matches!(error.come_back, ComeBack::Later | ComeBack::Yes))
}

/// A socket that takes nothing any more says so when it is read.
async fn send(socket: &mut Socket, message: &Value) {
    let _ = socket.send(tungstenite::Message::text(message.to_string())).await;
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
