//! How a client talks to the server under load: what it asks for, and what little it must understand of the answers.
//!
//! Events themselves are known by their [`mark`](super::mark), whatever wraps them.

mod native;
mod peers;

use native::Form;
use serde::{Deserialize, Serialize};

/// A way to talk; one word each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Speech {
    /// Weft's own protocol, JSON in text frames.
    Json,
    /// The same in MessagePack, in binary frames.
    Msgpack,
    /// Socket.IO 4 over a WebSocket; an event `subscribe` with the room, acknowledged.
    #[value(skip)]
    SocketIo,
    /// The NATS client protocol in WebSocket frames.
    #[value(skip)]
    Nats,
    /// A WebSocket whose path is the room.
    #[value(skip)]
    Nchan,
    /// Centrifugo's JSON protocol.
    #[value(skip)]
    Centrifugo,
}

/// Where to go on in a room.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From<'a> {
    /// With whatever comes next.
    Now,
    /// At the oldest event held.
    Start,
    /// After this offset.
    After(&'a [u8]),
}

/// What a message that is no event means to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// So many rooms are followed from here on.
    Subscribed {
        rooms: u32,
        /// With a gap in what was asked for.
        gap: bool,
    },
    /// Something is missing.
    Gap,
    /// Something was refused.
    Refused,
    /// This frame is expected in return.
    Expects(Vec<u8>),
    /// Nothing that matters here.
    Other,
}

impl Speech {
    /// The request for the upgrade, and whatever else it takes to be let in.
    pub(crate) fn request(self, host: &str, rooms: &[String], deflate: bool, token: Option<&str>) -> String {
        // The key is an example's: this client does not check the answer to it.
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            self.path(rooms)
        );
        if self == Self::Msgpack {
            request.push_str("Sec-WebSocket-Protocol: weft.v1.msgpack\r\n");
        }
        if deflate {
            request.push_str(
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
            );
        }
        if let Some(token) = token {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        request + "\r\n"
    }

    fn path(self, rooms: &[String]) -> String {
        match self {
            Self::Json | Self::Msgpack => "/api/ws".into(),
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket".into(),
            Self::Nats => "/".into(),
            Self::Nchan => format!("/sub/{}", rooms.first().map_or("", String::as_str)),
            Self::Centrifugo => "/connection/websocket".into(),
        }
    }

    /// What is sent as soon as the connection is open.
    pub(crate) fn greeting(self) -> Vec<u8> {
        match self {
            Self::Json | Self::Msgpack | Self::Nchan => Vec::new(),
            Self::SocketIo => peers::socketio_greeting(),
            Self::Nats => peers::nats_greeting(),
            Self::Centrifugo => peers::centrifugo_greeting(),
        }
    }

    /// Frames that follow these rooms, of which there is at least one.
    pub(crate) fn subscribe(self, rooms: &[(String, From<'_>)]) -> Vec<u8> {
        match self {
            Self::Json => Form::Json.subscribe(rooms),
            Self::Msgpack => Form::Msgpack.subscribe(rooms),
            Self::SocketIo => peers::socketio_subscribe(rooms),
            Self::Nats => peers::nats_subscribe(rooms),
            Self::Nchan => Vec::new(),
            Self::Centrifugo => peers::centrifugo_subscribe(rooms),
        }
    }

    /// Whether being connected is all there is to following.
    pub(crate) fn follows_by_connecting(self) -> bool {
        self == Self::Nchan
    }

    /// A frame of about so many bytes that the server reads; nothing where it would not.
    pub(crate) fn say(self, bytes: usize) -> Vec<u8> {
        match self {
            Self::Json => Form::Json.say(bytes),
            Self::Msgpack => Form::Msgpack.say(bytes),
            Self::SocketIo | Self::Nats | Self::Nchan | Self::Centrifugo => Vec::new(),
        }
    }

    /// What a message without a mark says.
    pub(crate) fn understand(self, payload: &[u8]) -> Said {
        match self {
            Self::Json => Form::Json.understand(payload),
            Self::Msgpack => Form::Msgpack.understand(payload),
            Self::SocketIo => peers::socketio_understand(payload),
            Self::Nats => peers::nats_understand(payload),
            Self::Nchan => Said::Other,
            Self::Centrifugo => peers::centrifugo_understand(payload),
        }
    }

    /// The offset that a message carries, to resume after it.
    pub(crate) fn offset(self, payload: &[u8]) -> Option<&[u8]> {
        self.form()?.offset(payload)
    }

    /// The room that an answer to a subscribe names.
    pub(crate) fn room(self, payload: &[u8]) -> Option<&[u8]> {
        self.form()?.room(payload)
    }

    fn form(self) -> Option<Form> {
        match self {
            Self::Json => Some(Form::Json),
            Self::Msgpack => Some(Form::Msgpack),
            _ => None,
        }
    }
}
