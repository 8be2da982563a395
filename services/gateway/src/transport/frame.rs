//! What goes out: messages as they stand on the wire, shared with other sessions wherever they are the same.

use crate::hub::{
    entry::Entry,
    frames::{self, Packet},
};
use bytes::Bytes;
use std::collections::VecDeque;
use weft_dialect::{
    native::{self, Encoding},
    websocket::{
        HEADER_BYTES_MAX, Opcode,
        deflate::{Part, compressed_tail, joined},
        encode_header,
    },
};
use weft_event::Offset;

/// The bit that marks a compressed message in the first byte of its frame.
const RSV1: u8 = 0x40;
/// Bytes of a flush's end, which payloads leave out and own tails begin with.
const FLUSH_TAIL_BYTES: usize = 4;

/// How a connection's client speaks: what an event becomes for it, and what else it is told (wire contract).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The native protocol, which is B's.
    Native,
    /// System C: one execution a socket.
    C,
    /// System E: the log entries of one execution.
    E,
    /// Server-Sent Events: one room a stream.
    Sse,
    /// Socket.IO: A in one namespace, D in another.
    SocketIo,
}

impl Dialect {
    /// The word that operators see.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::C => "c",
            Self::E => "e",
            Self::Sse => "sse",
            Self::SocketIo => "socketio",
        }
    }
}

/// How the messages of one connection are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// How its client speaks.
    pub dialect: Dialect,
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
    /// Whether it may share a frame with its neighbours.
    may_be_joined: bool,
    /// How many events it tells.
    pub events: u16,
    body: Bytes,
    tail: Box<[u8]>,
}

impl Frame {
    /// A whole frame, its header included.
    fn whole(frame: Bytes) -> Self {
        Self { header: [0; HEADER_BYTES_MAX], header_len: 0, may_be_joined: false, events: 1, body: frame, tail: Box::default() }
    }

    /// A header of our own before what is shared, and what follows it.
    fn headed(opcode: Opcode, deflated: bool, body: Bytes, tail: Box<[u8]>) -> Self {
        let mut header = [0; HEADER_BYTES_MAX];
        let header_len = encode_header(opcode, true, deflated, (body.len() + tail.len()) as u64, &mut header);
        Self { header, header_len: header_len as u8, may_be_joined: false, events: 0, body, tail }
    }

    /// One that may share a frame with its neighbours, if these may as well.
    pub fn joinable(self) -> Self {
        Self { may_be_joined: true, ..self }
    }

    /// The parts of its payload, and whether they are compressed.
    fn payload(&self) -> (&[u8], &[u8], bool) {
        let is_compressed = |first: &u8| first & RSV1 != 0;
        if self.header_len > 0 {
            return (&self.body, &self.tail, is_compressed(&self.header[0]));
        }
        let header_len = match self.body.get(1) {
            Some(127) => 10,
            Some(126) => 4,
            _ => 2,
        };
        (self.body.get(header_len..).unwrap_or_default(), &self.tail, self.body.first().is_some_and(is_compressed))
    }

    /// Whether it is a binary message.
    pub fn is_binary(&self) -> bool {
        let first = if self.header_len > 0 { Some(&self.header[0]) } else { self.body.first() };
        first.is_some_and(|first| first & 0x0f == Opcode::Binary as u8)
    }

    /// Without the header of its WebSocket, in two parts.
    pub fn without_header(&self) -> [&[u8]; 2] {
        let (body, tail, _) = self.payload();
        [body, tail]
    }

    /// The bytes of a frame that is whole and has no header of a WebSocket.
    pub fn into_body(self) -> Bytes {
        self.body
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
        if self.dialect == Dialect::Sse {
            return Frame { events: 0, ..Frame::whole(payload.into()) };
        }
        match self.deflate.then(|| frames::compress(&payload)).flatten() {
            Some(compressed) => Frame::headed(self.opcode(), true, compressed, Box::default()),
            None => Frame::headed(self.opcode(), false, payload.into(), Box::default()),
        }
    }

    /// The frames of an event in a dialect that tells it in pieces, without the first `told` of them: made once, for all.
    /// The last counts as the event, for only with it has all been told.
    pub fn pieces(self, entry: &Entry, told: u8) -> impl Iterator<Item = Frame> {
        let frames = if self.dialect == Dialect::C { entry.c_frames() } else { entry.e_frames() };
        (usize::from(told)..frames.len()).map(move |index| {
            let is_last = index + 1 == frames.len();
            Frame { events: u16::from(is_last), ..Frame::whole(frames[index].clone()) }
        })
    }

