//! One WebSocket connection whose socket the test keeps control of.

use super::{ClientPlan, paced::Paced};
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

pub(super) struct Connection {
    socket: WebSocketStream<Paced>,
}

/// What came by a connection.
pub(super) enum Came {
    /// A text frame.
    Text(String),
    /// It has ended.
    End { code: Option<u16>, why: String },
}

impl Connection {
    pub(super) async fn open(plan: &ClientPlan, gateway: &str) -> Result<Self, String> {
        match tokio::time::timeout(CONNECT_TIMEOUT, open(plan, gateway)).await {
            Ok(opened) => opened.map(|socket| Self { socket }),
            Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}")),
        }
    }

    pub(super) async fn receive(&mut self) -> Came {
        loop {
            match self.socket.next().await {
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
        self.socket.send(Message::text(text)).await.map_err(|error| error.to_string())
    }

    /// The polite way: a close frame, and what still comes before the answer is returned.
    pub(super) async fn close(mut self) -> Vec<String> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let mut rest = Vec::new();
        if self.socket.close(Some(frame)).await.is_ok() {
            while let Came::Text(text) = self.receive().await {
                rest.push(text);
            }
        }
        rest
    }

    /// The rude way: a TCP reset.
    pub(super) fn cut(self) {
        // Without it the kernel would say goodbye in our name. Failing means that the connection is gone already.
        let _ = self.socket.get_ref().stream().set_zero_linger();
    }
}

async fn open(plan: &ClientPlan, gateway: &str) -> Result<WebSocketStream<Paced>, String> {
    let address = gateway.parse().map_err(|error| format!("{gateway}: {error}"))?;
    let socket = TcpSocket::new_v4().map_err(|error| error.to_string())?;
    if plan.receive_buffer > 0 {
        socket.set_recv_buffer_size(plan.receive_buffer).map_err(|error| error.to_string())?;
    }
    let stream = socket.connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut request = format!("ws://{gateway}/api/ws").into_client_request().map_err(|error| error.to_string())?;
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
