//! permessage-deflate without context takeover (RFC 7692): every message stands alone, so that one compressor and one
//! inflater serve any number of connections, and what is compressed once is the same for all of them.
//!
//! The backend is zlib-rs: of the two in pure Rust it took half of miniz_oxide's time or less, both ways, for JSON of
//! 200 bytes to 16 KiB.

use super::{
    Opcode, Violation,
    frame::{HEADER_BYTES_MAX, encode_header},
};
use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What a sync flush ends with and a sender leaves out (section 7.2.1).
const FLUSH_TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// What stands behind a client's payload when it is inflated: the tail that was left out, and a last, empty block. Only
/// a payload that ends where a block ends makes the inflater report the end of the stream after exactly this.
const INFLATE_TAIL: [u8; 6] = [0x00, 0x00, 0xFF, 0xFF, 0x03, 0x00];

/// Most streams in one message that a client ends by itself (`BFINAL`, section 7.2.3.4). Each costs a reset of the
/// inflater, and two bytes suffice to ask for one.
const FINAL_BLOCKS_MAX: usize = 8;

/// A larger buffer than this does not outlive its payload.
const OUT_BYTES_KEPT: usize = 64 * 1024;

/// When and how well to compress.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// 0 to 9, as zlib has it. Above 3, events of a few KiB become a few percent smaller for a multiple of the time.
    pub level: u32,
    /// Payloads below this many bytes are sent as they are.
    pub bytes_min: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { level: 3, bytes_min: 200 }
    }
}

/// Compresses payloads, one after the other. Holds about 300 KiB: one for each thread, not for each connection.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
    level: Compression,
    bytes_min: usize,
    out: Vec<u8>,
}

impl Deflater {
    /// With this effort; a level above 9 means 9.
    #[must_use]
    pub fn new(effort: Effort) -> Self {
        let level = Compression::new(effort.level.min(9));
        Self { stream: Compress::new(level, false), level, bytes_min: effort.bytes_min, out: Vec::new() }
    }

    /// The payload of a compressed message; `None` where compressing is not worth while.
    #[must_use]
    pub fn compress(&mut self, payload: &[u8]) -> Option<Bytes> {
        self.deflate(payload).map(Bytes::copy_from_slice)
    }

    /// The same as a whole frame, to be shared by all who negotiated compression.
    #[must_use]
    pub fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> Option<Bytes> {
        let compressed = self.deflate(payload)?;
        let mut header = [0; HEADER_BYTES_MAX];
        let header_len = encode_header(opcode, true, true, compressed.len() as u64, &mut header);
        Some([&header[..header_len], compressed].concat().into())
    }

    fn deflate(&mut self, payload: &[u8]) -> Option<&[u8]> {
        if payload.len() < self.bytes_min {
            return None;
        }
        // The most that a payload can become: every literal in 9 bits, the heads of blocks, the flush.
        let most = payload.len() + payload.len() / 8 + payload.len() / 64 + 64;
        if self.out.capacity() > most.max(OUT_BYTES_KEPT) {
            self.out = Vec::new();
        }
        self.out.clear();
        self.out.reserve_exact(most);
        self.stream.reset();
        let flushed = self.stream.compress_vec(payload, &mut self.out, FlushCompress::Sync);
        // A flush is complete once it leaves room behind it.
        let complete = self.stream.total_in() == payload.len() as u64 && self.out.len() < self.out.capacity();
        if flushed.is_err() || !complete {
            // A stream that still holds output does not survive a reset: zlib-rs 0.6.8 keeps the place of what was held,
            // and panics once too little room is left behind it.
            self.stream = Compress::new(self.level, false);
            return None;
        }
        let compressed = self.out.strip_suffix(&FLUSH_TAIL)?;
        (compressed.len() < payload.len()).then_some(compressed)
    }
}

/// What to send behind a shared compressed payload so that the message ends with `tail`: a session's own last field
/// costs no compressing.
///
/// `None` above 65,535 bytes, the most that a stored block takes (RFC 1951, section 3.2.4).
#[must_use]
pub fn compressed_tail(tail: &[u8]) -> Option<Vec<u8>> {
    // The end of the flush that the payload left out, a stored block, and the first byte of an empty one, whose
    // further bytes a sender leaves out in turn.
    u16::try_from(tail.len()).ok().map(|_| joined(&[Part::Compressed(b""), Part::Plain(tail)]))
}