    /// A packet of Socket.IO: as it is made for all who follow one room, or with a tail of this session's own.
    pub fn packet(self, packet: &Packet, own_tail: Option<Vec<u8>>) -> Frame {
        let frame = match own_tail {
            Some(tail) => Frame::headed(Opcode::Text, false, packet.body(), tail.into()),
            None => Frame::whole(packet.whole()),
        };
        // Only with the last of its packets an event has been told.
        Frame { events: u16::from(packet.part.is_none()), ..frame }
    }

    /// An event with its plain offset: made once, for all. `None` if it cannot be told in this encoding.
    pub fn event(self, entry: &Entry) -> Option<Frame> {
        if self.dialect == Dialect::Sse {
            return entry.sse().map(Frame::whole);
        }
        let frame = match (self.encoding, self.deflate) {
            (Encoding::Json, false) => entry.json_frame(),
            (Encoding::Json, true) => entry.deflated_frame(),
            (Encoding::MessagePack, false) => entry.packed_frame()?,
            (Encoding::MessagePack, true) => entry.packed_deflated_frame()?,
        };
        Some(Frame::whole(frame))
    }

    /// An event with an offset of this session's own behind the shared body. `None` as in [`Wire::event`].
    pub fn event_with(self, entry: &Entry, offset: &Offset) -> Option<Frame> {
        let (tail, deflated) = match self.encoding {
            Encoding::Json => (native::event_tail(Some(offset)).into_bytes(), self.deflate.then(|| entry.deflated_body())),
            Encoding::MessagePack => (native::event_tail_msgpack(offset), self.deflate.then(|| entry.packed_deflated_body())),
        };
        let compressed = deflated.flatten().and_then(|body| Some((body, compressed_tail(&tail)?)));
        let frame = match (compressed, self.encoding) {
            (Some((body, tail)), _) => Frame::headed(self.opcode(), true, body, tail.into()),
            (None, Encoding::Json) => Frame::headed(self.opcode(), false, entry.json_body(), tail.into()),
            (None, Encoding::MessagePack) => Frame::headed(self.opcode(), false, entry.packed_body()?, tail.into()),
        };
        Some(Frame { events: 1, ..frame })
    }

    /// What stands for several events: `body` up to its offset, made for this session. `None` as in [`Wire::event`].
    pub fn conflated(self, mut body: Vec<u8>, offset: Option<&Offset>) -> Option<Frame> {
        body.extend_from_slice(native::event_tail(offset).as_bytes());
        let payload = match self.encoding {
            Encoding::Json => body,
            Encoding::MessagePack => native::event_frame_msgpack(&body).ok()?,
        };
        Some(Frame { events: 1, ..self.own(payload) })
    }

    /// Puts neighbours that may share a frame into one, from `from` on: JSON on a line each, MessagePack one after the
    /// other, for its objects say themselves where they end.
    pub fn join(self, frames: &mut VecDeque<Frame>, from: usize) {
        let mut at = from;
        while at < frames.len() {
            let count = frames.range(at..).take_while(|frame| frame.may_be_joined).count();
            if count > 1 {
                let joined = self.joined(frames.range(at..at + count));
                frames.drain(at + 1..at + count);
                frames[at] = joined;
            }
            at += count.max(1);
        }
    }

    fn joined<'f>(self, frames: impl Iterator<Item = &'f Frame> + Clone) -> Frame {
        let line: &[u8] = if self.encoding == Encoding::Json { b"\n" } else { b"" };
        let deflated = frames.clone().any(|frame| frame.payload().2);
        let mut parts = Vec::new();
        for (index, frame) in frames.clone().enumerate() {
            let (body, tail, is_compressed) = frame.payload();
            if index > 0 {
                parts.push(Part::Plain(line));
            }
            match (is_compressed, tail) {
                (true, b"") => parts.push(Part::Compressed(body)),
                // The tail begins with the end of the body's flush, which joining adds.
                (true, tail) => parts.extend([Part::Compressed(body), Part::Compressed(&tail[FLUSH_TAIL_BYTES..])]),
                (false, tail) => parts.extend([Part::Plain(body), Part::Plain(tail)]),
            }
        }
        let payload = if deflated {
            joined(&parts)
        } else {
            parts
                .iter()
                .flat_map(|part| match part {
                    Part::Plain(of) | Part::Compressed(of) => of.iter(),
                })
                .copied()
                .collect()
        };
        let events = frames.map(|frame| frame.events).sum();
        Frame { events, ..Frame::headed(self.opcode(), deflated, payload.into(), Box::default()) }
    }
}
