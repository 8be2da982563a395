//! A client's messages, one after the other, to what they ask for; what breaks the protocol ends the connection.

use super::{
    Namespace,
    binary::{ATTACHMENTS_MAX, check_places},
    frame,
    packet::{Kind, Malformed, Packet},
};
use bytes::Bytes;
use serde::{
    Deserialize,
    de::{Deserializer, Error, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// What only the libraries themselves may emit.
const RESERVED: [&str; 6] = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Longest token, as everywhere else a client may send one.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Longest `pid` that is looked at; what is longer is none of ours.
const PID_BYTES_MAX: usize = 256;

/// Bounds on what a client sends. The size of one message is bounded by the transport that brings it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most attachments of one packet, 63 at most.
    pub attachments_max: usize,
    /// Largest sum of the attachments of one packet and its text, in bytes: all of it is held until the last has come.
    pub packet_bytes_max: usize,
    /// Most arguments of one event or ack, its name included.
    pub args_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attachments_max: 10, packet_bytes_max: 1024 * 1024, args_max: 32 }
    }
}

/// What breaks the protocol. The Engine.IO session is closed; nothing is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken Socket.IO: {0}")]
pub struct Violation(pub &'static str);

impl From<Malformed> for Violation {
    fn from(malformed: Malformed) -> Self {
        Self(malformed.0)
    }
}

/// The arguments of an event or ack, each as it was written.
pub type Args = Vec<Box<RawValue>>;

/// What a client says of itself when it connects.
#[derive(Clone, Default)]
pub struct Auth {
    /// The whole object; `None` where there was none.
    pub object: Option<Box<RawValue>>,
    /// Its `token`, if that is a string.
    pub token: Option<String>,
    /// The secret of the session that it wants back.
    pub pid: Option<String>,
    /// The last offset it was told in that session, to be read as a [`SessionOffset`](super::SessionOffset).
    pub offset: Option<String>,
}

impl std::fmt::Debug for Auth {
    /// Nothing of it: it holds a token, and a secret of ours.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth(***)")
    }
}

/// An event of a client.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where it was sent.
    pub namespace: Namespace,
    /// Its name.
    pub name: String,
    /// The arguments after its name.
    pub args: Args,
    /// Set where the client waits for an ack.
    pub ack: Option<u64>,
    /// The attachments, by the numbers of their places.
    pub attachments: Vec<Bytes>,
}

/// What a message asks for.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// To join a namespace; answered by [`Link::join`] or [`Link::refuse`].
    Connect {
        /// Which.
        namespace: Namespace,
        /// What it says of itself.
        auth: Auth,
    },
    /// A namespace that is not here: this packet answers it.
    Unknown(String),
    /// To leave a namespace. Its record of recovery is to be deleted: the client will not come back for it.
    Disconnect(Namespace),
    /// An event.
    Event(Event),
    /// An ack of an event of ours.
    Ack {
        /// Where.
        namespace: Namespace,
        /// Of which.
        id: u64,
        /// What it says.
        args: Args,
        /// As of an event.
        attachments: Vec<Bytes>,
    },
}

/// A binary packet whose attachments have not all come.
#[derive(Debug)]
struct Pending {
    text: Box<str>,
    attachments: Vec<Bytes>,
    bytes: usize,
}

/// One client's Socket.IO: which namespaces it has joined, and what it has begun to say.
#[derive(Debug)]
pub struct Link {
    known: &'static [Namespace],
    /// A bit for each of `known` that was asked for and not answered.
    asked: u8,
    /// A bit for each of `known` that was joined.
    joined: u8,
    pending: Option<Box<Pending>>,
}

impl Link {
    /// A client that has joined nothing; it may join any of `known`, eight at most.
    #[must_use]
    pub fn new(known: &'static [Namespace]) -> Self {
        debug_assert!(known.len() <= 8, "one bit each");
        Self { known, asked: 0, joined: 0, pending: None }
    }

