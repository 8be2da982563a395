//! TLS towards clients: on every transport, with certificates that change, and for who never finishes a handshake.

use crate::{
    auth_rig::{CONTROL, controlled},
    certificates::Certificates,
    clients::Clients,
    support::{Broker, Kind, SOON, number, numbered, until},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer, pki_types::pem::PemObject},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};
use weft_testkit::process::Process;

/// A gateway that speaks TLS.
async fn gateway(broker: &Broker, certificates: &Certificates, env: &[(&str, &str)]) -> Process {
    let files = certificates.env();
    let all: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).chain(env.iter().copied()).collect();
    broker.gateway(&all).await
}

fn trusting(authority: &str, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

async fn greeted(address: &str, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.expect("connected");
    TlsConnector::from(config).connect("127.0.0.1".try_into().expect("an address"), stream).await
}

/// The certificate that a new connection is shown.
async fn shown(gateway: &Process, certificates: &Certificates) -> Vec<u8> {
    let stream = greeted(&gateway.address(), trusting(&certificates.authority(), &[])).await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("certificates")[0].to_vec()
}

struct Wss(WebSocketStream<TlsStream<TcpStream>>);

impl Wss {
    async fn open(gateway: &Process, certificates: &Certificates) -> Self {
        let stream = greeted(&gateway.address(), trusting(&certificates.authority(), &[b"http/1.1"])).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let url = format!("wss://{}/api/ws", gateway.address());
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("an upgrade");
        let mut opened = Self(socket);
        assert_eq!(opened.hear().await["type"], "connected");
        opened
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("sent");
    }

    async fn hear(&mut self) -> Value {
        loop {
            match tokio::time::timeout(SOON, self.0.next()).await.expect("a frame, in time") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).expect("JSON"),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a frame was due, not {other:?}"),
            }
        }
    }

    async fn follow(&mut self, execution: &str) {
        self.say(json!({"type": "subscribe", "executionId": execution})).await;
        assert_eq!(self.hear().await["type"], "subscribed");
    }
}

pub fn https(certificates: &Certificates) -> reqwest::Client {
    let _ = ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(certificates.authority().as_bytes()).expect("PEM");
    reqwest::Client::builder().tls_certs_only([authority]).no_proxy().timeout(SOON).build().expect("a client")
}

async fn publish(client: &reqwest::Client, gateway: &Process, events: &Value) {
    let url = format!("https://{}/api/events", gateway.address());
    let answer = client.post(url).json(events).send().await.expect("an answer");
    assert_eq!(answer.status().as_u16(), 202, "{}", answer.text().await.expect("a body"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transport_speaks_tls() {
    let broker = Broker::start(Kind::Memory).await;
    let certificates = Certificates::new();
    let gateway = gateway(&broker, &certificates, &[]).await;
    let (address, client) = (gateway.address(), https(&certificates));
    let mut native = Wss::open(&gateway, &certificates).await;
    native.follow("e").await;
    let stream = client.get(format!("https://{address}/api/executions/e/events")).header("accept", "text/event-stream");
    let mut stream = stream.send().await.expect("a stream");
    assert_eq!(stream.status().as_u16(), 200);
    // As people have them: over a WebSocket, by polling, and from one to the other.
    let mut clients = Clients::start();
    for transports in [json!(["websocket"]), json!(["polling"]), json!(["polling", "websocket"])] {
        let id = transports.to_string();
        let options = json!({"ca": certificates.authority(), "transports": transports});
        clients.connected(&id, &format!("https://{address}/"), options).await;
        let ack = clients.ask(&id, "subscribe", json!(["execution:e"])).await;
        assert_eq!(ack["ok"], true, "{id}: {ack}");
    }
    publish(&client, &gateway, &numbered("e", 1)).await;
    assert_eq!(number(&native.hear().await), Some(1));
    for transports in [json!(["websocket"]), json!(["polling"]), json!(["polling", "websocket"])] {
        let (kind, args) = clients.event(&transports.to_string()).await;
        assert_eq!((kind.as_str(), number(&args[0])), ("log", Some(1)), "{transports}");
    }
    let mut told = String::new();
    while !told.contains("\"n\":1") {
        let chunk = stream.chunk().await.expect("a stream").expect("it goes on");
        told.push_str(&String::from_utf8_lossy(&chunk));
    }
    let answer = client.get(format!("https://{address}/api/executions/e/events")).send().await.expect("an answer");
    assert!(answer.text().await.expect("a body").contains("\"n\":1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_fit_is_refused_and_counted() {
    let broker = Broker::start(Kind::Memory).await;
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let gateway = gateway(&broker, &certificates, &[("WEFT_HEADER_SECS", "1")]).await;
    let address = gateway.address();
    let metric = async |outcome: &str| {
        let text = gateway.metrics().await.expect("metrics");
        let line = text.lines().find(|line| line.starts_with("weft_gateway_tls_handshakes_total") && line.contains(outcome));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).expect("a series")
    };
    assert!(greeted(&address, trusting(&others.authority(), &[])).await.is_err(), "another authority");
    assert!(greeted(&address, trusting(&certificates.authority(), &[b"h2"])).await.is_err(), "another protocol inside");
    assert!(reqwest_plain(&address).await.is_err(), "no TLS at all");
    until("failures are counted", async || metric("failed").await >= 3.0).await;
    let files = || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).expect("descriptors").count();
    let before = files();
    let mut silent = Vec::new();
    for n in 0..50 {
        let mut stream = TcpStream::connect(&address).await.expect("connected");
        // Some begin, and say no more: the head of a record that never comes.
        if n % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 2, 0]).await.expect("written");
        }
        silent.push(stream);
    }
    for stream in &mut silent {
        let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "closed");
    }
    drop(silent);
    assert_eq!(metric("late").await, 50.0);
    until("descriptors return", async || files() <= before).await;
    // A handshake, and then nothing.
    let mut idle = greeted(&address, trusting(&certificates.authority(), &[])).await.expect("a handshake");
    let ended = tokio::time::timeout(SOON, idle.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "closed");
}

