//! One connection whose socket the test keeps control of: a WebSocket, or the answer that an event stream is.

use super::{ClientPlan, Speech, paced::Paced};
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::HeaderValue,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// A gateway accepts in milliseconds or is not there; this bounds one that was stopped.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Small, because a test holds hundreds of clients and a stalled one must not read ahead.
const READ_BUFFER_BYTES: usize = 4096;

pub(super) enum Connection {
    Socket(Box<WebSocketStream<Paced>>),
    Stream(Stream),
}

/// An event stream, and what has come of its next block.
pub(super) struct Stream {
    answer: reqwest::Response,
    rest: Vec<u8>,
}

/// Where it connects to, and after which event it goes on.
pub(super) struct Target<'a> {
    pub(super) gateway: &'a str,
    pub(super) path: &'a str,
    pub(super) last_event_id: Option<&'a str>,
}

/// What came by a connection.
pub(super) enum Came {
    /// A text frame, or a block of an event stream.
    Text(String),
    /// It has ended.
    End { code: Option<u16>, why: String },
}

impl Connection {
    pub(super) async fn open(plan: &ClientPlan, target: &Target<'_>) -> Result<Self, String> {
        let opening = async {
            match plan.speech {
                Speech::EventStream => Stream::open(plan, target).await.map(Self::Stream),
                _ => open(plan, target).await.map(|socket| Self::Socket(Box::new(socket))),
            }
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
        }
    }

    pub(super) async fn receive(&mut self) -> Came {
        let socket = match self {
            Self::Socket(socket) => socket,
            Self::Stream(stream) => return stream.receive().await,
        };
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => return Came::Text(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    let why = frame.as_ref().map_or_else(String::new, |frame| frame.reason.as_str().to_owned());
                    return Came::End { code: frame.map(|frame| frame.code.into()), why };
                }
                Some(Ok(Message::Binary(_))) => return Came::End { code: None, why: "a binary frame to a JSON client".into() },
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Came::End { code: None, why: error.to_string() },
                None => return Came::End { code: None, why: "the connection ended without a close".into() },
            }
        }
    }

    pub(super) async fn send(&mut self, text: String) -> Result<(), String> {
        match self {
            Self::Socket(socket) => socket.send(Message::text(text)).await.map_err(|error| error.to_string()),
            Self::Stream(_) => Err("nothing can be said in an event stream".into()),
        }
    }

    /// The polite way: a close frame, and what still comes before the answer is returned.
    pub(super) async fn close(mut self) -> Vec<String> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let mut rest = Vec::new();
        // Who has heard enough of an event stream hangs up.
        let Self::Socket(socket) = &mut self else { return rest };
        if (**socket).close(Some(frame)).await.is_ok() {
            while let Came::Text(text) = self.receive().await {
                rest.push(text);
            }
        }
        rest
    }

    /// The rude way: a TCP reset.
    pub(super) fn cut(self) {
        if let Self::Socket(socket) = self {
            // Without it the kernel would say goodbye in our name. Failing means that the connection is gone already.
            let _ = socket.get_ref().stream().set_zero_linger();
        }
    }
}

impl Stream {
    async fn open(plan: &ClientPlan, target: &Target<'_>) -> Result<Self, String> {
        let url = format!("http://{}{}", target.gateway, target.path);
        // It ends when the gateway does; a limit for the whole answer would end it in the middle.
        let client = crate::http::unlimited();
        let mut request = client.get(url).header("accept", "text/event-stream");
        if let Some(id) = target.last_event_id {
            request = request.header("last-event-id", id);
        }
        if let Some(token) = &plan.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        match answer.status().as_u16() {
            200 => Ok(Self { answer, rest: Vec::new() }),
            status => Err(format!("answered with {status}")),
        }
    }

    async fn receive(&mut self) -> Came {
        loop {
            if let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
                let block = self.rest.drain(..end + 2).collect();
                return match String::from_utf8(block) {
                    Ok(text) => Came::Text(text),
                    Err(error) => Came::End { code: None, why: error.to_string() },
                };
            }
            match self.answer.chunk().await {
                Ok(Some(bytes)) => self.rest.extend_from_slice(&bytes),
                // A block without an end was never told.
                Ok(None) => return Came::End { code: None, why: "the stream ended".into() },
                Err(error) => return Came::End { code: None, why: error.to_string() },
            }
        }
    }
}

async fn open(plan: &ClientPlan, target: &Target<'_>) -> Result<WebSocketStream<Paced>, String> {
    let Target { gateway, path, .. } = target;
    let address = gateway.parse().map_err(|error| format!("{gateway}: {error}"))?;
    let socket = TcpSocket::new_v4().map_err(|error| error.to_string())?;
    if plan.receive_buffer > 0 {
        socket.set_recv_buffer_size(plan.receive_buffer).map_err(|error| error.to_string())?;
    }
    let stream = socket.connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut request = format!("ws://{gateway}{path}").into_client_request().map_err(|error| error.to_string())?;
    if let Some(token) = &plan.token {
        let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| error.to_string())?;
        request.headers_mut().insert("authorization", value);
    }
    // No compression is offered: the library has none, and takes a frame that says it is compressed for an error.
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let opened =
        tokio_tungstenite::client_async_with_config(request, Paced::new(stream, plan.read_bytes_per_second), Some(config)).await;
    opened.map(|(socket, _)| socket).map_err(|error| error.to_string())
}
