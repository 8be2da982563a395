//! From a client's bytes to messages.

use super::{
    Close, Inflater, Message, Opcode, Violation,
    assembly::Assembly,
    frame::CONTROL_BYTES_MAX,
    header::{self, CLIENT_HEADER_BYTES_MAX, Header},
};
use std::mem;

/// Bounds on what a client may send. Whoever passes one is refused with [`Violation`], never cut short.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest payload of one frame, in bytes.
    pub frame_bytes_max: usize,
    /// Largest message, in bytes: as sent, and again decompressed.
    pub message_bytes_max: usize,
    /// Most fragments of one message.
    pub fragments_max: u32,
    /// Most of them that carry nothing.
    pub empty_fragments_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame_bytes_max: 1 << 20, message_bytes_max: 1 << 20, fragments_max: 1024, empty_fragments_max: 16 }
    }
}

/// What all readers of one thread share: the last message that did not lie whole in the bytes read, and the inflater.
#[derive(Debug, Default)]
pub struct Scratch {
    message: Vec<u8>,
    /// Made by the first compressed message: an inflater holds about 40 KiB.
    inflater: Option<Inflater>,
}

/// A larger buffer than this does not outlive its message.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

impl Scratch {
    fn inflate(&mut self, payload: &[u8], bytes_max: usize) -> Result<(), Violation> {
        self.inflater.get_or_insert_default().inflate(payload, &mut self.message, bytes_max)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.message.clear();
        self.message.extend_from_slice(bytes);
    }
}

/// Reads one client's frames, in whatever pieces their bytes come.
///
/// Idle, it is 16 bytes. While a frame or message is unfinished it holds what came of it on the heap, at most
/// [`Limits::message_bytes_max`] and about 250 bytes more.
#[derive(Debug)]
pub struct Reader {
    pending: Option<Box<Pending>>,
    /// Counts what has been begun and not finished at once, so that a deadline belongs to one of them.
    begun: u32,
    deflate: bool,
    ended: bool,
}

/// What is unfinished. Freed as soon as nothing is.
#[derive(Debug)]
struct Pending {
    /// The first bytes of a header.
    header: [u8; CLIENT_HEADER_BYTES_MAX],
    header_len: u8,
    control_len: u8,
    /// The payload of an unfinished control frame.
    control: [u8; CONTROL_BYTES_MAX],
    /// The frame whose payload is still to come, in part at least.
    frame: Option<Frame>,
    /// The message whose end is still to come.
    message: Option<Assembly>,
}

/// A frame after its header.
#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    rsv1: bool,
    /// Turned so that its first byte is for the next byte of payload.
    mask: [u8; 4],
    /// Bytes of payload to come.
    left: u64,
}

/// A whole message or control frame, before it is looked into.
struct Whole<'b> {
    opcode: Opcode,
    /// `None`: it lies in [`Scratch::message`].
    here: Option<&'b [u8]>,
}

impl Reader {
    /// Of a connection that has negotiated permessage-deflate, or not.
    #[must_use]
    pub const fn new(deflate: bool) -> Self {
        Self { pending: None, begun: 0, deflate, ended: false }
    }