async fn reqwest_plain(address: &str) -> reqwest::Result<reqwest::Response> {
    weft_testkit::http::client().get(format!("http://{address}/api/ws/health")).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_and_a_broken_one_is_not_taken() {
    let broker = Broker::start(Kind::Memory).await;
    let mut certificates = Certificates::new();
    let gateway = gateway(&broker, &certificates, &[]).await;
    let client = https(&certificates);
    let first = shown(&gateway, &certificates).await;
    let mut socket = Wss::open(&gateway, &certificates).await;
    socket.follow("e").await;
    let second = certificates.renew();
    assert_ne!(first, second);
    until("the new certificate is shown", async || shown(&gateway, &certificates).await == second).await;
    publish(&client, &gateway, &numbered("e", 1)).await;
    assert_eq!(number(&socket.hear().await), Some(1), "who was connected has noticed nothing");
    let unusable = async || gateway.metrics().await.expect("metrics").contains(r#"tls_reloads_total{outcome="unusable"} 1"#);
    assert!(!unusable().await);
    certificates.swap("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n", "nor this");
    until("it is told", unusable).await;
    assert_eq!(shown(&gateway, &certificates).await, second, "the last one is shown on");
    publish(&client, &gateway, &numbered("e", 2)).await;
    assert_eq!(number(&socket.hear().await), Some(2));
    // The log is written a moment after what it tells.
    let log = || std::fs::read_to_string(gateway.log()).expect("the log");
    let told = || log().matches("the certificate that is there now cannot be used").count();
    until("the log tells it", async || told() > 0).await;
    let third = certificates.renew();
    until("the next good one is shown", async || shown(&gateway, &certificates).await == third).await;
    publish(&client, &gateway, &numbered("e", 3)).await;
    assert_eq!(number(&socket.hear().await), Some(3));
    assert_eq!(told(), 1, "once");
    assert!(!log().contains("nor this"), "nothing of what is in the files");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_gets_all_the_same() {
    const EVENTS: u64 = 120;
    let broker = Broker::start(Kind::Memory).await;
    let certificates = Certificates::new();
    // No ping pushes out what is left before the stall is found.
    let gateway = gateway(&broker, &certificates, &[("WEFT_PING_SECS", "100")]).await;
    let client = https(&certificates);
    let mut socket = Wss::open(&gateway, &certificates).await;
    socket.follow("e").await;
    // More than the kernel and TLS hold back together, while nothing is read; random, so that nothing of it is compressed away.
    for n in 1..=EVENTS {
        let mut event = numbered("e", n);
        let noise: Vec<u64> = (0..5000).map(|_| rand::random()).collect();
        event["data"]["noise"] = json!(noise);
        publish(&client, &gateway, &event).await;
    }
    for n in 1..=EVENTS {
        assert_eq!(number(&socket.hear().await), Some(n));
    }
    // And it was let go again: what comes later comes at once.
    tokio::time::sleep(Duration::from_millis(300)).await;
    publish(&client, &gateway, &numbered("e", EVENTS + 1)).await;
    assert_eq!(number(&socket.hear().await), Some(EVENTS + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_spoken_to_by_tls_as_well() {
    let broker = Broker::start(Kind::Memory).await;
    let certificates = Certificates::new();
    let files = certificates.env();
    let env: Vec<_> = files.iter().map(|(name, path)| (*name, path.as_str())).collect();
    let (_gateway, control) = controlled(&broker, &env).await;
    let ask = |scheme: &str| https(&certificates).get(format!("{scheme}://{control}/admin/rooms")).bearer_auth(CONTROL).send();
    assert_eq!(ask("https").await.expect("an answer").status().as_u16(), 200);
    assert!(ask("http").await.is_err(), "the token does not travel in plain");
}
