//! Frames as a server sends them: never masked (RFC 6455, section 5.1).

use crate::told::CloseCode;
use std::ops::Deref;

/// What a frame is (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message that has begun.
    Continuation = 0x0,
    /// UTF-8 text.
    Text = 0x1,
    /// Bytes.
    Binary = 0x2,
    /// The end of the connection, with a code and a reason.
    Close = 0x8,
    /// A question whether the peer is there.
    Ping = 0x9,
    /// The answer to it, or a sign of life without a question.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of these four bits; `None` where the RFC reserves them.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Whether this is a control frame, which may stand between fragments and is never fragmented itself.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Longest header of a frame without a mask, in bytes.
pub const HEADER_BYTES_MAX: usize = 10;

/// Largest payload of a control frame, in bytes (RFC 6455, section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Largest reason of a close frame, in bytes: its code takes two.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Writes the header of an unmasked frame with `payload_len` bytes and gives its length.
///
/// `rsv1` marks the first frame of a compressed message (RFC 7692, section 6). A control frame has `fin` and at most
/// [`CONTROL_BYTES_MAX`] bytes; [`ControlFrame`] sees to that.
pub const fn encode_header(opcode: Opcode, fin: bool, rsv1: bool, payload_len: u64, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
    out[0] = (fin as u8) << 7 | (rsv1 as u8) << 6 | opcode as u8;
    let [a, b, c, d, e, f, g, h] = payload_len.to_be_bytes();
    if payload_len < 126 {
        out[1] = h;
        2
    } else if payload_len <= 0xFFFF {
        (out[1], out[2], out[3]) = (126, g, h);
        4
    } else {
        *out = [out[0], 127, a, b, c, d, e, f, g, h];
        10
    }
}

/// A whole message in one frame, from the parts of its payload.
#[must_use]
pub fn encode(opcode: Opcode, rsv1: bool, parts: &[&[u8]]) -> Vec<u8> {
    let payload_len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut header = [0; HEADER_BYTES_MAX];
    let header_len = encode_header(opcode, true, rsv1, payload_len as u64, &mut header);
    let mut frame = Vec::with_capacity(header_len + payload_len);
    frame.extend_from_slice(&header[..header_len]);
    for part in parts {
        frame.extend_from_slice(part);
    }
    frame
}

/// A whole control frame, ready to be sent; lives on the stack.
#[derive(Clone, Copy)]
pub struct ControlFrame {
    bytes: [u8; 2 + CONTROL_BYTES_MAX],
    len: u8,
}

impl ControlFrame {
    /// A ping. `None` if the payload has more than [`CONTROL_BYTES_MAX`] bytes.
    #[must_use]
    pub fn ping(payload: &[u8]) -> Option<Self> {
        Self::new(Opcode::Ping, &[payload])
    }

    /// The answer to a ping with the same payload. `None` if it has more than [`CONTROL_BYTES_MAX`] bytes, which no
    /// ping from [`Reader`](super::Reader) has.
    #[must_use]
    pub fn pong(payload: &[u8]) -> Option<Self> {
        Self::new(Opcode::Pong, &[payload])
    }

    /// A close with a code and a reason; of a longer reason as many characters as [`REASON_BYTES_MAX`] takes.
    #[must_use]
    pub fn close(code: u16, reason: &str) -> Self {
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
        Self::new(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()]).unwrap_or_else(Self::close_without_code)
    }

    /// A close with a row of the table that clients are told.
    #[must_use]
    pub fn close_with(close: &CloseCode) -> Self {
        Self::close(close.code, close.sentence)
    }

    /// A close that says nothing: the answer to one that said nothing.
    #[must_use]
    pub fn close_without_code() -> Self {
        let mut bytes = [0; 2 + CONTROL_BYTES_MAX];
        bytes[0] = 0x80 | Opcode::Close as u8;
        Self { bytes, len: 2 }
    }

    fn new(opcode: Opcode, parts: &[&[u8]]) -> Option<Self> {
        let mut bytes = [0; 2 + CONTROL_BYTES_MAX];
        let mut len = 2;
        for part in parts {
            bytes.get_mut(len..len + part.len())?.copy_from_slice(part);
            len += part.len();
        }
        bytes[0] = 0x80 | opcode as u8;
        bytes[1] = (len - 2) as u8;
        Some(Self { bytes, len: len as u8 })
    }
}

impl Deref for ControlFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for ControlFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ControlFrame({:02x?})", &**self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_take_the_fewest_bytes() {
        for (len, expected) in [
            (0u64, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xFFFF, &[0x81, 126, 0xFF, 0xFF]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (1 << 40, &[0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]),
        ] {
            let mut out = [0xEE; HEADER_BYTES_MAX];
            let header_len = encode_header(Opcode::Text, true, false, len, &mut out);
            assert_eq!(&out[..header_len], expected, "{len}");
        }
        let mut out = [0; HEADER_BYTES_MAX];
        encode_header(Opcode::Binary, false, true, 1, &mut out);
        assert_eq!(out[..2], [0x42, 1]);
    }

    #[test]
    fn the_examples_of_section_5_7_as_a_server_sends_them() {
        assert_eq!(encode(Opcode::Text, false, &[b"Hel", b"lo"]), [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        let ping = ControlFrame::ping(b"Hello").expect("fits");
        assert_eq!(*ping, [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(encode(Opcode::Binary, false, &[&[7; 256]])[..4], [0x82, 0x7E, 0x01, 0x00]);
        assert_eq!(encode(Opcode::Binary, false, &[&[7; 65536]])[..10], [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn control_frames_hold_125_bytes_and_cut_a_reason_between_characters() {
        assert_eq!(ControlFrame::pong(&[1; 125]).expect("fits").len(), 127);
        assert!(ControlFrame::ping(&[0; 126]).is_none());
        assert_eq!(*ControlFrame::close(1000, ""), [0x88, 2, 0x03, 0xE8]);
        assert_eq!(*ControlFrame::close_without_code(), [0x88, 0]);
        let long = ControlFrame::close(1011, &"ü".repeat(100));
        assert_eq!(std::str::from_utf8(&long[4..]), Ok("ü".repeat(61).as_str()));
        for close in crate::told::CLOSES {
            assert!(ControlFrame::close_with(close).ends_with(close.sentence.as_bytes()), "{}", close.sentence);
        }
    }
}
