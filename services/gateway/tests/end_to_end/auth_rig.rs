//! What the tests of authentication share: tokens, gateways that ask for them, and clients that show them.

use crate::{
    auth_watch::{Watched, keep_secret, keep_token_secret},
    support::{Broker, SOON},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest, http::HeaderValue},
};
use weft_testkit::{collector::Collector, process::Process};

pub const SECRET: &str = "a secret of the tests that is long enough for HS256";
pub const CONTROL: &str = "the control token of the tests";

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A token with exactly these claims.
pub fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = ring::hmac::sign(&key, signed.as_bytes());
    let token = format!("{signed}.{}", BASE64.encode(signature));
    keep_token_secret(&token);
    token
}

/// A good token with these claims beside the times; for an hour, unless they say otherwise.
pub fn token(claims: Value) -> String {
    let mut all = json!({"iat": now() - 5, "exp": now() + 3600});
    all.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
    signed(&json!({"alg": "HS256", "typ": "JWT"}), &all, SECRET)
}

pub fn of(subject: &str) -> String {
    token(json!({"sub": subject}))
}

/// A service that publishes.
pub fn service(tenant: Option<&str>) -> String {
    let mut claims = json!({"sub": "service", "scope": "events:publish"});
    if let Some(tenant) = tenant {
        claims["tenant"] = tenant.into();
    }
    token(claims)
}

fn file(name: &str, content: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (path, whole) = (folder.join(name), folder.join(format!("{name}-{}", uuid::Uuid::new_v4())));
    // At once: other tests' gateways read it while this one writes it again.
    std::fs::write(&whole, content).and_then(|()| std::fs::rename(&whole, &path)).expect("written");
    path
}

/// A gateway that asks for tokens signed with the secret of the tests.
pub async fn gateway(broker: &Broker, env: &[(&str, &str)]) -> Watched {
    let secret = file("jwt-secret", SECRET);
    let mut all = vec![("WEFT_JWT_SECRET_FILE", secret.to_str().expect("a path"))];
    all.extend(env);
    asking(broker, &all).await
}

/// The same without being watched: for crowds.
pub async fn quiet(broker: &Broker, env: &[(&str, &str)]) -> Process {
    let secret = file("jwt-secret", SECRET);
    let mut all = vec![("WEFT_AUTH", "jwt"), ("WEFT_JWT_SECRET_FILE", secret.to_str().expect("a path"))];
    all.extend(env);
    broker.gateway(&all).await
}

/// A gateway that asks for tokens; whose, its settings say.
pub async fn asking(broker: &Broker, env: &[(&str, &str)]) -> Watched {
    [SECRET, CONTROL].into_iter().for_each(keep_secret);
    let collector = Collector::start().await.expect("a collector");
    let mut all = vec![("WEFT_AUTH", "jwt"), ("WEFT_LOG", "trace")];
    all.extend([("WEFT_OTLP_ENDPOINT", collector.url()), ("WEFT_TRACE_RATIO", "1")]);
    all.extend(env);
    let process = broker.gateway(&all).await;
    Watched::new(process, collector)
}

/// The same with a control listener; its address.
pub async fn controlled(broker: &Broker, env: &[(&str, &str)]) -> (Watched, String) {
    let control = file("control-token", CONTROL);
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let mut all = vec![("WEFT_CONTROL_LISTEN", free.as_str()), ("WEFT_CONTROL_TOKEN_FILE", control.to_str().expect("a path"))];
    all.extend(env);
    (gateway(broker, &all).await, free)
}

/// A request with a token.
pub async fn ask(gateway: &Process, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, String) {
    ask_at(&gateway.url(), method, path, token, body).await
}

