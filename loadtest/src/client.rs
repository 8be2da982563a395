//! One lean client: a socket, a few numbers, and no buffer of its own unless a frame is cut.

use crate::{
    frame::{self, BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT},
    seen::Seen,
};
use memchr::memmem::Finder;
use parking_lot::Mutex;
use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::TcpStream,
    sync::{Notify, watch},
};

/// The key of the counter inside `data`; long enough to occur nowhere else.
pub(crate) const COUNTER_KEY: &str = "\"loadtestCounter\":";

/// What all clients count together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) connected: AtomicU64,
    pub(crate) subscribed: AtomicU64,
    /// Events that a client saw for the first time.
    pub(crate) delivered: AtomicU64,
    /// Whoever reaches this number of deliveries tells `reached`.
    pub(crate) target: AtomicU64,
    pub(crate) reached: Notify,
    pub(crate) gaps: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) ended: AtomicU64,
    /// Why clients ended, and what errors they were told: the first few.
    pub(crate) remarks: Mutex<Vec<String>>,
}

const REMARKS_MAX: usize = 8;

impl Counts {
    pub(crate) fn remark(&self, remark: impl Into<String>) {
        let mut remarks = self.remarks.lock();
        if remarks.len() < REMARKS_MAX {
            remarks.push(remark.into());
        }
    }

    fn deliver(&self, fresh: u64) {
        let before = self.delivered.fetch_add(fresh, Relaxed);
        let target = self.target.load(Relaxed);
        if before < target && before + fresh >= target {
            self.reached.notify_one();
        }
    }
}

/// How far clients may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connect and stay idle.
    Connect,
    /// Follow the room.
    Follow,
}

pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) room: String,
    pub(crate) counts: Arc<Counts>,
    pub(crate) seen: Arc<Mutex<Seen>>,
    pub(crate) phase: watch::Receiver<Phase>,
}

thread_local! {
    /// What a read fills before it is looked at; shared by all clients of the thread.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

static COUNTER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(COUNTER_KEY));
static SUBSCRIBED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"type\":\"subscribed\""));
static GAP: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"type\":\"gap\""));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"type\":\"error\""));

impl Client {
    /// Lives until the gateway or the runtime ends it.
    pub(crate) async fn run(mut self) {
        let ended = self.live().await;
        let why = match ended {
            Ok(why) => why,
            Err(error) => error.to_string(),
        };
        self.counts.remark(why);
        self.counts.ended.fetch_add(1, Relaxed);
    }

    async fn live(&mut self) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let early = self.upgrade(&mut stream).await?;
        self.counts.connected.fetch_add(1, Relaxed);
        let mut left = Vec::new();
        // Frames may have come in the packet of the upgrade's answer.
        let mut read = self.take(&mut left, &early);
        drop(early);
        let mut following = false;
        loop {
            if !read.pong.is_empty() {
                stream.write_all(&read.pong).await?;
            }
            if let Some(why) = read.ended {
                return Ok(why);
            }
            let follow_now = tokio::select! {
                ready = stream.ready(Interest::READABLE) => ready.map(|_| false)?,
                told = self.phase.changed(), if !following => told.is_ok(),
            };
            if follow_now && *self.phase.borrow() == Phase::Follow {
                following = true;
                let subscribe = format!("{{\"type\":\"subscribe\",\"room\":\"{}\"}}", self.room);
                stream.write_all(&frame::client_frame(TEXT, subscribe.as_bytes())).await?;
            }
            read = self.read(&stream, &mut left)?;
        }
    }

    /// Reads what there is, which may be nothing.
    fn read(&self, stream: &TcpStream, left: &mut Vec<u8>) -> io::Result<Read> {
        SCRATCH.with_borrow_mut(|scratch| match stream.try_read(scratch) {
            Ok(0) => Ok(Read { ended: Some("the gateway closed without a close frame".into()), ..Read::default() }),
            Ok(bytes) => Ok(self.take(left, &scratch[..bytes])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::default()),
            Err(error) => Err(error),
        })
    }

    /// Asks for the upgrade and answers what came after it.
    async fn upgrade(&self, stream: &mut TcpStream) -> io::Result<Vec<u8>> {
        // The key is an example's: this client does not check the answer to it.
        let request = format!(
            "GET /api/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(512);
        loop {
            if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
                if !answer.starts_with(b"HTTP/1.1 101") {
                    let told = String::from_utf8_lossy(&answer[..end]).lines().next().unwrap_or_default().to_owned();
                    return Err(io::Error::other(format!("no upgrade: {told}")));
                }
                return Ok(answer.split_off(end + 4));
            }
            if stream.read_buf(&mut answer).await? == 0 || answer.len() > 16 * 1024 {
                return Err(io::Error::other("no upgrade: the connection ended"));
            }
        }
    }

    /// Looks at every whole frame; the bytes of a cut one stay in `left`.
    fn take(&self, left: &mut Vec<u8>, bytes: &[u8]) -> Read {
        let joined;
        let mut rest = if left.is_empty() {
            bytes
        } else {
            left.extend_from_slice(bytes);
            joined = std::mem::take(left);
            &joined[..]
        };
        let mut read = Read::default();
        let mut fresh = 0;
        {
            let mut seen = self.seen.lock();
            while let Some(frame) = frame::parse(rest) {
                rest = &rest[frame.length..];
                match frame.opcode {
                    TEXT | BINARY | CONTINUATION => fresh += u64::from(self.message(frame.payload, &mut seen)),
                    PING => read.pong.extend(frame::client_frame(PONG, frame.payload)),
                    CLOSE => read.ended = Some(close_reason(frame.payload)),
                    _ => {}
                }
            }
        }
        if fresh > 0 {
            self.counts.deliver(fresh);
        }
        if !rest.is_empty() {
            *left = rest.to_vec();
        }
        read
    }

    /// Whether the message is an event that was not seen before.
    fn message(&self, payload: &[u8], seen: &mut Seen) -> bool {
        if let Some(at) = COUNTER.find(payload) {
            return number(&payload[at + COUNTER_KEY.len()..]).is_some_and(|counter| seen.note(counter));
        }
        if SUBSCRIBED.find(payload).is_some() {
            self.counts.subscribed.fetch_add(1, Relaxed);
        } else if GAP.find(payload).is_some() {
            self.counts.gaps.fetch_add(1, Relaxed);
        } else if ERROR.find(payload).is_some() {
            self.counts.errors.fetch_add(1, Relaxed);
            self.counts.remark(String::from_utf8_lossy(payload));
        }
        false
    }
}

/// What a read asks of the client.
#[derive(Default)]
struct Read {
    /// Frames to send.
    pong: Vec<u8>,
    /// Set when the connection is over.
    ended: Option<String>,
}

fn number(digits: &[u8]) -> Option<u64> {
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            format!("closed with {} {}", u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason))
        }
        _ => "closed without a code".into(),
    }
}
