//! The frames made of one event, each made once, by the first session that needs it, and shared by all.

use super::entry::Entry;
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicIsize, Ordering::Relaxed},
    },
};
use weft_dialect::{
    a, c, d, e, native,
    piece::Piece,
    socketio::{self, SessionOffset},
    sse,
    websocket::{Deflater, HEADER_BYTES_MAX, Opcode, deflate::compressed_tail, encode_header},
};

/// Of the header of a frame from 126 to 65,535 bytes (RFC 6455, section 5.2), as nearly all are.
const HEADER_BYTES_USUAL: usize = 4;

thread_local! {
    /// One for each thread, not for each connection: it holds about 300 KiB.
    static DEFLATER: RefCell<Deflater> = RefCell::new(Deflater::new(Default::default()));
}

/// Compresses a payload as permessage-deflate has it; `None` where that is not worth while.
pub fn compress(payload: &[u8]) -> Option<Bytes> {
    DEFLATER.with_borrow_mut(|deflater| deflater.compress(payload))
}

/// Counts the bytes of all frames made of this process's entries, for as long as they live.
#[derive(Debug, Default)]
pub struct Weight {
    frames: AtomicIsize,
}

impl Weight {
    /// Bytes of the frames that live now.
    pub fn frames(&self) -> usize {
        usize::try_from(self.frames.load(Relaxed)).unwrap_or(0)
    }
}

/// A native JSON event in a WebSocket frame of its own: header, body, and the tail with a plain offset.
#[derive(Clone)]
struct Whole {
    frame: Bytes,
    header_len: u8,
    tail_len: u8,
}

/// A packet of Socket.IO in a WebSocket frame of its own: header, body, and the tail for sessions that follow this room
/// alone. Others take the body, and append a tail of their own.
#[derive(Clone)]
pub struct Packet {
    frame: Bytes,
    header_len: u8,
    tail_len: u16,
    /// Set on all but the last packet of the event: how many of them have been told with this one.
    pub part: Option<u8>,
}

impl Packet {
    fn new(piece: &Piece, tail: &[u8]) -> Self {
        let mut header = [0; HEADER_BYTES_MAX];
        let header_len = encode_header(Opcode::Text, true, false, (piece.body.len() + tail.len()) as u64, &mut header);
        let frame = [&header[..header_len], &piece.body, tail].concat().into();
        Self { frame, header_len: header_len as u8, tail_len: tail.len() as u16, part: piece.part }
    }

    /// With its header and the tail of a session with one room.
    pub fn whole(&self) -> Bytes {
        self.frame.clone()
    }

    /// The packet up to its tail, without a header.
    pub fn body(&self) -> Bytes {
        self.frame.slice(usize::from(self.header_len)..self.frame.len() - usize::from(self.tail_len))
    }
}

/// The frames of one event. They are let go when its readers have had time to read it, and made again for who comes late.
pub struct Frames {
    weight: Arc<Weight>,
    whole: Mutex<Option<Whole>>,
    others: Mutex<Option<Box<Others>>>,
}

/// Those that few rooms need; each `None` until it is made.
#[derive(Default)]
struct Others {
    /// The JSON message up to its tail, compressed; `None` inside where that is not worth while.
    deflated_body: Option<Option<Bytes>>,
    /// The whole message in a frame: that body, and the plain offset.
    deflated: Option<Option<Bytes>>,
    /// In MessagePack; `None` inside if it cannot be told so.
    packed: Option<Option<Bytes>>,
    /// As of JSON.
    packed_deflated_body: Option<Option<Bytes>>,
    packed_deflated: Option<Option<Bytes>>,
    /// In an event stream.
    sse: Option<Option<Bytes>>,
    /// The frames of C; there are none of an event that C does not know.
    c: Option<Arc<[Bytes]>>,
    /// The frames of E.
    e: Option<Arc<[Bytes]>>,
    /// The packets of A.
    a: Option<Arc<[Packet]>>,
    /// The packet of D, always one.
    d: Option<Arc<[Packet]>>,
}

