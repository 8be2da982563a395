//! The connection: subscribe, read, come back. [`ends`] knows how one is opened and why it ends, [`hearing`] what a gateway says.

mod ends;
mod hearing;

use super::{Ask, Told, Wanted, backoff::Backoff, rooms::Rooms, shown::Shown};
use crate::{exit::Failure, gateway::Gateways};
use ends::Ended;
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
    MaybeTlsStream, WebSocketStream,
    tungstenite::{self, Error},
};

/// Silent for so long a gateway is asked whether it is there, and after as long again taken for gone.
const SILENCE: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

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
