//! What goes out: messages as they stand on the wire, shared with other sessions wherever they are the same.

use crate::hub::{entry::Entry, frames};
use bytes::Bytes;
use weft_dialect::{
    native::{self, Encoding},
    websocket::{HEADER_BYTES_MAX, Opcode, deflate::compressed_tail, encode_header},
};
use weft_event::Offset;

/// How the messages of one connection are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// JSON or MessagePack.
    pub encoding: Encoding,
    /// Whether the peer takes compressed messages.
    pub deflate: bool,
}

/// Bytes that a session hands to its transport: an own header, a shared body, an own tail, each perhaps empty.
#[derive(Clone, Debug)]
pub struct Frame {
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    /// Whether this is an event.
    pub is_event: bool,
    body: Bytes,
    tail: Box<[u8]>,
}

impl Frame {
    /// A whole frame, its header included.
    fn whole(frame: Bytes) -> Self {
        Self { header: [0; HEADER_BYTES_MAX], header_len: 0, is_event: true, body: frame, tail: Box::default() }
    }

    /// A header of our own before what is shared, and what follows it.
    fn headed(opcode: Opcode, deflated: bool, body: Bytes, tail: Box<[u8]>) -> Self {
        let mut header = [0; HEADER_BYTES_MAX];
        let header_len = encode_header(opcode, true, deflated, (body.len() + tail.len()) as u64, &mut header);
        Self { header, header_len: header_len as u8, is_event: false, body, tail }
    }

    /// Bytes on the wire.
    pub fn wire_bytes(&self) -> usize {
        usize::from(self.header_len) + self.body.len() + self.tail.len()
    }

    /// The bytes from `at` on, in order, without those that are empty.
    pub fn parts_from(&self, at: usize) -> impl Iterator<Item = &[u8]> {
        let mut skip = at;
        [&self.header[..usize::from(self.header_len)], &self.body, &self.tail].into_iter().filter_map(move |part| {
            let rest = &part[skip.min(part.len())..];
            skip = skip.saturating_sub(part.len());
            (!rest.is_empty()).then_some(rest)
        })
    }
}

impl Wire {
    fn opcode(self) -> Opcode {
        match self.encoding {
            Encoding::Json => Opcode::Text,
            Encoding::MessagePack => Opcode::Binary,
        }
    }

    /// A message for this session alone.
    pub fn own(self, payload: Vec<u8>) -> Frame {
        match self.deflate.then(|| frames::compress(&payload)).flatten() {
            Some(compressed) => Frame::headed(self.opcode(), true, compressed, Box::default()),
            None => Frame::headed(self.opcode(), false, payload.into(), Box::default()),
        }
    }

    /// An event with its plain offset: made once, for all. `None` if it cannot be told in this encoding.
    pub fn event(self, entry: &Entry) -> Option<Frame> {
        let frame = match (self.encoding, self.deflate) {
            (Encoding::Json, false) => entry.json_frame(),
            (Encoding::Json, true) => entry.deflated_frame(),
            (Encoding::MessagePack, false) => entry.packed_frame()?,
            (Encoding::MessagePack, true) => entry.packed_deflated_frame()?,
        };
        Some(Frame::whole(frame.clone()))
    }

    /// An event with an offset of this session's own behind the shared body. `None` as in [`Wire::event`].
    pub fn event_with(self, entry: &Entry, offset: &Offset) -> Option<Frame> {
        let tail = native::event_tail(Some(offset)).into_bytes();
        let frame = match self.encoding {
            Encoding::Json => self.spliced(entry, tail),
            // The offset stands within a map of MessagePack, whose size comes first: nothing can be shared.
            Encoding::MessagePack => {
                let json = [&entry.json_body()[..], &tail].concat();
                self.own(native::event_frame_msgpack(&json).ok()?)
            }
        };
        Some(Frame { is_event: true, ..frame })
    }

    fn spliced(self, entry: &Entry, tail: Vec<u8>) -> Frame {
        if self.deflate
            && let Some(body) = entry.deflated_body()
            && let Some(tail) = compressed_tail(&tail)
        {
            return Frame::headed(Opcode::Text, true, body.clone(), tail.into());
        }
        Frame::headed(Opcode::Text, false, entry.json_body(), tail.into())
    }
}
