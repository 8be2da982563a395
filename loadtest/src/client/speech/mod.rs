//! How a client talks to the server under load: what it asks for, and what little it must understand of the answers.
//!
//! Events themselves are known by their [`mark`](super::mark), whatever wraps them.

mod native;
mod peers;
mod socketio;
mod stream;

pub(crate) use socketio::Session;

use native::Form;
use serde::{Deserialize, Serialize};
use socketio::Space;

/// A way to talk; one word each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Speech {
    /// Weft's own protocol, JSON in text frames.
    Json,
    /// The same in MessagePack, in binary frames.
    Msgpack,
    /// Weft's Socket.IO, namespace `/executions`.
    A,
    /// Weft's Socket.IO, namespace `/`.
    D,
    /// Weft's event streams, one room each.
    Sse,
    /// A plain Socket.IO 4 server; an event `subscribe` with the room, acknowledged.
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

/// What a request is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) host: &'a str,
    pub(crate) rooms: &'a [(String, From<'a>)],
    pub(crate) deflate: bool,
    pub(crate) token: Option<&'a str>,
}

/// What a message that is no event means to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is in, and may ask for its rooms.
    Joined,
    /// So many rooms are followed from here on.
    Subscribed {
        rooms: u32,
        /// With a gap in what was asked for.
        gap: bool,
    },
    /// Where the room stood when following it began.
    Tail,
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
    /// As it is named on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Msgpack => "msgpack",
            Self::A => "a",
            Self::D => "d",
            Self::Sse => "sse",
            Self::SocketIo => "socket.io",
            Self::Nats => "nats",
            Self::Nchan => "nchan",
            Self::Centrifugo => "centrifugo",
        }
    }

    /// The request for the upgrade or the stream, and whatever else it takes to be let in.
    pub(crate) fn request(self, asked: &Asked<'_>) -> String {
        if self == Self::Sse {
            return stream::request(asked);
        }
        // The key is an example's: this client does not check the answer to it.
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            self.path(asked),
            asked.host
        );
        if self == Self::Msgpack {
            request.push_str("Sec-WebSocket-Protocol: weft.v1.msgpack\r\n");
        }
        if asked.deflate {
            request.push_str(
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n",
            );
        }
        if let (Some(token), None) = (asked.token, self.space()) {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        request + "\r\n"
    }

    fn path(self, asked: &Asked<'_>) -> String {
        match self {
            Self::Json | Self::Msgpack => "/api/ws".into(),
            Self::D => socketio::path(asked.token),
            Self::A | Self::SocketIo => socketio::path(None),
            Self::Nats => "/".into(),
            Self::Nchan => format!("/sub/{}", asked.rooms.first().map_or("", |(room, _)| room.as_str())),
            Self::Centrifugo => "/connection/websocket".into(),
            Self::Sse => unreachable!("a stream has a request of its own"),
        }
    }

    /// The namespace of Socket.IO that it talks in.
    fn space(self) -> Option<Space> {
        match self {
            Self::A => Some(Space::Executions),
            Self::D | Self::SocketIo => Some(Space::Main),
            _ => None,
        }
    }

    /// Whether it is Socket.IO: a client is in only when it is told so.
    pub(crate) fn is_socket_io(self) -> bool {
        self.space().is_some()
    }

    /// Whether what is asked for is an answer without an end, and no upgrade.
    pub(crate) fn is_stream(self) -> bool {
        self == Self::Sse
    }

    /// Whether a token goes into the greeting, and not into the request.
    pub(crate) fn greets_with_token(self) -> bool {
        self == Self::A
    }

    /// What is sent as soon as the connection is open.
    pub(crate) fn greeting(self, token: Option<&str>, session: Option<&Session>) -> Vec<u8> {
        match self {
            Self::Nats => peers::nats_greeting(),
            Self::Centrifugo => peers::centrifugo_greeting(),
            _ => self.space().map_or(Vec::new(), |space| space.greeting(token, session)),
        }
    }

    /// Frames that follow these rooms, of which there is at least one.
    pub(crate) fn subscribe(self, rooms: &[(String, From<'_>)]) -> Vec<u8> {
        match self {
            Self::Json => Form::Json.subscribe(rooms),
            Self::Msgpack => Form::Msgpack.subscribe(rooms),
            Self::Nats => peers::nats_subscribe(rooms),
            Self::Centrifugo => peers::centrifugo_subscribe(rooms),
            _ => self.space().map_or(Vec::new(), |space| space.subscribe(rooms)),
        }
    }

    /// Whether being connected is all there is to following.
    pub(crate) fn follows_by_connecting(self) -> bool {
        matches!(self, Self::Nchan | Self::Sse)
    }

    /// A frame of about so many bytes that the server reads; nothing where it would not.
    pub(crate) fn say(self, bytes: usize) -> Vec<u8> {
        match self {
            Self::Json => Form::Json.say(bytes),
            Self::Msgpack => Form::Msgpack.say(bytes),
            Self::A => Space::Executions.say(bytes),
            Self::D => Space::Main.say(bytes),
            Self::Sse | Self::SocketIo | Self::Nats | Self::Nchan | Self::Centrifugo => Vec::new(),
        }
    }

    /// What a message without a mark says.
    pub(crate) fn understand(self, payload: &[u8]) -> Said {
        match self {
            Self::Json => Form::Json.understand(payload),
            Self::Msgpack => Form::Msgpack.understand(payload),
            Self::Sse => stream::understand(payload),
            Self::Nats => peers::nats_understand(payload),
            Self::Centrifugo => peers::centrifugo_understand(payload),
            _ => self.space().map_or(Said::Other, |space| space.understand(payload)),
        }
    }

    /// The offset that a message carries, to resume after it.
    pub(crate) fn offset(self, payload: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Sse => stream::offset(payload),
            Self::A | Self::D => socketio::offset(payload),
            _ => self.form()?.offset(payload),
        }
    }

    /// The session that an answer gives back or begins.
    pub(crate) fn pid(self, payload: &[u8]) -> Option<Vec<u8>> {
        socketio::pid(payload)
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

/// The execution that a room is of.
fn execution(room: &str) -> Option<&str> {
    room.strip_prefix("execution:")
}