    /// Whether any namespace was joined, or asked for: a client that does neither in time is closed.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.asked | self.joined != 0
    }

    /// The client is in: its CONNECT was answered with one.
    pub fn join(&mut self, namespace: Namespace) {
        let bit = self.bit(namespace);
        self.asked &= !bit;
        self.joined |= bit;
    }

    /// The client is not let in: its CONNECT was answered with CONNECT_ERROR.
    pub fn refuse(&mut self, namespace: Namespace) {
        self.asked &= !self.bit(namespace);
    }

    fn bit(&self, namespace: Namespace) -> u8 {
        self.known.iter().position(|known| *known == namespace).map_or(0, |index| 1 << index)
    }

    /// Takes a text message. `None` where its attachments have still to come.
    pub fn text(&mut self, text: &str, limits: &Limits) -> Result<Option<Incoming>, Violation> {
        if self.pending.is_some() {
            return Err(Violation("a text among the attachments"));
        }
        let packet = Packet::parse(text, limits.attachments_max.min(ATTACHMENTS_MAX))?;
        if packet.attachments == 0 {
            return self.incoming(&packet, Vec::new(), limits).map(Some);
        }
        // Refused before anything is held for it; without its attachments it is read for that alone.
        self.incoming(&packet, Vec::new(), limits)?;
        check_places(packet.payload.unwrap_or_default(), packet.attachments)?;
        if text.len() > limits.packet_bytes_max {
            return Err(Violation("too large with its attachments"));
        }
        let attachments = Vec::with_capacity(packet.attachments);
        self.pending = Some(Box::new(Pending { text: text.into(), attachments, bytes: text.len() }));
        Ok(None)
    }

    /// Takes a binary message: the next attachment.
    pub fn binary(&mut self, bytes: Cow<'_, [u8]>, limits: &Limits) -> Result<Option<Incoming>, Violation> {
        let Some(mut pending) = self.pending.take() else { return Err(Violation("bytes that were not announced")) };
        pending.bytes += bytes.len();
        if pending.bytes > limits.packet_bytes_max {
            return Err(Violation("too large with its attachments"));
        }
        pending.attachments.push(bytes.into_owned().into());
        let packet = Packet::parse(&pending.text, limits.attachments_max.min(ATTACHMENTS_MAX))?;
        if pending.attachments.len() < packet.attachments {
            self.pending = Some(pending);
            return Ok(None);
        }
        self.incoming(&packet, std::mem::take(&mut pending.attachments), limits).map(Some)
    }

    /// Bytes held for a packet whose attachments have not all come.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.bytes)
    }

    fn incoming(&mut self, packet: &Packet<'_>, attachments: Vec<Bytes>, limits: &Limits) -> Result<Incoming, Violation> {
        match (packet.kind, packet.id, packet.payload) {
            (Kind::Connect, None, payload) => self.connect(packet.namespace, payload),
            (Kind::Disconnect, None, None) => {
                let namespace = self.namespace_joined(packet)?;
                self.joined &= !self.bit(namespace);
                Ok(Incoming::Disconnect(namespace))
            }
            (Kind::Event | Kind::BinaryEvent, ack, Some(payload)) => {
                let namespace = self.namespace_joined(packet)?;
                let mut args = args(payload, limits.args_max)?;
                let name = if args.is_empty() { None } else { serde_json::from_str(args.remove(0).get()).ok() };
                let name = name.filter(|name: &String| !RESERVED.contains(&name.as_str()));
                let name = name.ok_or(Violation("an event has no name of its own"))?;
                Ok(Incoming::Event(Event { namespace, name, args, ack, attachments }))
            }
            (Kind::Ack | Kind::BinaryAck, Some(id), Some(payload)) => {
                let namespace = self.namespace_joined(packet)?;
                Ok(Incoming::Ack { namespace, id, args: args(payload, limits.args_max)?, attachments })
            }
            _ => Err(Violation("a packet lacks what its type needs, or has what it must not")),
        }
    }

    fn connect(&mut self, name: &str, payload: Option<&str>) -> Result<Incoming, Violation> {
        let auth = payload.map(auth).transpose()?.unwrap_or_default();
        let Some(namespace) = self.known.iter().copied().find(|known| known.name() == name) else {
            return Ok(Incoming::Unknown(frame::invalid_namespace(name)));
        };
        let bit = self.bit(namespace);
        if (self.asked | self.joined) & bit != 0 {
            return Err(Violation("a namespace is joined twice"));
        }
        self.asked |= bit;
        Ok(Incoming::Connect { namespace, auth })
    }

    fn namespace_joined(&self, packet: &Packet<'_>) -> Result<Namespace, Violation> {
        let joined = self.known.iter().copied().find(|known| known.name() == packet.namespace);
        joined.filter(|namespace| self.joined & self.bit(*namespace) != 0).ok_or(Violation("a namespace was not joined"))
    }
}

fn auth(payload: &str) -> Result<Auth, Violation> {
    #[derive(Deserialize)]
    struct Fields<'a> {
        #[serde(borrow)]
        token: Option<&'a RawValue>,
        #[serde(borrow)]
        pid: Option<&'a RawValue>,
        #[serde(borrow)]
        offset: Option<&'a RawValue>,
    }
    let broken = Violation("CONNECT holds no object");
    // serde would read a struct from an array too, field by field.
    if !payload.starts_with('{') {
        return Err(broken);
    }
    let object: Box<RawValue> = serde_json::from_str(payload).map_err(|_| broken)?;
    let fields: Fields<'_> = serde_json::from_str(payload).map_err(|_| broken)?;
    // What is no string, or none that we could have given out, is as good as none: the client starts afresh.
    let text = |value: Option<&RawValue>, bytes_max: usize| {
        let value = value.filter(|value| value.get().len() <= bytes_max + 2)?;
        serde_json::from_str::<String>(value.get()).ok()
    };
    Ok(Auth {
        token: text(fields.token, TOKEN_BYTES_MAX),
        pid: text(fields.pid, PID_BYTES_MAX),
        offset: text(fields.offset, super::offset::CHARS_MAX),
        object: Some(object),
    })
}

fn args(payload: &str, args_max: usize) -> Result<Args, Violation> {
    struct ArgsVisitor(usize);
    impl<'de> Visitor<'de> for ArgsVisitor {
        type Value = Args;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("few arguments")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Args, A::Error> {
            let mut args = Args::new();
            while let Some(arg) = seq.next_element()? {
                if args.len() == self.0 {
                    return Err(A::Error::invalid_length(args.len(), &self));
                }
                args.push(arg);
            }
            Ok(args)
        }
    }
    let broken = Violation("the payload is no array of few arguments");
    // White space before it: other servers take that for an ack id of 0.
    if !payload.starts_with('[') {
        return Err(broken);
    }
    let mut json = serde_json::Deserializer::from_str(payload);
    let args = json.deserialize_seq(ArgsVisitor(args_max)).and_then(|args| json.end().map(|()| args));
    args.map_err(|_| broken)
}
