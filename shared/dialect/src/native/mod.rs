//! The native protocol, spoken at `/api/ws` (wire contract, sections 1, 3 and 4): JSON objects in text frames, or
//! the same objects as MessagePack in binary frames.
//!
//! Reading order: [`message`] (what a client may say), [`decode`](mod@decode) (reading it), [`frame`] (what it is
//! told), [`event`] (how an event becomes a frame).

pub mod decode;
pub mod event;
pub mod frame;
pub mod message;

pub use decode::{Limits, decode};
pub use event::{ADDED_BYTES, add_event_body, event_body, event_frame, event_frame_msgpack, event_tail, event_tail_msgpack};
pub use frame::{
    ErrorFrame, Outcome, Subscribed, Unsubscribed, ack, connected, degraded, error, gap, pong, reconnect, snapshot, subscribed,
    unsubscribed,
};
pub use message::{ClientMessage, Refused, RoomRequest, Secret, Subscribe, TypeFilter};

use crate::websocket::handshake::choose_subprotocol;

/// How the objects of the native protocol are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Text frames, one JSON object each. What a client gets that asks for nothing.
    #[default]
    Json,
    /// Binary frames, one MessagePack map each.
    MessagePack,
}

impl Encoding {
    /// The name of the WebSocket subprotocol.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "weft.v1.json",
            Self::MessagePack => "weft.v1.msgpack",
        }
    }

    /// Chooses from a `Sec-WebSocket-Protocol` header: the first offer that is ours, and the name to answer with.
    ///
    /// `None` where no offer is ours: the client gets [`Encoding::Json`] and no subprotocol is named in the answer.
    #[must_use]
    pub fn from_subprotocols(offered: &str) -> Option<(Self, &'static str)> {
        let ours = [Self::Json, Self::MessagePack];
        let chosen = choose_subprotocol([offered.as_bytes()], &ours.map(Self::subprotocol))?;
        ours.into_iter().find(|encoding| encoding.subprotocol() == chosen).map(|encoding| (encoding, chosen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_offer_that_is_ours_wins() {
        for (offered, chosen) in [
            ("", None),
            ("weft.v1.json", Some(Encoding::Json)),
            ("token.abc, weft.v1.msgpack,weft.v1.json", Some(Encoding::MessagePack)),
            ("weft.v2.json", None),
            ("WEFT.V1.JSON", None),
        ] {
            let found = Encoding::from_subprotocols(offered);
            assert_eq!(found, chosen.map(|encoding| (encoding, encoding.subprotocol())), "{offered}");
        }
    }
}