/// Which of the others.
type Which = fn(&mut Others) -> &mut Option<Option<Bytes>>;
/// Which of those that are told in pieces.
type WhichPieces<P> = fn(&mut Others) -> &mut Option<Arc<[P]>>;

/// One of the pieces in which an event is told.
trait Weighed {
    fn bytes(&self) -> usize;
}

impl Weighed for Bytes {
    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Weighed for Packet {
    fn bytes(&self) -> usize {
        self.frame.len()
    }
}

impl Frames {
    /// None so far.
    pub fn new(weight: Arc<Weight>) -> Self {
        Self { weight, whole: Mutex::new(None), others: Mutex::new(None) }
    }

    /// Gives back what it takes; who still writes a frame keeps that one.
    pub fn let_go(&self) {
        let whole = self.whole.lock().take().map_or(0, |whole| whole.frame.len());
        let others = self.others.lock().take().map_or(0, |others| others.bytes());
        if whole + others > 0 {
            self.weight.frames.fetch_sub((whole + others) as isize, Relaxed);
        }
    }

    fn weigh(&self, bytes: usize) {
        self.weight.frames.fetch_add(bytes as isize, Relaxed);
    }

    /// One of the others, if it was made already.
    fn made(&self, which: Which) -> Option<Option<Bytes>> {
        which(self.others.lock().as_mut()?).clone()
    }

    /// One of the others, made by whoever comes first while the rest wait.
    fn other(&self, which: Which, make: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        let mut others = self.others.lock();
        let others = others.get_or_insert_with(|| self.no_others());
        if let Some(made) = which(others) {
            return made.clone();
        }
        let made = make();
        self.weigh(made.as_ref().map_or(0, Bytes::len));
        *which(others) = Some(made.clone());
        made
    }

    /// The same for a dialect that tells an event in pieces.
    fn pieces<P: Weighed>(&self, which: WhichPieces<P>, make: impl FnOnce() -> Arc<[P]>) -> Arc<[P]> {
        let mut others = self.others.lock();
        let others = others.get_or_insert_with(|| self.no_others());
        let made = which(others);
        made.get_or_insert_with(|| {
            let pieces = make();
            self.weigh(weight(&pieces));
            pieces
        })
        .clone()
    }

    fn no_others(&self) -> Box<Others> {
        self.weigh(size_of::<Others>());
        Box::default()
    }
}

impl Others {
    fn bytes(&self) -> usize {
        let bodies = [&self.deflated_body, &self.packed_deflated_body];
        let frames = [&self.deflated, &self.packed, &self.packed_deflated, &self.sse].into_iter().chain(bodies);
        let bytes: usize = frames.flatten().flatten().map(Bytes::len).sum();
        let pieces: usize = [&self.c, &self.e].into_iter().flatten().map(|pieces| weight(pieces)).sum();
        let packets: usize = [&self.a, &self.d].into_iter().flatten().map(|packets| weight(packets)).sum();
        size_of::<Self>() + bytes + pieces + packets
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.let_go();
    }
}

fn weight<P: Weighed>(pieces: &[P]) -> usize {
    pieces.iter().map(|piece| piece.bytes() + size_of::<P>()).sum()
}

/// A compressed body with its tail behind it in a frame; `None` where a plain frame is no larger.
fn sealed(opcode: Opcode, body: &[u8], tail: &[u8], plain: &[u8]) -> Option<Bytes> {
    let payload = [body, &compressed_tail(tail)?].concat();
    Some(framed(opcode, true, &payload)).filter(|frame| frame.len() < plain.len())
}

/// Bytes before the payload of one of our own frames, which are not masked (RFC 6455, section 5.2).
fn header_len(frame: &[u8]) -> usize {
    match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    }
}

/// A whole message in a frame of its own.
fn framed(opcode: Opcode, rsv1: bool, payload: &[u8]) -> Bytes {
    weft_dialect::websocket::frame::encode(opcode, rsv1, &[payload]).into()
}

