//! A message that comes in pieces.

use super::{Opcode, Violation};

/// First size of the buffer, in bytes: most messages that come in pieces are small.
const FIRST_BYTES: usize = 512;

/// What has come of a message so far.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) opcode: Opcode,
    pub(super) compressed: bool,
    /// Frames that have begun.
    pub(super) fragments: u32,
    /// Those of them that carried nothing and were not the last.
    pub(super) empty_fragments: u32,
    /// The payload, unmasked; still compressed if it came so.
    pub(super) bytes: Vec<u8>,
    /// So many of them are whole characters of UTF-8.
    checked: usize,
}

impl Assembly {
    pub(super) fn new(opcode: Opcode, compressed: bool) -> Self {
        Self { opcode, compressed, fragments: 0, empty_fragments: 0, bytes: Vec::new(), checked: 0 }
    }

    /// Adds a piece. The buffer doubles, but not beyond `bytes_max`, the most that the message can still become: a
    /// length that was only announced takes no memory.
    pub(super) fn append(&mut self, piece: &[u8], bytes_max: usize) -> Result<(), Violation> {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            let roomy = (self.bytes.capacity() * 2).max(FIRST_BYTES).min(bytes_max).max(needed);
            self.bytes.reserve_exact(roomy - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        if self.opcode == Opcode::Text && !self.compressed { self.check_utf8() } else { Ok(()) }
    }

    /// Fails with the first byte that no further one can make UTF-8. A character that is cut off at the end is looked
    /// at again with the next piece.
    fn check_utf8(&mut self) -> Result<(), Violation> {
        match simdutf8::compat::from_utf8(&self.bytes[self.checked..]) {
            Ok(_) => self.checked = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(Violation::TextNotUtf8),
        }
        Ok(())
    }

    /// The whole payload; refused if it ends within a character.
    pub(super) fn finish(self) -> Result<Vec<u8>, Violation> {
        if self.opcode == Opcode::Text && !self.compressed && self.checked < self.bytes.len() {
            return Err(Violation::TextNotUtf8);
        }
        Ok(self.bytes)
    }

    /// Bytes on the heap.
    pub(super) fn bytes_held(&self) -> usize {
        self.bytes.capacity()
    }
}
