//! Inflates messages that were compressed by themselves (`permessage-deflate` without context takeover).
//!
//! A server that compresses an event once sends the same bytes to everyone, so the last message is remembered: most
//! of a fan-out is a comparison, and the client half is not what limits it.

use flate2::{Decompress, FlushDecompress, Status};
use std::io;

/// Far more than any event holds; a guard against what would fill the memory.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// What a sender cuts off the end of each message (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

pub(crate) struct Inflater {
    decompress: Decompress,
    compressed: Vec<u8>,
    inflated: Vec<u8>,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { decompress: Decompress::new(false), compressed: Vec::new(), inflated: Vec::new() }
    }

    /// The message that these bytes stand for.
    pub(crate) fn inflate(&mut self, payload: &[u8]) -> io::Result<&[u8]> {
        if self.compressed.len() == payload.len() + TAIL.len() && self.compressed.starts_with(payload) {
            return Ok(&self.inflated);
        }
        self.compressed.clear();
        self.compressed.extend_from_slice(payload);
        self.compressed.extend_from_slice(&TAIL);
        self.inflated.clear();
        self.decompress.reset(false);
        if let Err(error) = self.run() {
            // What is half inflated must not be taken for the next message's.
            self.compressed.clear();
            return Err(error);
        }
        Ok(&self.inflated)
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let (taken, given) = (self.decompress.total_in(), self.decompress.total_out());
            self.inflated.reserve(self.compressed.len().max(1024) * 2);
            let rest = &self.compressed[usize::try_from(taken).map_err(io::Error::other)?..];
            let status = self.decompress.decompress_vec(rest, &mut self.inflated, FlushDecompress::Sync);
            let status = status.map_err(io::Error::other)?;
            let stuck = (self.decompress.total_in(), self.decompress.total_out()) == (taken, given);
            let spare = self.inflated.len() < self.inflated.capacity();
            if self.inflated.len() > MESSAGE_BYTES_MAX {
                return Err(io::Error::other("a compressed message is too large"));
            }
            if status == Status::StreamEnd || (spare && (stuck || rest.is_empty())) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    fn deflate(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 64);
        Compress::new(Compression::fast(), false).compress_vec(text, &mut out, FlushCompress::Sync).expect("compressed");
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    #[test]
    fn messages_stand_for_themselves() {
        let mut inflater = Inflater::new();
        let long = b"0123456789".repeat(20_000);
        for text in [&b"hello"[..], b"hello", b"", &long, b"other", &long] {
            assert_eq!(inflater.inflate(&deflate(text)).expect("inflated"), text);
        }
        let broken = [0xFF; 40];
        assert!(inflater.inflate(&broken).is_err() && inflater.inflate(&broken).is_err());
        assert_eq!(inflater.inflate(&deflate(b"again")).expect("inflated"), b"again");
    }
}