impl Entry {
    fn whole(&self) -> Whole {
        let mut made = self.frames.whole.lock();
        if let Some(whole) = &*made {
            return whole.clone();
        }
        // Written into one allocation: most messages have a header of this length.
        let mut frame = Vec::with_capacity(HEADER_BYTES_USUAL + self.event.body.len() + native::ADDED_BYTES);
        frame.resize(HEADER_BYTES_USUAL, 0);
        self.add_native_body(&mut frame);
        let tail = native::event_tail(self.at.map(Into::into).as_ref());
        frame.extend_from_slice(tail.as_bytes());
        let mut header = [0; HEADER_BYTES_MAX];
        let payload_len = frame.len() - HEADER_BYTES_USUAL;
        let header_len = encode_header(Opcode::Text, true, false, payload_len as u64, &mut header);
        frame.splice(..HEADER_BYTES_USUAL, header[..header_len].iter().copied());
        frame.shrink_to_fit();
        let frame = Bytes::from(frame);
        self.frames.weigh(frame.len());
        made.insert(Whole { frame, header_len: header_len as u8, tail_len: tail.len() as u8 }).clone()
    }

    /// The native JSON message up to its offset, and that. Read from the frame where there is one; none is made and kept for it.
    fn json_parts(&self) -> (Bytes, String) {
        let tail = native::event_tail(self.at.map(Into::into).as_ref());
        if let Some(whole) = &*self.frames.whole.lock() {
            let payload = usize::from(whole.header_len)..whole.frame.len() - usize::from(whole.tail_len);
            return (whole.frame.slice(payload), tail);
        }
        let mut body = Vec::with_capacity(self.event.body.len() + native::ADDED_BYTES);
        self.add_native_body(&mut body);
        (body.into(), tail)
    }

    /// The native JSON message with a plain offset.
    pub fn json(&self) -> Vec<u8> {
        let (body, tail) = self.json_parts();
        [&body[..], tail.as_bytes()].concat()
    }

    /// The same up to its offset.
    pub fn json_body(&self) -> Bytes {
        let whole = self.whole();
        whole.frame.slice(usize::from(whole.header_len)..whole.frame.len() - usize::from(whole.tail_len))
    }

    /// The native JSON message in a WebSocket frame.
    pub fn json_frame(&self) -> Bytes {
        self.whole().frame
    }

    /// The same compressed, or as it is where that is not worth while. Only the body is ever compressed, once.
    pub fn deflated_frame(&self) -> Bytes {
        let which: Which = |others| &mut others.deflated;
        let make = || {
            let body = self.deflated_body();
            let tail = native::event_tail(self.at.map(Into::into).as_ref());
            self.frames.other(which, || sealed(Opcode::Text, &body?, tail.as_bytes(), &self.json_frame()))
        };
        self.frames.made(which).unwrap_or_else(make).unwrap_or_else(|| self.json_frame())
    }

    /// The message up to its offset, compressed, without a frame; `None` where that is not worth while.
    pub fn deflated_body(&self) -> Option<Bytes> {
        self.frames.other(|others| &mut others.deflated_body, || compress(&self.json_parts().0))
    }

    /// The native MessagePack message in a WebSocket frame; `None` if the event cannot be told so.
    pub fn packed_frame(&self) -> Option<Bytes> {
        let make = || Some(framed(Opcode::Binary, false, &native::event_frame_msgpack(&self.json()).ok()?));
        self.frames.other(|others| &mut others.packed, make)
    }

    /// The same without a frame, up to its offset.
    pub fn packed_body(&self) -> Option<Bytes> {
        let frame = self.packed_frame()?;
        Some(frame.slice(header_len(&frame)..frame.len() - self.packed_tail().len()))
    }

    fn packed_tail(&self) -> Vec<u8> {
        self.at.map(|at| native::event_tail_msgpack(&at.into())).unwrap_or_default()
    }