pub async fn ask_at(url: &str, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, String) {
    let mut request = weft_testkit::http::client().request(method.parse().expect("a method"), format!("{url}{path}"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

/// Publishes as a service of a tenant.
pub async fn publish(gateway: &Process, tenant: Option<&str>, events: Value) {
    let (status, body) = ask(gateway, "POST", "/api/events", Some(&service(tenant)), Some(events)).await;
    assert_eq!(status, 202, "{body}");
}

pub fn log(execution: &str, user: Option<&str>, message: &str) -> Value {
    let mut event = json!({"type": "log", "executionId": execution, "data": {"level": "info", "message": message}});
    if let Some(user) = user {
        event["userId"] = user.into();
    }
    event
}

/// A WebSocket to any path, with headers.
pub struct Ws(WebSocketStream<TcpStream>);

impl Ws {
    pub async fn open(gateway: &Process, path: &str, headers: &[(&'static str, String)]) -> Self {
        Self::try_open(gateway, path, headers).await.unwrap_or_else(|status| panic!("{path}: an upgrade was due, not {status}"))
    }

    /// The same where an upgrade may be refused; then by which status.
    pub async fn try_open(gateway: &Process, path: &str, headers: &[(&'static str, String)]) -> Result<Self, u16> {
        let address = gateway.address();
        let stream = TcpStream::connect(&address).await.expect("connected");
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a value"));
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub async fn bearing(gateway: &Process, path: &str, token: &str) -> Self {
        Self::open(gateway, path, &[("authorization", format!("Bearer {token}"))]).await
    }

    pub async fn say(&mut self, message: Value) {
        self.text(message.to_string()).await;
    }

    pub async fn text(&mut self, text: String) {
        let _ = self.0.send(Message::text(text)).await;
    }

    /// Bytes as they are, past the framing.
    pub async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes).await;
    }

    /// The next text, or the code of the close.
    pub async fn next(&mut self) -> Result<String, Option<u16>> {
        tokio::time::timeout(SOON, self.next_ever()).await.expect("a frame, in time")
    }

    async fn next_ever(&mut self) -> Result<String, Option<u16>> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// The next text within a time; `None` if none comes, also where it closes.
    pub async fn next_within(&mut self, time: Duration) -> Option<String> {
        tokio::time::timeout(time, self.next_ever()).await.ok()?.ok()
    }

    /// Passes over texts until one holds this.
    pub async fn hear(&mut self, part: &str) -> String {
        loop {
            match self.next().await {
                Ok(text) if text.contains(part) => return text,
                Ok(_) => {}
                Err(code) => panic!("{part} was due, not a close with {code:?}"),
            }
        }
    }

    /// The code of the close, after whatever else comes.
    pub async fn closes(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.next().await {
                return code;
            }
        }
    }

    /// A Socket.IO connection that has asked for the main namespace, and what it was answered.
    pub async fn socketio(gateway: &Process, auth: &Value) -> (Self, String) {
        Self::socketio_in(gateway, "", auth).await
    }

    /// The same of a namespace as packets name it: empty, or `/executions,`.
    pub async fn socketio_in(gateway: &Process, namespace: &str, auth: &Value) -> (Self, String) {
        let mut socket = Self::open(gateway, "/socket.io/?EIO=4&transport=websocket", &[]).await;
        socket.hear("0{").await;
        socket.text(format!("40{namespace}{auth}")).await;
        let answer = loop {
            match socket.next().await {
                Ok(text) if text.starts_with('4') => break text,
                Ok(text) if text == "2" => socket.text("3".into()).await,
                Ok(_) => {}
                Err(code) => break format!("closed {code:?}"),
            }
        };
        (socket, answer)
    }
}

/// An Engine.IO session by polling.
pub struct Polling {
    url: String,
    client: reqwest::Client,
}

impl Polling {
    pub async fn open(gateway: &Process) -> Self {
        let client = weft_testkit::http::client();
        let url = format!("{}/socket.io/?EIO=4&transport=polling", gateway.url());
        let text = client.get(&url).send().await.expect("an answer").text().await.expect("a body");
        let open: Value = serde_json::from_str(text.trim_start_matches('0')).unwrap_or_else(|_| panic!("{text}"));
        Self { url: format!("{url}&sid={}", open["sid"].as_str().expect("a sid")), client }
    }

    pub async fn say(&self, packet: String) {
        let _ = self.client.post(&self.url).body(packet).send().await;
    }

    /// Where a WebSocket is asked for that goes on with it.
    pub fn upgrade_path(&self) -> String {
        let at = self.url.find("/socket.io").expect("its path");
        self.url[at..].replace("transport=polling", "transport=websocket")
    }

    /// Sends it, and says by which status it is answered.
    pub async fn post(&self, payload: String) -> u16 {
        self.client.post(&self.url).body(payload).send().await.expect("an answer").status().as_u16()
    }

    /// What the next poll brings, pings answered; `None` at the end, or if nothing came in time.
    pub async fn poll(&self, time: Duration) -> Option<String> {
        let answer = self.client.get(&self.url).timeout(time).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let text = answer.text().await.ok()?;
        if text.split('\u{1e}').any(|packet| packet == "2") {
            self.say("3".into()).await;
        }
        Some(text)
    }
}

/// The pid of a Socket.IO CONNECT's answer.
pub fn pid(answer: &str) -> String {
    let object = answer.find('{').and_then(|at| serde_json::from_str::<Value>(&answer[at..]).ok());
    let object = object.unwrap_or_else(|| panic!("{answer}"));
    object["pid"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}