    /// Reads the next message from the beginning of `bytes`, unmasking in place, and leaves in `bytes` what follows it.
    ///
    /// `Ok(None)`: all bytes are used up; what is unfinished is held. After a violation the connection is to be closed
    /// with [`Violation::close`]; from then on, as after a close frame, everything the client sends is thrown away.
    pub fn read<'m, 'b: 'm>(
        &mut self,
        bytes: &mut &'b mut [u8],
        limits: &Limits,
        scratch: &'m mut Scratch,
    ) -> Result<Option<Message<'m>>, Violation> {
        if scratch.message.capacity() > SCRATCH_BYTES_KEPT {
            scratch.message = Vec::new();
        }
        if self.ended {
            *bytes = &mut [];
            return Ok(None);
        }
        let message = match self.next(bytes, limits, scratch) {
            Ok(None) => return Ok(None),
            Ok(Some(whole)) => understand(whole.opcode, whole.here.unwrap_or(&scratch.message)),
            Err(violation) => Err(violation),
        };
        if matches!(message, Err(_) | Ok(Message::Close(_))) {
            self.ended = true;
            self.pending = None;
        }
        message.map(Some)
    }

    /// What is unfinished, by a number that is another one for every message: whoever finds the same number after a
    /// deadline may close the connection. Control frames between fragments do not change it.
    #[must_use]
    pub fn unfinished(&self) -> Option<u32> {
        self.pending.is_some().then_some(self.begun)
    }

    /// Whether the client has closed or broken the protocol.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes held on the heap for what is unfinished.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        let held = |pending: &Pending| size_of::<Pending>() + pending.message.as_ref().map_or(0, Assembly::bytes_held);
        self.pending.as_deref().map_or(0, held)
    }

    fn next<'b>(
        &mut self,
        bytes: &mut &'b mut [u8],
        limits: &Limits,
        scratch: &mut Scratch,
    ) -> Result<Option<Whole<'b>>, Violation> {
        while !bytes.is_empty() {
            let held = self.pending.as_mut().and_then(|pending| pending.frame.take());
            let fresh = held.is_none();
            let mut frame = match held {
                Some(frame) => frame,
                None => match self.header(bytes)? {
                    Some(header) => self.begin(&header, limits)?,
                    None => break,
                },
            };
            let here = take(bytes, frame.left);
            header::unmask(here, frame.mask);
            frame.advance(here.len());
            let whole = if frame.opcode.is_control() {
                self.control(frame, fresh, here, scratch)
            } else {
                self.data(frame, fresh, here, limits, scratch)?
            };
            self.release();
            if whole.is_some() {
                return Ok(whole);
            }
        }
        Ok(None)
    }

    /// The next header, or `None` where it is not whole yet.
    fn header(&mut self, bytes: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        let held = self.pending.as_ref().map_or(0, |pending| usize::from(pending.header_len));
        if held == 0
            && let Some((header, len)) = header::decode(bytes)?
        {
            take(bytes, len as u64);
            return Ok(Some(header));
        }
        let pending = self.pending();
        let more = bytes.len().min(CLIENT_HEADER_BYTES_MAX - held);
        pending.header[held..held + more].copy_from_slice(&bytes[..more]);
        match header::decode(&pending.header[..held + more])? {
            Some((header, len)) => {
                pending.header_len = 0;
                // What was held before did not make a header, so that some of it is here.
                take(bytes, (len - held) as u64);
                Ok(Some(header))
            }
            None => {
                pending.header_len = (held + more) as u8;
                *bytes = &mut [];
                Ok(None)
            }
        }
    }

    /// Checks a header against what came before it and against the limits, before any of the payload is kept.
    fn begin(&self, header: &Header, limits: &Limits) -> Result<Frame, Violation> {
        let &Header { opcode, fin, rsv1, payload_len, mask } = header;
        if rsv1 && !self.deflate {
            return Err(Violation::ReservedBit);
        }
        if !opcode.is_control() {
            let message = self.pending.as_ref().and_then(|pending| pending.message.as_ref());
            match (opcode, message) {
                (Opcode::Continuation, None) => return Err(Violation::ContinuationOfNothing),
                (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::MessageWithinMessage),
                _ => {}
            }
            if payload_len > limits.frame_bytes_max as u64 {
                return Err(Violation::FrameTooBig);
            }
            let so_far = message.map_or(0, |message| message.bytes.len());
            if payload_len > limits.message_bytes_max.saturating_sub(so_far) as u64 {
                return Err(Violation::MessageTooBig);
            }
            let (fragments, empty) = message.map_or((0, 0), |message| (message.fragments, message.empty_fragments));
            let adds_nothing = payload_len == 0 && !fin;
            if fragments >= limits.fragments_max || adds_nothing && empty >= limits.empty_fragments_max {
                return Err(Violation::TooManyFragments);
            }
        }
        Ok(Frame { opcode, fin, rsv1, mask, left: payload_len })
    }

    fn control<'b>(&mut self, frame: Frame, fresh: bool, here: &'b [u8], scratch: &mut Scratch) -> Option<Whole<'b>> {
        let opcode = frame.opcode;
        if fresh && frame.left == 0 {
            return Some(Whole { opcode, here: Some(here) });
        }
        let pending = self.pending();
        let held = usize::from(pending.control_len);
        pending.control[held..held + here.len()].copy_from_slice(here);
        if frame.left > 0 {
            pending.control_len += here.len() as u8;
            pending.frame = Some(frame);
            return None;
        }
        pending.control_len = 0;
        scratch.keep(&pending.control[..held + here.len()]);
        Some(Whole { opcode, here: None })
    }

    fn data<'b>(
        &mut self,
        frame: Frame,
        fresh: bool,
        here: &'b [u8],
        limits: &Limits,
        scratch: &mut Scratch,
    ) -> Result<Option<Whole<'b>>, Violation> {
        let opcode = frame.opcode;
        if fresh && frame.left == 0 && frame.fin && opcode != Opcode::Continuation {
            if !frame.rsv1 {
                return Ok(Some(Whole { opcode, here: Some(here) }));
            }
            scratch.inflate(here, limits.message_bytes_max)?;
            return Ok(Some(Whole { opcode, here: None }));
        }
        let pending = self.pending();
        let message = pending.message.get_or_insert_with(|| Assembly::new(opcode, frame.rsv1));
        if fresh {
            message.fragments += 1;
            message.empty_fragments += u32::from(frame.left == 0 && here.is_empty() && !frame.fin);
        }
        // The limits have been checked against the header, so that the sum fits.
        let bytes_max = if frame.fin { message.bytes.len() + here.len() + frame.left as usize } else { limits.message_bytes_max };
        message.append(here, bytes_max)?;
        if frame.left > 0 {
            pending.frame = Some(frame);
            return Ok(None);
        }
        if !frame.fin {
            return Ok(None);
        }
        let Some(message) = pending.message.take() else { return Ok(None) };
        let (opcode, compressed) = (message.opcode, message.compressed);
        let bytes = message.finish()?;
        if compressed {
            scratch.inflate(&bytes, limits.message_bytes_max)?;
        } else {
            scratch.message = bytes;
        }
        Ok(Some(Whole { opcode, here: None }))
    }

    fn pending(&mut self) -> &mut Pending {
        self.pending.get_or_insert_with(|| {
            self.begun = self.begun.wrapping_add(1);
            Box::new(Pending {
                header: [0; CLIENT_HEADER_BYTES_MAX],
                header_len: 0,
                control_len: 0,
                control: [0; CONTROL_BYTES_MAX],
                frame: None,
                message: None,
            })
        })
    }

    /// Back to 16 bytes, if nothing is unfinished.
    fn release(&mut self) {
        let idle = |pending: &Pending| pending.header_len == 0 && pending.frame.is_none() && pending.message.is_none();
        if self.pending.as_deref().is_some_and(idle) {
            self.pending = None;
        }
    }
}

impl Frame {
    fn advance(&mut self, bytes: usize) {
        self.left -= bytes as u64;
        self.mask.rotate_left(bytes % 4);
    }
}

/// Splits off the first `len` bytes, or all there are.
fn take<'b>(bytes: &mut &'b mut [u8], len: u64) -> &'b mut [u8] {
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(bytes.len());
    let (taken, rest) = mem::take(bytes).split_at_mut(len);
    *bytes = rest;
    taken
}

fn understand(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, Violation> {
    Ok(match opcode {
        Opcode::Text => Message::Text(simdutf8::basic::from_utf8(payload).map_err(|_| Violation::TextNotUtf8)?),
        Opcode::Ping => Message::Ping(payload),
        Opcode::Pong => Message::Pong(payload),
        Opcode::Close => Message::Close(Close::parse(payload)?),
        Opcode::Binary | Opcode::Continuation => Message::Binary(payload),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_reader_is_small() {
        assert!(size_of::<Reader>() <= 16, "{}", size_of::<Reader>());
        assert!(size_of::<Pending>() <= 256, "{}", size_of::<Pending>());
    }
}