    /// The MessagePack message compressed, or as it is where that is not worth while.
    pub fn packed_deflated_frame(&self) -> Option<Bytes> {
        let which: Which = |others| &mut others.packed_deflated;
        let make = || {
            let (plain, body) = (self.packed_frame()?, self.packed_deflated_body());
            self.frames.other(which, || sealed(Opcode::Binary, &body?, &self.packed_tail(), &plain))
        };
        self.frames.made(which).unwrap_or_else(make).or_else(|| self.packed_frame())
    }

    /// The same up to its offset, without a frame; `None` where that is not worth while.
    pub fn packed_deflated_body(&self) -> Option<Bytes> {
        let which: Which = |others| &mut others.packed_deflated_body;
        let make = || {
            let body = self.packed_body();
            self.frames.other(which, || compress(&body?))
        };
        self.frames.made(which).unwrap_or_else(make)
    }

    /// The event in an event stream, its offset included. There always is one; it is kept among others that may be missing.
    pub fn sse(&self) -> Option<Bytes> {
        let offset = self.at.map(Into::into);
        self.frames.other(|others| &mut others.sse, || Some(sse::event(&self.event.kind, offset.as_ref(), &self.json()).into()))
    }

    /// The event in the WebSocket frames of C, their offsets included.
    pub fn c_frames(&self) -> Arc<[Bytes]> {
        self.frames.pieces(|others| &mut others.c, || self.told(|told| self.framed(&c::event(told))))
    }

    /// The event in the WebSocket frames of E, their offsets included.
    pub fn e_frames(&self) -> Arc<[Bytes]> {
        self.frames.pieces(|others| &mut others.e, || self.told(|told| self.framed(&e::event(told))))
    }

    /// The event in the packets of A. `tag` is that of the entry's room.
    pub fn a_packets(&self, tag: impl FnOnce() -> u32) -> Arc<[Packet]> {
        self.frames.pieces(|others| &mut others.a, || self.packets(&self.told(a::event), tag))
    }

    /// The same for D.
    pub fn d_packets(&self, tag: impl FnOnce() -> u32) -> Arc<[Packet]> {
        self.frames.pieces(|others| &mut others.d, || self.packets(&[self.told(d::event)], tag))
    }

    fn packets(&self, pieces: &[Piece], tag: impl FnOnce() -> u32) -> Arc<[Packet]> {
        let place = self.at.map(|at| (tag(), at));
        let packet = |piece: &Piece| {
            let offset = place.map(|(tag, at)| SessionOffset::one(tag, piece.offset(at.into())));
            Packet::new(piece, &socketio::tail(offset.as_ref()))
        };
        pieces.iter().map(packet).collect()
    }

    fn framed(&self, pieces: &[Piece]) -> Arc<[Bytes]> {
        let frame = |piece: &Piece| {
            let tail = native::event_tail(self.at.map(|at| piece.offset(at.into())).as_ref());
            framed(Opcode::Text, false, &[&piece.body[..], tail.as_bytes()].concat())
        };
        pieces.iter().map(frame).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Dialect, Wire};
    use std::cell::Cell;
    use weft_bus::{Delivery, Stamp};
    use weft_dialect::native::Encoding;
    use weft_event::{Epoch, Limits, Offset, Position, Room};

    fn entry(weight: &Arc<Weight>) -> Entry {
        let at = Position { epoch: Epoch(1), seq: 2, check: 3 };
        let payload = r#"{"type":"execution:completed","executionId":"e","data":{"result":1,"lines":["the same line again","the same line again","the same line again","the same line again","the same line again"]}}"#;
        let delivery = Delivery {
            room: Room::execution("e").expect("a room"),
            stamp: Stamp::Stored { at, prev: 1 },
            first: None,
            stored_ms: Some(1),
            traceparent: None,
            payload: Bytes::from_static(payload.as_bytes()),
        };
        Entry::new(&delivery, &Limits::default(), weight).expect("an event")
    }

