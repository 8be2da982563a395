//! Several packets in one body of long polling, parted by the record separator; binary ones in base64.

use super::packet::{BASE64, Malformed, Packet};
use base64::Engine;

/// Parts packets. No text of ours holds it: within JSON strings it is escaped.
const SEPARATOR: u8 = 0x1e;

/// The packets of a client's payload, read one by one; what follows a malformed one is not to be read.
pub fn packets(payload: &str) -> impl Iterator<Item = Result<Packet<'_>, Malformed>> {
    payload.split(char::from(SEPARATOR)).map(Packet::parse)
}

/// The answer to a poll, packet by packet.
#[derive(Debug)]
pub struct Payload {
    out: Vec<u8>,
    /// Past this nothing is added: what is left comes with the next poll.
    bytes_max: usize,
}

impl Payload {
    /// An empty one that holds up to `bytes_max` bytes, or one packet if that is larger.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { out: Vec::new(), bytes_max }
    }

    /// Whether it holds no packet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Adds a packet that is text, given in parts that follow each other. Whether it had room: if not, nothing was added.
    #[must_use]
    pub fn push_text(&mut self, parts: &[&[u8]]) -> bool {
        let fits = self.make_room(parts.iter().map(|part| part.len()).sum());
        if fits {
            parts.iter().for_each(|part| self.out.extend_from_slice(part));
        }
        fits
    }

    /// Adds a message that is bytes. Whether it had room: if not, nothing was added.
    #[must_use]
    pub fn push_binary(&mut self, bytes: &[u8]) -> bool {
        let fits = self.make_room(1 + bytes.len().div_ceil(3) * 4);
        if fits {
            self.out.push(b'b');
            self.out.extend_from_slice(BASE64.encode(bytes).as_bytes());
        }
        fits
    }

    fn make_room(&mut self, bytes: usize) -> bool {
        if self.out.is_empty() {
            self.out.reserve(bytes);
            return true;
        }
        if self.out.len() + 1 + bytes > self.bytes_max {
            return false;
        }
        self.out.push(SEPARATOR);
        true
    }

    /// The body, UTF-8 if every text pushed was.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
}
