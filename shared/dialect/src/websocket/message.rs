//! What a client's frames say.

use super::Violation;
use std::str;

/// One message or control frame from a client, borrowed from the bytes that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'m> {
    /// A whole text message.
    Text(&'m str),
    /// A whole binary message.
    Binary(&'m [u8]),
    /// To be answered by a pong with the same payload.
    Ping(&'m [u8]),
    /// The peer is there.
    Pong(&'m [u8]),
    /// The peer closes; what it sends afterwards is nothing. To be answered by a close of the same code.
    Close(Close<'m>),
}

/// What a close frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'m> {
    /// Why; `None` where the frame was empty.
    pub code: Option<u16>,
    /// The same for people; may be empty.
    pub reason: &'m str,
}

impl<'m> Close<'m> {
    /// Reads the payload of a close frame (RFC 6455, sections 5.5.1 and 7.4).
    pub fn parse(payload: &'m [u8]) -> Result<Self, Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(Self { code: None, reason: "" }) } else { Err(Violation::CloseTooShort) };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Violation::CloseCode);
        }
        let reason = str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
        Ok(Self { code: Some(code), reason })
    }
}

/// Whether a peer may put `code` into a close frame: what the RFC and its registry define for the wire, and the ranges
/// for libraries and applications. 1004 is reserved; 1005, 1006 and 1015 only stand for what was not on the wire.
#[must_use]
pub const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
