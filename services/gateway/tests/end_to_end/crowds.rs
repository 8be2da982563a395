//! Crowds that send slowly, or nothing: 2,000 of each kind. Whoever is there and whoever comes is served throughout, the
//! crowd is closed within the limits, and its descriptors return.

use crate::{
    auth_rig::{self, Ws, now, token},
    certificates::Certificates,
    support::{Broker, Kind, until},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use weft_testkit::process::Process;

const CROWD: usize = 2000;
/// Each of the limits below, in seconds.
const LIMIT_SECS: u64 = 3;
/// No more than a sign that something is never closed: the machine of the tests may be busy with much else.
const PATIENCE: Duration = Duration::from_secs(LIMIT_SECS * 20);

/// What one of a crowd does.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Connects, and says nothing.
    Silent,
    /// The head of a request, a byte now and then.
    SlowHead,
    /// The body of a request, likewise.
    SlowBody,
    /// The same where no token is asked for first.
    SlowPost,
    /// Upgrades, and does not say who it is.
    Unknown,
    /// Upgrades, and says who it is a byte at a time.
    SlowToken,
    /// Opens a session of Socket.IO, and asks for no namespace.
    Nowhere,
    /// Begins a handshake of TLS.
    SlowHandshake,
}

impl Manner {
    /// What it sends at once.
    fn at_once(self, address: &str, bearer: &str) -> String {
        let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
        let upgrade = |path: &str| {
            format!(
                "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
            )
        };
        let post = |path: &str, head: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nhost: {address}\r\n{head}content-type: application/json\r\ncontent-length: 900\r\n\r\n["
            )
        };
        match self {
            Self::Silent => String::new(),
            Self::SlowHead => format!("GET /api/executions HTTP/1.1\r\nhost: {address}\r\nx-slow: "),
            Self::SlowBody => post("/api/events", &format!("authorization: Bearer {bearer}\r\n")),
            Self::SlowPost => post("/api/workflows/x/execute", &format!("authorization: Bearer {bearer}\r\n")),
            Self::Unknown => upgrade("/api/ws"),
            // A masked text frame of 200 bytes, begun.
            Self::SlowToken => upgrade("/api/ws"),
            Self::Nowhere => upgrade("/socket.io/?EIO=4&transport=websocket"),
            Self::SlowHandshake => "\u{16}\u{3}\u{1}\u{2}".into(),
        }
    }

    /// What it sends now and then.
    fn slowly(self) -> Option<u8> {
        match self {
            Self::Silent | Self::Unknown | Self::Nowhere | Self::SlowHandshake => None,
            Self::SlowHead | Self::SlowBody | Self::SlowPost => Some(b'x'),
            Self::SlowToken => Some(0),
        }
    }
}

/// Comes, and goes when it is closed; how long it was there.
async fn one(address: String, manner: Manner, bearer: Arc<str>) -> Duration {
    let mut stream = TcpStream::connect(&address).await.expect("a place in the backlog");
    let began = Instant::now();
    let _ = stream.write_all(manner.at_once(&address, &bearer).as_bytes()).await;
    if matches!(manner, Manner::SlowToken) {
        let _ = stream.write_all(&[0x81, 0xfe, 0, 200, 0, 0, 0, 0]).await;
    }
    let (mut reads, mut writes) = stream.split();
    let slowly = async {
        let Some(byte) = manner.slowly() else { return std::future::pending().await };
        loop {
            tokio::time::sleep(Duration::from_millis(400)).await;
            if writes.write_all(&[byte]).await.is_err() {
                // Closed at the other end: what is left to read says so too.
                return std::future::pending().await;
            }
        }
    };
    let mut scrap = [0; 4096];
    let to_the_end = async { while matches!(reads.read(&mut scrap).await, Ok(1..)) {} };
    tokio::select! {
        () = slowly => unreachable!("it goes on until it is closed"),
        () = to_the_end => began.elapsed(),
    }
}

/// Comes again and again while the crowd is there, and is there all the time.
struct Probe {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Probe {
    async fn on(gateway: &Process, url: String, client: reqwest::Client) -> Self {
        let (is_over, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (over, count) = (is_over.clone(), served.clone());
        let address = gateway.address();
        let mut kept =
            if url.starts_with("https") { None } else { Some(Ws::bearing(gateway, "/api/ws", &auth_rig::of("probe")).await) };
        let task = tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                // Each time a new connection: one that is kept says nothing of who comes.
                let answer = client.get(format!("{url}/api/ws/health")).header("connection", "close").send().await;
                assert_eq!(answer.expect("an answer").status().as_u16(), 200, "{address}");
                if let Some(kept) = &mut kept {
                    kept.say(json!({"type": "ping", "ref": "p"})).await;
                    kept.hear("pong").await;
                }
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { is_over, served, task }
    }

    async fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("it was served throughout");
        self.served.load(Ordering::Relaxed)
    }
}

fn files(gateway: &Process) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("descriptors").count()
}

/// A crowd comes to a gateway and is sent away.
async fn crowd(gateway: &Process, url: String, client: reqwest::Client, manner: Manner) {
    let before = files(gateway);
    let probe = Probe::on(gateway, url, client).await;
    let bearer: Arc<str> = token(json!({"sub": "crowd", "scope": "events:publish", "exp": now() + 3600})).into();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        crowd.spawn(one(gateway.address(), manner, bearer.clone()));
    }
    let mut longest = Duration::ZERO;
    let closing = async {
        while let Some(stayed) = crowd.join_next().await {
            longest = longest.max(stayed.expect("one of the crowd"));
        }
    };
    tokio::time::timeout(PATIENCE, closing).await.unwrap_or_else(|_| panic!("{manner:?}: not all were closed in {PATIENCE:?}"));
    let served = probe.end().await;
    assert!(served > 0, "{manner:?}: a probe was served");
    until("descriptors return", async || files(gateway) <= before + 8).await;
    eprintln!("{CROWD} {manner:?}: the last was closed after {longest:?}; the probe was served {served} times, each time");
}

const ENV: [(&str, &str); 4] =
    [("WEFT_HEADER_SECS", "3"), ("WEFT_BODY_SECS", "3"), ("WEFT_AUTH_SECS", "3"), ("WEFT_LOG", "info")];

#[tokio::test(flavor = "multi_thread")]
async fn crowds_that_send_slowly_are_closed_and_others_are_served() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::quiet(&broker, &ENV).await;
    for manner in [
        Manner::Silent,
        Manner::SlowHead,
        Manner::SlowBody,
        Manner::SlowPost,
        Manner::Unknown,
        Manner::SlowToken,
        Manner::Nowhere,
    ] {
        crowd(&gateway, gateway.url(), weft_testkit::http::client(), manner).await;
    }
    let metrics = gateway.metrics().await.expect("metrics");
    assert!(metrics.contains(&format!("weft_gateway_late_bodies_total {}", 2 * CROWD)), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_that_never_finish_a_handshake_are_closed_likewise() {
    let broker = Broker::start(Kind::Memory).await;
    let certificates = Certificates::new();
    let files = certificates.env();
    let env: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).chain(ENV).collect();
    let gateway = auth_rig::quiet(&broker, &env).await;
    let url = gateway.url().replace("http://", "https://");
    for manner in [Manner::Silent, Manner::SlowHandshake] {
        crowd(&gateway, url.clone(), crate::tls::https(&certificates), manner).await;
    }
}