    /// Two frames that are one piece of memory.
    fn is_one(one: &Bytes, other: &Bytes) -> bool {
        one.as_ptr() == other.as_ptr() && one.len() == other.len() && !one.is_empty()
    }

    #[test]
    fn two_sessions_of_a_dialect_are_given_the_same_frames() {
        let entry = entry(&Arc::default());
        assert!(is_one(&entry.json_frame(), &entry.json_frame()), "native");
        assert!(is_one(&entry.sse().expect("one"), &entry.sse().expect("one")), "an event stream");
        assert!(is_one(&entry.packed_frame().expect("one"), &entry.packed_frame().expect("one")), "MessagePack");
        assert!(is_one(&entry.packed_body().expect("one"), &entry.packed_body().expect("one")), "MessagePack, own offsets");
        assert!(is_one(&entry.c_frames()[1], &entry.c_frames()[1]), "C");
        let tags = Cell::new(0);
        let tag = || {
            tags.set(tags.get() + 1);
            7
        };
        let (a, d) = (entry.a_packets(tag), entry.d_packets(tag));
        assert!(Arc::ptr_eq(&a, &entry.a_packets(tag)) && Arc::ptr_eq(&d, &entry.d_packets(tag)), "A and D");
        // Asked for when a packet is made: once for each of the two packets of A, once for D's.
        assert_eq!(tags.get(), 2);
        // A session whose offsets are its own takes the same packet up to its tail.
        assert!(is_one(&a[1].whole().slice(..2), &entry.a_packets(tag)[1].whole().slice(..2)));
        assert!(is_one(&a[1].body(), &entry.a_packets(tag)[1].body()));
    }

    #[test]
    fn an_event_is_compressed_once_whatever_offsets_its_readers_have() {
        let entry = entry(&Arc::default());
        let wires =
            [Encoding::Json, Encoding::MessagePack].map(|encoding| Wire { dialect: Dialect::Native, encoding, deflate: true });
        let offset = Offset { since: Some(1), ..entry.at.expect("a place").into() };
        for wire in wires {
            let frames = |_| (wire.event(&entry).expect("a frame"), wire.event_with(&entry, &offset).expect("a frame"));
            let [(plain, own), (again, own_again)] = [0, 1].map(frames);
            assert!(is_one(&plain.clone().into_body(), &again.into_body()), "{wire:?}");
            let body = own.into_body();
            assert!(is_one(&body, &own_again.into_body()), "{wire:?}");
            // And the one is made of the other, not compressed anew.
            let whole = plain.into_body();
            assert!(whole.windows(body.len()).any(|part| part == body), "{wire:?}");
            assert!(whole[0] & 0x40 != 0, "{wire:?}: it is worth while");
        }
    }

    #[test]
    fn a_dialect_in_which_nobody_listens_costs_nothing() {
        let weight = Arc::<Weight>::default();
        let entry = entry(&weight);
        assert_eq!(weight.frames(), 0, "nobody has read it yet");
        let stream = entry.sse().expect("one");
        assert_eq!(weight.frames(), stream.len() + size_of::<Others>(), "only that one");
        let packed = entry.packed_frame().expect("one");
        assert_eq!(weight.frames(), stream.len() + packed.len() + size_of::<Others>(), "no native frame either");
        let native = entry.json_frame();
        assert_eq!(weight.frames(), stream.len() + packed.len() + native.len() + size_of::<Others>());
        let others = entry.frames.others.lock();
        let made = others.as_ref().expect("one of the others");
        let Others { deflated_body, deflated, packed, packed_deflated_body, packed_deflated, sse, c, e, a, d } = &**made;
        assert!(sse.is_some() && packed.is_some());
        let bytes = [deflated_body, deflated, packed_deflated_body, packed_deflated];
        assert!(bytes.iter().all(|made| made.is_none()) && [c, e].iter().all(|made| made.is_none()));
        assert!([a, d].iter().all(|made| made.is_none()));
    }
}
