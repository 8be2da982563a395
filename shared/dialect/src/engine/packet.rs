//! Packets: a digit for the type, and what it carries.

use super::Transport;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::borrow::Cow;

/// Clients pad; one that does not is understood all the same.
pub(super) const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// A text, without the digit of its type.
    Text(&'a str),
    /// Bytes: a binary frame, or base64 where only text can travel.
    Binary(Cow<'a, [u8]>),
}

/// One packet of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A handshake, which only a server sends.
    Open(&'a str),
    /// The client leaves.
    Close,
    /// A question for a sign of life; of a client only to probe a transport.
    Ping(&'a str),
    /// The answer to ours.
    Pong(&'a str),
    /// Something for the layer above.
    Message(Data<'a>),
    /// The probed transport is to be the session's from here on.
    Upgrade,
    /// Nothing.
    Noop,
}

/// Bytes that are no packet. The session that sent them is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no Engine.IO packet: {0}")]
pub struct Malformed(pub &'static str);

impl<'a> Packet<'a> {
    /// Reads a packet from a text frame, or from its part of a polling payload.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let rest = text.get(1..).unwrap_or_default();
        match text.as_bytes().first() {
            Some(b'0') => Ok(Self::Open(rest)),
            Some(b'1') => Ok(Self::Close),
            Some(b'2') => Ok(Self::Ping(rest)),
            Some(b'3') => Ok(Self::Pong(rest)),
            Some(b'4') => Ok(Self::Message(Data::Text(rest))),
            Some(b'5') => Ok(Self::Upgrade),
            Some(b'6') => Ok(Self::Noop),
            Some(b'b') => match BASE64.decode(rest) {
                Ok(bytes) => Ok(Self::Message(Data::Binary(bytes.into()))),
                Err(_) => Err(Malformed("base64 is broken")),
            },
            Some(_) => Err(Malformed("unknown type")),
            None => Err(Malformed("empty")),
        }
    }

    /// A binary frame is a message as it is.
    #[must_use]
    pub fn binary(bytes: &'a [u8]) -> Self {
        Self::Message(Data::Binary(Cow::Borrowed(bytes)))
    }
}

/// A packet that the session sends of its own, besides messages and the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The session is over; ends a poll.
    Close,
    /// Asks for a sign of life.
    Ping,
    /// Answers the probe of a transport.
    ProbePong,
    /// Ends a poll that has nothing to bring.
    Noop,
}

impl Control {
    /// As written.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Close => "1",
            Self::Ping => "2",
            Self::ProbePong => "3probe",
            Self::Noop => "6",
        }
    }
}

/// The first packet of a session.
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    /// The session's id, a secret: whoever knows it can speak for the session.
    pub sid: &'a str,
    /// How the client came; from polling it may upgrade.
    pub transport: Transport,
    /// Milliseconds between pings.
    pub ping_interval_ms: u64,
    /// Milliseconds that an answer to a ping may take.
    pub ping_timeout_ms: u64,
    /// Most bytes that the client may send in one payload.
    pub payload_bytes_max: usize,
}

impl Handshake<'_> {
    /// As written.
    #[must_use]
    pub fn text(&self) -> String {
        let upgrades = match self.transport {
            Transport::Polling => "\"websocket\"",
            Transport::WebSocket => "",
        };
        format!(
            "0{{\"sid\":{},\"upgrades\":[{upgrades}],\"pingInterval\":{},\"pingTimeout\":{},\"maxPayload\":{}}}",
            crate::json::text_json(self.sid),
            self.ping_interval_ms,
            self.ping_timeout_ms,
            self.payload_bytes_max
        )
    }
}
