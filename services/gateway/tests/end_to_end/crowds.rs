//! Crowds that send slowly, or nothing: 2,000 of each kind. Whoever is there and whoever comes is served throughout, the
//! crowd is closed by the limit that is meant for it and by no other, and its descriptors return.

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
/// The limit that is looked at, in seconds.
const LIMIT_SECS: u64 = 3;
/// All others: the most that they can be set to. Whoever is closed has not met one of these.
const OTHERS_SECS: u64 = 300;
/// Nobody may be there longer. How soon after its limit a connection is closed, the machine decides, which may be busy with much
/// else; that it was this limit and not the next, this bound tells.
const PATIENCE: Duration = Duration::from_secs(OTHERS_SECS / 5);

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

/// The limits, by their settings.
const LIMITS: [&str; 3] = ["WEFT_HEADER_SECS", "WEFT_BODY_SECS", "WEFT_AUTH_SECS"];

impl Manner {
    /// The limit that closes it.
    fn limit(self) -> &'static str {
        match self {
            Self::Silent | Self::SlowHead | Self::SlowHandshake => "WEFT_HEADER_SECS",
            Self::SlowBody | Self::SlowPost => "WEFT_BODY_SECS",
            Self::Unknown | Self::SlowToken | Self::Nowhere => "WEFT_AUTH_SECS",
        }
    }

    /// Where it is counted that it was closed, if it is.
    fn series(self) -> Option<&'static str> {
        match self {
            Self::Silent | Self::SlowHead => None,
            Self::SlowBody | Self::SlowPost => Some("weft_gateway_late_bodies_total"),
            Self::Unknown | Self::SlowToken => Some(r#"weft_gateway_closes_total{code="4401",reason="token"}"#),
            Self::Nowhere => Some(r#"weft_gateway_closes_total{code="1008",reason="policy"}"#),
            Self::SlowHandshake => Some(r#"weft_gateway_tls_handshakes_total{outcome="late"}"#),
        }
    }

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
    let began = Instant::now();
    let mut stream = TcpStream::connect(&address).await.expect("a place in the backlog");
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
    let counted = async || match manner.series() {
        Some(series) => gateway.metric(series).await.expect("metrics"),
        None => 0.0,
    };
    // What a gateway opens for the first of its clients, it keeps.
    Probe::on(gateway, url.clone(), client.clone()).await.end().await;
    let (before, counted_before) = (files(gateway), counted().await);
    let probe = Probe::on(gateway, url, client).await;
    let bearer: Arc<str> = token(json!({"sub": "crowd", "scope": "events:publish", "exp": now() + 3600})).into();
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        crowd.spawn(one(gateway.address(), manner, bearer.clone()));
    }
    let (mut shortest, mut longest) = (PATIENCE, Duration::ZERO);
    let closing = async {
        while let Some(stayed) = crowd.join_next().await {
            let stayed = stayed.expect("one of the crowd");
            (shortest, longest) = (shortest.min(stayed), longest.max(stayed));
        }
    };
    tokio::time::timeout(PATIENCE, closing).await.unwrap_or_else(|_| panic!("{manner:?}: not all were closed in {PATIENCE:?}"));
    let served = probe.end().await;
    assert!(served > 0, "{manner:?}: a probe was served");
    // A second of the wheel may be nearly over when it begins.
    assert!(shortest >= Duration::from_secs(LIMIT_SECS - 1), "{manner:?}: one was closed after {shortest:?}");
    let expected = if manner.series().is_some() { CROWD as f64 } else { 0.0 };
    // The last is counted a moment after it has heard.
    until("each is counted", async || counted().await - counted_before >= expected).await;
    assert_eq!(counted().await - counted_before, expected, "{manner:?}: nobody else is");
    until("descriptors return", async || files(gateway) <= before).await;
    eprintln!("{CROWD} {manner:?}: the last was closed after {longest:?}; the probe was served {served} times, each time");
}

/// A gateway where the limit is short, and all others are long.
async fn limited(broker: &Broker, limit: &str, env: &[(&str, &str)]) -> Process {
    let (short, long) = (LIMIT_SECS.to_string(), OTHERS_SECS.to_string());
    let limits = LIMITS.map(|name| (name, if name == limit { short.as_str() } else { long.as_str() }));
    let env: Vec<_> = limits.into_iter().chain([("WEFT_LOG", "info")]).chain(env.iter().copied()).collect();
    auth_rig::quiet(broker, &env).await
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_that_send_slowly_are_closed_and_others_are_served() {
    let broker = Broker::start(Kind::Memory).await;
    let all = [
        Manner::Silent,
        Manner::SlowHead,
        Manner::SlowBody,
        Manner::SlowPost,
        Manner::Unknown,
        Manner::SlowToken,
        Manner::Nowhere,
    ];
    for limit in LIMITS {
        let gateway = limited(&broker, limit, &[]).await;
        for manner in all.into_iter().filter(|manner| manner.limit() == limit) {
            crowd(&gateway, gateway.url(), weft_testkit::http::client(), manner).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crowds_that_never_finish_a_handshake_are_closed_likewise() {
    let broker = Broker::start(Kind::Memory).await;
    let certificates = Certificates::new();
    let files = certificates.env();
    let env: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
    let gateway = limited(&broker, Manner::SlowHandshake.limit(), &env).await;
    let url = gateway.url().replace("http://", "https://");
    for manner in [Manner::Silent, Manner::SlowHandshake] {
        crowd(&gateway, url.clone(), crate::tls::https(&certificates), manner).await;
    }
}
