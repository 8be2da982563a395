//! The frames made of one event, each made once, by the first session that needs it, and shared by all.

use super::entry::Entry;
use bytes::Bytes;
use std::{
    cell::RefCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicIsize, Ordering::Relaxed},
    },
};
use weft_dialect::{
    native,
    websocket::{Deflater, HEADER_BYTES_MAX, Opcode, encode_header},
};

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
struct Whole {
    frame: Bytes,
    header_len: u8,
    tail_len: u8,
}

/// The frames of one event.
pub struct Frames {
    weight: Arc<Weight>,
    whole: OnceLock<Whole>,
    others: OnceLock<Box<Others>>,
}

/// Those that few rooms need.
#[derive(Default)]
struct Others {
    /// The whole JSON message, compressed; `None` inside where that is not worth while.
    deflated: OnceLock<Option<Bytes>>,
    /// The payload up to its tail, compressed, for sessions that append a tail of their own.
    deflated_body: OnceLock<Option<Bytes>>,
    /// In MessagePack; `None` inside if it cannot be told so.
    packed: OnceLock<Option<Bytes>>,
    /// The same compressed.
    packed_deflated: OnceLock<Option<Bytes>>,
}

impl Frames {
    /// None so far.
    pub fn new(weight: Arc<Weight>) -> Self {
        Self { weight, whole: OnceLock::new(), others: OnceLock::new() }
    }

    fn weigh(&self, bytes: usize) {
        self.weight.frames.fetch_add(bytes as isize, Relaxed);
    }

    fn weighed(&self, bytes: Option<Bytes>) -> Option<Bytes> {
        self.weigh(bytes.as_ref().map_or(0, Bytes::len));
        bytes
    }

    fn others(&self) -> &Others {
        self.others.get_or_init(|| {
            self.weigh(size_of::<Others>());
            Box::default()
        })
    }

    fn bytes(&self) -> usize {
        let len = |frame: &OnceLock<Option<Bytes>>| frame.get().and_then(Option::as_ref).map_or(0, Bytes::len);
        let of_others = |others: &Others| {
            let frames = [&others.deflated, &others.deflated_body, &others.packed, &others.packed_deflated];
            size_of::<Others>() + frames.into_iter().map(len).sum::<usize>()
        };
        self.whole.get().map_or(0, |whole| whole.frame.len()) + self.others.get().map_or(0, |others| of_others(others))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        self.weight.frames.fetch_sub(self.bytes() as isize, Relaxed);
    }
}

/// A whole message in a frame of its own.
fn framed(opcode: Opcode, rsv1: bool, payload: &[u8]) -> Bytes {
    weft_dialect::websocket::frame::encode(opcode, rsv1, &[payload]).into()
}

impl Entry {
    fn whole(&self) -> &Whole {
        self.frames.whole.get_or_init(|| {
            let body = self.native_body();
            let tail = native::event_tail(self.at.map(Into::into).as_ref());
            let mut header = [0; HEADER_BYTES_MAX];
            let header_len = encode_header(Opcode::Text, true, false, (body.len() + tail.len()) as u64, &mut header);
            let frame = Bytes::from([&header[..header_len], &body, tail.as_bytes()].concat());
            self.frames.weigh(frame.len());
            Whole { frame, header_len: header_len as u8, tail_len: tail.len() as u8 }
        })
    }

    /// The native JSON message with a plain offset.
    pub fn json(&self) -> Bytes {
        let whole = self.whole();
        whole.frame.slice(usize::from(whole.header_len)..)
    }

    /// The same up to its offset.
    pub fn json_body(&self) -> Bytes {
        let whole = self.whole();
        whole.frame.slice(usize::from(whole.header_len)..whole.frame.len() - usize::from(whole.tail_len))
    }

    /// The native JSON message in a WebSocket frame.
    pub fn json_frame(&self) -> &Bytes {
        &self.whole().frame
    }

    /// The same compressed, or as it is where that is not worth while.
    pub fn deflated_frame(&self) -> &Bytes {
        let make = || self.frames.weighed(compress(&self.json()).map(|payload| framed(Opcode::Text, true, &payload)));
        self.frames.others().deflated.get_or_init(make).as_ref().unwrap_or_else(|| self.json_frame())
    }

    /// The message up to its offset, compressed, without a frame; `None` where that is not worth while.
    pub fn deflated_body(&self) -> Option<&Bytes> {
        self.frames.others().deflated_body.get_or_init(|| self.frames.weighed(compress(&self.json_body()))).as_ref()
    }

    /// The native MessagePack message in a WebSocket frame; `None` if the event cannot be told so.
    pub fn packed_frame(&self) -> Option<&Bytes> {
        let make = || {
            let payload = native::event_frame_msgpack(&self.json()).ok()?;
            self.frames.weighed(Some(framed(Opcode::Binary, false, &payload)))
        };
        self.frames.others().packed.get_or_init(make).as_ref()
    }

    /// The same compressed, or as it is where that is not worth while.
    pub fn packed_deflated_frame(&self) -> Option<&Bytes> {
        let make = || {
            let payload = native::event_frame_msgpack(&self.json()).ok()?;
            self.frames.weighed(compress(&payload).map(|payload| framed(Opcode::Binary, true, &payload)))
        };
        self.frames.others().packed_deflated.get_or_init(make).as_ref().or_else(|| self.packed_frame())
    }
}