/// A part of a compressed message that is put together from several payloads.
#[derive(Clone, Copy, Debug)]
pub enum Part<'p> {
    /// The payload of a compressed message.
    Compressed(&'p [u8]),
    /// Bytes as they are.
    Plain(&'p [u8]),
}

/// The payload of one compressed message that says what these parts say, one after the other. Nothing is compressed
/// anew: each payload stands alone, so that it can follow anything.
#[must_use]
pub fn joined(parts: &[Part<'_>]) -> Vec<u8> {
    let most = |part: &Part<'_>| match part {
        Part::Compressed(payload) => payload.len() + FLUSH_TAIL.len(),
        Part::Plain(payload) => payload.len() + 5 * (payload.len() / usize::from(u16::MAX) + 1),
    };
    let mut joined = Vec::with_capacity(parts.iter().map(most).sum::<usize>() + 1);
    for part in parts {
        match part {
            Part::Compressed(payload) => {
                joined.extend_from_slice(payload);
                joined.extend_from_slice(&FLUSH_TAIL);
            }
            Part::Plain(payload) => payload.chunks(usize::from(u16::MAX)).for_each(|chunk| store(chunk, &mut joined)),
        }
    }
    // The first byte of an empty block, whose further bytes a sender leaves out.
    joined.push(0x00);
    joined
}

/// A stored block (RFC 1951, section 3.2.4); `bytes` are 65,535 at most.
fn store(bytes: &[u8], into: &mut Vec<u8>) {
    let [low, high] = (bytes.len() as u16).to_le_bytes();
    into.extend_from_slice(&[0x00, low, high, !low, !high]);
    into.extend_from_slice(bytes);
}

/// Decompresses clients' messages, one after the other.
#[derive(Debug)]
pub struct Inflater {
    stream: Decompress,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { stream: Decompress::new(false) }
    }
}

impl Inflater {
    /// Decompresses one message's payload into `out`, in place of what it holds.
    ///
    /// Stops at the first byte beyond `bytes_max`, having taken memory for no more: what a payload claims to become is
    /// never believed. Fails with [`Violation::MessageTooBig`] or [`Violation::Deflate`].
    pub fn inflate(&mut self, payload: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Violation> {
        out.clear();
        let mut rest = payload;
        for _ in 0..=FINAL_BLOCKS_MAX {
            self.stream.reset(false);
            if !self.feed(&mut rest, out, bytes_max)? {
                let mut tail = &INFLATE_TAIL[..];
                let ended = self.feed(&mut tail, out, bytes_max)? && tail.is_empty();
                return if ended { Ok(()) } else { Err(Violation::Deflate) };
            }
            // The client has ended its stream; what follows, usually an empty block, is a stream of its own.
            if rest.is_empty() {
                return Ok(());
            }
        }
        Err(Violation::Deflate)
    }

    /// Inflates `input` and says whether the stream has ended; if so, `input` is what follows its end.
    fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<bool, Violation> {
        loop {
            if out.len() == out.capacity() {
                // Four times the input is usual; beyond that it doubles. One byte more than allowed tells that there is more.
                let more = (input.len() * 4)
                    .clamp(64, 1 << 16)
                    .max(out.len())
                    .min(bytes_max.saturating_add(1).saturating_sub(out.len()));
                out.reserve_exact(more);
            }
            let (consumed, produced) = (self.stream.total_in(), out.len());
            let status = self.stream.decompress_vec(input, out, FlushDecompress::Sync).map_err(|_| Violation::Deflate)?;
            let consumed = (self.stream.total_in() - consumed) as usize;
            *input = &input[consumed..];
            if out.len() > bytes_max {
                return Err(Violation::MessageTooBig);
            }
            match status {
                Status::StreamEnd => return Ok(true),
                // With room left behind the output, nothing more is to come of this input.
                _ if input.is_empty() && out.len() < out.capacity() => return Ok(false),
                _ if consumed == 0 && out.len() == produced && out.len() < out.capacity() => return Err(Violation::Deflate),
                _ => {}
            }
        }
    }
}
