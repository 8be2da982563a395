//! A connection of our own for followed rooms.
//!
//! Everything that a gateway delivers comes in here, so it is kept short: one task reads the socket and hands each message
//! on where it lies in the buffer. There is no queue, no task and no map of headers for a room or a message. A reader that
//! falls behind leaves the rest in the socket; a server that has waited too long for it closes the connection, and all rooms
//! are compared with what is stored.

mod dial;
mod headers;
mod parse;

pub(super) use self::{dial::Connection, headers::Headers, parse::Message};

use super::connection::{Refusals, Report};
use crate::{BusConfig, ConnectError, endpoint::Endpoint, nats::inbox::REQUEST_TIMEOUT};
use async_nats::{Event, ServerError};
use bytes::BytesMut;
use dial::{Dial, Info, Io};
use parking_lot::Mutex;
use parse::Op;
use rustc_hash::FxHashMap;
use std::{collections::VecDeque, mem, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{Notify, mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use weft_event::Room;

/// Read from the socket at once.
const READ_BYTES: usize = 64 * 1024;
/// Longest pause between two attempts to connect.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// For whom a subscription's messages are.
#[derive(Clone, Debug)]
pub(super) enum To {
    Room(Room),
    Canary,
}

/// Takes what comes, on the task that reads: it must not wait.
pub(super) trait Ears: Send + Sync + 'static {
    fn hear(&self, to: &To, message: &Message);
}

/// The connection, for whoever subscribes.
pub(super) struct Wire {
    state: Mutex<State>,
    /// There is something to write.
    written: Notify,
    /// The connection is to be thrown away.
    kicked: Notify,
    dial: Dial,
    reports: mpsc::Sender<Report>,
    refusals: Arc<Refusals>,
}

#[derive(Default)]
struct State {
    is_connected: bool,
    subscriptions: FxHashMap<u64, Subscription>,
    last_sid: u64,
    outgoing: BytesMut,
    /// Who waits for the answers to our pings, in their order.
    pings: VecDeque<oneshot::Sender<()>>,
}

struct Subscription {
    subject: Box<str>,
    to: To,
}

impl Wire {
    /// Connects for the first time.
    ///
    /// # Errors
    /// No server takes us.
    pub(super) async fn open(
        config: &BusConfig,
        endpoint: Endpoint,
        reports: mpsc::Sender<Report>,
        refusals: Arc<Refusals>,
    ) -> Result<(Self, Connection), ConnectError> {
        let dial = Dial::new(config, endpoint);
        let connection = dial.connect().await?;
        let (state, written, kicked) = Default::default();
        let wire = Self { state, written, kicked, dial, reports, refusals };
        wire.begin();
        Ok((wire, connection))
    }

    /// Subscribes, now or as soon as there is a connection; again after each reconnect. The number ends it.
    pub(super) fn subscribe(&self, subject: String, to: To) -> u64 {
        let mut state = self.state.lock();
        state.last_sid += 1;
        let sid = state.last_sid;
        let subscription = Subscription { subject: subject.into(), to };
        if state.is_connected {
            subscription.write(sid, &mut state.outgoing);
        }
        state.subscriptions.insert(sid, subscription);
        drop(state);
        self.written.notify_one();
        sid
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&self, sid: u64) {
        let mut state = self.state.lock();
        if state.subscriptions.remove(&sid).is_some() && state.is_connected {
            state.outgoing.extend_from_slice(format!("UNSUB {sid}\r\n").as_bytes());
            drop(state);
            self.written.notify_one();
        }
    }

    /// Waits until the server has worked off everything asked of it before, its refusals told: it answers pings in order.
    pub(super) async fn barrier(&self) -> Result<(), String> {
        let (sender, answered) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if !state.is_connected {
                return Err("reconnecting".into());
            }
            state.outgoing.extend_from_slice(b"PING\r\n");
            state.pings.push_back(sender);
        }
        self.written.notify_one();
        match timeout(REQUEST_TIMEOUT, answered).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("the connection broke".into()),
            Err(_) => Err("no answer in time".into()),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state.lock().is_connected
    }

    /// Throws the connection away and makes another.
    pub(super) fn reconnect(&self) {
        self.kicked.notify_one();
    }

    /// Keeps the connection until `cancel`, beginning with the first one.
    pub(super) async fn run(&self, first: Connection, ears: &dyn Ears, cancel: &CancellationToken) {
        let mut next = Some(first);
        let mut attempts = 0;
        loop {
            let connection = match next.take() {
                Some(connection) => connection,
                None => tokio::select! {
                    () = cancel.cancelled() => return,
                    connection = self.again(&mut attempts) => {
                        self.begin();
                        connection
                    }
                },
            };
            self.report(Event::Connected);
            let reason = tokio::select! {
                () = cancel.cancelled() => return self.end(),
                reason = self.serve(connection, ears) => reason,
            };
            self.end();
            tracing::debug!(reason, "the live connection has ended");
            self.report(Event::Disconnected);
        }
    }

    /// Tries until a server takes us.
    async fn again(&self, attempts: &mut u32) -> Connection {
        loop {
            let pause = Duration::from_millis(50 << (*attempts).min(6)).min(PAUSE_MAX);
            // Many gateways have lost the same server in the same moment.
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            match self.dial.connect().await {
                Ok(connection) => {
                    *attempts = 0;
                    return connection;
                }
                Err(error) => {
                    *attempts += 1;
                    tracing::debug!(%error, "NATS does not take the live connection");
                }
            }
        }
    }

    fn begin(&self) {
        let mut guard = self.state.lock();
        let State { is_connected, subscriptions, outgoing, pings, .. } = &mut *guard;
        *is_connected = true;
        outgoing.clear();
        pings.clear();
        for (sid, subscription) in subscriptions {
            subscription.write(*sid, outgoing);
        }
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.is_connected = false;
        // Who waits is told by the sender's end.
        state.pings.clear();
        state.outgoing = BytesMut::new();
    }

    /// Reads and writes until one of both fails; why.
    async fn serve(&self, connection: Connection, ears: &dyn Ears) -> String {
        let Connection { io, buffer, parser } = connection;
        let (reads, writes) = tokio::io::split(io);
        tokio::select! {
            reason = self.read(reads, buffer, parser, ears) => reason,
            error = self.write(writes) => error.to_string(),
            () = self.kicked.notified() => "thrown away".into(),
        }
    }

    async fn read(
        &self,
        mut io: ReadHalf<Box<dyn Io>>,
        mut buffer: BytesMut,
        mut parser: parse::Parser,
        ears: &dyn Ears,
    ) -> String {
        loop {
            loop {
                match parser.next(&mut buffer) {
                    Ok(Some(op)) => self.take(op, ears),
                    Ok(None) => break,
                    Err(fault) => return fault.to_string(),
                }
            }
            // Those who were woken come first: a socket that always has more would keep this thread from them.
            tokio::task::yield_now().await;
            buffer.reserve(READ_BYTES);
            match io.read_buf(&mut buffer).await {
                Ok(0) => return "closed by the server".into(),
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    fn take(&self, op: Op, ears: &dyn Ears) {
        match op {
            Op::Message(message) => {
                let to = self.state.lock().subscriptions.get(&message.sid).map(|subscription| subscription.to.clone());
                if let Some(to) = to {
                    ears.hear(&to, &message);
                }
            }
            Op::Pong => {
                let asked = self.state.lock().pings.pop_front();
                // Whoever asked may have gone.
                let _ = asked.map(|asked| asked.send(()));
            }
            Op::Ping => {
                self.state.lock().outgoing.extend_from_slice(b"PONG\r\n");
                self.written.notify_one();
            }
            Op::Info(info) => self.informed(&info),
            Op::Error(text) => {
                let event = Event::ServerError(ServerError::Other(text));
                self.refusals.note(&event);
                self.report(event);
            }
            Op::Ok => {}
        }
    }

    fn informed(&self, info: &bytes::Bytes) {
        match Info::read(info) {
            Ok(info) => {
                self.dial.learn(&info);
                if info.ldm {
                    self.report(Event::LameDuckMode);
                }
            }
            Err(reason) => tracing::warn!(reason, "NATS says of itself what cannot be read"),
        }
    }

    /// Writes what is asked for, all at once.
    async fn write(&self, mut io: WriteHalf<Box<dyn Io>>) -> std::io::Error {
        loop {
            let bytes = mem::take(&mut self.state.lock().outgoing);
            if bytes.is_empty() {
                self.written.notified().await;
                continue;
            }
            let done = async {
                io.write_all(&bytes).await?;
                io.flush().await
            };
            if let Err(error) = done.await {
                return error;
            }
        }
    }

    fn report(&self, event: Event) {
        // Full: the watch is behind, and finds the state out by itself in its next round.
        let _ = self.reports.try_send(Report { is_live: true, event });
    }
}

impl Subscription {
    fn write(&self, sid: u64, outgoing: &mut BytesMut) {
        outgoing.extend_from_slice(format!("SUB {} {sid}\r\n", self.subject).as_bytes());
    }
}
