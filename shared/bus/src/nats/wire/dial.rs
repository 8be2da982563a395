//! From an address to a connection that has been greeted: TCP, TLS, who we are.

use super::parse::{Op, Parser};
use crate::{BusConfig, ConnectError, endpoint::Endpoint, nats::credentials::Credentials, tls};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use serde::Deserialize;
use serde_json::json;
use std::{fmt, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

/// From dialling one server to its first answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// What the server adds to a message that it repeats.
const ADDED_MAX: usize = 64 * 1024;
/// Servers that others told of, at most.
const DISCOVERED_MAX: usize = 64;

/// What carries the bytes.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection on which the server has answered the first ping.
pub(in crate::nats) struct Connection {
    pub(super) io: Box<dyn Io>,
    /// Read already.
    pub(super) buffer: BytesMut,
    pub(super) parser: Parser,
}

/// How the servers are reached.
pub(super) struct Dial {
    config: BusConfig,
    endpoint: Endpoint,
    /// Told by servers, `host:port`.
    discovered: Mutex<Vec<(String, u16)>>,
}

/// The part of `INFO` that matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    max_payload: usize,
    nonce: String,
    tls_required: bool,
    connect_urls: Vec<String>,
    /// The server is about to leave.
    pub(super) ldm: bool,
}

/// Why one server could not be had.
#[derive(Debug)]
enum Failed {
    Io(io::Error),
    /// It does not want us, or is no NATS.
    Refused(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(formatter),
            Self::Refused(reason) => reason.fmt(formatter),
        }
    }
}

impl Dial {
    pub(super) fn new(config: &BusConfig, endpoint: Endpoint) -> Self {
        Self { config: config.clone(), endpoint, discovered: Mutex::default() }
    }

    /// The first server that takes us, in an order that differs from process to process.
    pub(super) async fn connect(&self) -> Result<Connection, ConnectError> {
        let mut servers = self.endpoint.hosts.clone();
        servers.extend(self.discovered.lock().iter().cloned());
        servers.shuffle(&mut rand::rng());
        let mut last = Failed::Refused("no server is named".into());
        for (host, port) in &servers {
            last = match timeout(DIAL_TIMEOUT, self.one(host, *port)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(failed)) => failed,
                Err(_) => Failed::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
            };
        }
        let reason = format!("{}: {last}", self.config.url_shown());
        Err(match last {
            Failed::Io(_) => ConnectError::Away(reason),
            Failed::Refused(_) => ConnectError::Refused(reason),
        })
    }

    /// Takes note of the servers that one tells of.
    pub(super) fn learn(&self, info: &Info) {
        let told = info.connect_urls.iter().filter_map(|url| {
            let (host, port) = url.rsplit_once(':')?;
            Some((host.trim_matches(['[', ']']).to_owned(), port.parse::<u16>().ok()?))
        });
        let told: Vec<_> = told.filter(|server| !self.endpoint.hosts.contains(server)).take(DISCOVERED_MAX).collect();
        if !told.is_empty() {
            *self.discovered.lock() = told;
        }
    }

    async fn one(&self, host: &str, port: u16) -> Result<Connection, Failed> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let mut greeting = Greeting { io: Box::new(stream), buffer: BytesMut::new(), parser: Parser::new(ADDED_MAX) };
        let Op::Info(info) = greeting.next().await? else {
            return Err(Failed::Refused("the server does not greet as NATS does".into()));
        };
        let info = Info::read(&info).map_err(Failed::Refused)?;
        self.learn(&info);
        let is_tls = self.wants_tls() || info.tls_required;
        if is_tls {
            greeting.io = self.encrypt(greeting.io, host).await?;
        }
        let connect = format!("CONNECT {}\r\nPING\r\n", self.who(&info, is_tls)?);
        greeting.io.write_all(connect.as_bytes()).await?;
        greeting.io.flush().await?;
        loop {
            match greeting.next().await? {
                Op::Pong => break,
                Op::Ping => greeting.io.write_all(b"PONG\r\n").await?,
                Op::Error(reason) => return Err(Failed::Refused(reason)),
                Op::Info(_) | Op::Ok | Op::Message(_) => {}
            }
        }
        let Greeting { io, buffer, mut parser } = greeting;
        parser.message_max = info.max_payload.saturating_add(ADDED_MAX);
        Ok(Connection { io, buffer, parser })
    }

    fn wants_tls(&self) -> bool {
        self.endpoint.scheme.contains("tls") || self.config.tls_ca_file.is_some() || self.config.tls_client.is_some()
    }

    async fn encrypt(&self, io: Box<dyn Io>, host: &str) -> Result<Box<dyn Io>, Failed> {
        let config = tls::client_config(&self.config).map_err(|error| Failed::Refused(error.to_string()))?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Failed::Refused(format!("{host}: {error}")))?;
        let encrypted = TlsConnector::from(Arc::new(config)).connect(name, io).await;
        // A certificate that does not hold says so as an error of input.
        encrypted.map(|io| Box::new(io) as Box<dyn Io>).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => Failed::Refused(error.to_string()),
            _ => Failed::Io(error),
        })
    }

    /// The body of `CONNECT`.
    fn who(&self, info: &Info, is_tls: bool) -> Result<serde_json::Value, Failed> {
        let mut who = json!({
            "verbose": false, "pedantic": false, "tls_required": is_tls, "name": format!("{}-live", self.config.client_name),
            "lang": "rust", "version": env!("CARGO_PKG_VERSION"), "protocol": 1, "echo": true, "headers": true,
            "no_responders": true,
        });
        match (&self.endpoint.user, &self.endpoint.password) {
            (Some(user), Some(password)) => (who["user"], who["pass"]) = (user.as_str().into(), password.as_str().into()),
            (Some(token), None) => who["auth_token"] = token.as_str().into(),
            (None, _) => {}
        }
        if let Some(path) = &self.config.credentials_file {
            let shown = Credentials::read(path).and_then(|credentials| credentials.show(info.nonce.as_bytes()));
            let shown = shown.map_err(|error| Failed::Refused(error.to_string()))?;
            (who["jwt"], who["sig"]) = (shown.jwt.into(), URL_SAFE_NO_PAD.encode(shown.signature).into());
        }
        Ok(who)
    }
}

impl Info {
    pub(super) fn read(json: &Bytes) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| format!("the server's INFO: {error}"))
    }
}

/// A connection whose server has not let us in yet.
struct Greeting {
    io: Box<dyn Io>,
    buffer: BytesMut,
    parser: Parser,
}

impl Greeting {
    async fn next(&mut self) -> Result<Op, Failed> {
        loop {
            if let Some(op) = self.parser.next(&mut self.buffer).map_err(|fault| Failed::Refused(fault.to_string()))? {
                return Ok(op);
            }
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }
}
