//! The one offset of a session, which stands for all its rooms (wire contract, section 8).
//!
//! A client keeps one string, but has a cursor in each room. So the string holds them all, each with a tag of its room:
//! an event of one room carries the cursors of the others as they stand. Of a session with one room it depends on
//! nothing but the event, and is shared. The text is `1` for its version and base64 of what `to_bytes` writes: an
//! epoch once for rooms that follow each other in it, numbers no longer than they need to be.

use super::RECOVERABLE_ROOMS_MAX;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{fmt, str::FromStr};
use weft_event::{Epoch, Invalid, Offset, Position, Room, fingerprint};

/// The version that begins the text.
const VERSION: char = '1';
/// Most bytes of one cursor: tag, flags, epoch, seq, check, since, part.
const CURSOR_BYTES_MAX: usize = 4 + 1 + 8 + 10 + 4 + 10 + 1;
/// Longest text of an offset, in characters.
pub const CHARS_MAX: usize = 1 + (RECOVERABLE_ROOMS_MAX * CURSOR_BYTES_MAX).div_ceil(3) * 4;

const SAME_EPOCH: u8 = 1;
const HAS_SINCE: u8 = 2;
const HAS_PART: u8 = 4;
const FLAGS: u8 = SAME_EPOCH | HAS_SINCE | HAS_PART;

/// A room's name in 32 bits. Two rooms of one session must not share it, see [`Recovery::add`](super::Recovery::add).
#[must_use]
pub fn room_tag(room: &Room) -> u32 {
    fingerprint(room.name().as_bytes())
}

/// How far a client has read one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which room, by its [`room_tag`].
    pub tag: u32,
    /// The last event of it that was told.
    pub offset: Offset,
}

/// The cursors of a session, [`RECOVERABLE_ROOMS_MAX`] at most and none twice. Its text is what a client keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOffset(Vec<Cursor>);

impl SessionOffset {
    /// Of a session with one room: the same for every such session, so that the frame can be shared.
    #[must_use]
    pub fn one(tag: u32, offset: Offset) -> Self {
        Self(vec![Cursor { tag, offset }])
    }

    /// Of a session with these cursors; rooms of which nothing was told may be left out.
    ///
    /// `None` if there are too many, or two of one tag: such a session cannot be recovered.
    #[must_use]
    pub fn new(cursors: Vec<Cursor>) -> Option<Self> {
        let twice = |index: usize, cursor: &Cursor| cursors[..index].iter().any(|earlier| earlier.tag == cursor.tag);
        let legal = cursors.len() <= RECOVERABLE_ROOMS_MAX
            && !cursors.is_empty()
            && !cursors.iter().enumerate().any(|(index, cursor)| twice(index, cursor));
        legal.then_some(Self(cursors))
    }

    /// The cursors.
    #[must_use]
    pub fn cursors(&self) -> &[Cursor] {
        &self.0
    }

    /// The cursor in the room of this tag.
    #[must_use]
    pub fn of(&self, tag: u32) -> Option<&Offset> {
        self.0.iter().find(|cursor| cursor.tag == tag).map(|cursor| &cursor.offset)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() * 24);
        let mut epoch = None;
        for Cursor { tag, offset } in &self.0 {
            let same = epoch == Some(offset.at.epoch);
            let flag = |set: bool, flag: u8| if set { flag } else { 0 };
            out.extend_from_slice(&tag.to_be_bytes());
            out.push(flag(same, SAME_EPOCH) | flag(offset.since.is_some(), HAS_SINCE) | flag(offset.part.is_some(), HAS_PART));
            if !same {
                out.extend_from_slice(&offset.at.epoch.0.to_be_bytes());
            }
            put_number(&mut out, offset.at.seq);
            out.extend_from_slice(&offset.at.check.to_be_bytes());
            offset.since.into_iter().for_each(|since| put_number(&mut out, since));
            out.extend(offset.part);
            epoch = Some(offset.at.epoch);
        }
        out
    }
}

impl fmt::Display for SessionOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}{}", URL_SAFE_NO_PAD.encode(self.to_bytes()))
    }
}

impl FromStr for SessionOffset {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text).ok_or_else(|| Invalid::new("offset", "is not an offset that this service gave out"))
    }
}

fn parse(text: &str) -> Option<SessionOffset> {
    if text.len() > CHARS_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(VERSION)?).ok()?;
    let (mut rest, mut cursors, mut epoch) = (&bytes[..], Vec::new(), None);
    while !rest.is_empty() {
        if cursors.len() == RECOVERABLE_ROOMS_MAX {
            return None;
        }
        let cursor = take_cursor(&mut rest, epoch)?;
        epoch = Some(cursor.offset.at.epoch);
        cursors.push(cursor);
    }
    SessionOffset::new(cursors)
}

fn take_cursor(rest: &mut &[u8], epoch: Option<Epoch>) -> Option<Cursor> {
    let tag = u32::from_be_bytes(take(rest)?);
    let [flags] = take(rest)?;
    if flags & !FLAGS != 0 {
        return None;
    }
    let epoch = if flags & SAME_EPOCH == 0 { Epoch(u64::from_be_bytes(take(rest)?)) } else { epoch? };
    let seq = take_number(rest)?;
    let check = u32::from_be_bytes(take(rest)?);
    let since = if flags & HAS_SINCE == 0 { None } else { Some(take_number(rest)?) };
    let part = if flags & HAS_PART == 0 { None } else { Some(take::<1>(rest)?[0]) };
    Some(Cursor { tag, offset: Offset { at: Position { epoch, seq, check }, since, part } })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

/// Seven bits a byte, the lowest first; all but the last byte have the highest bit set.
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = take(rest)?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            // Written longer than it need be, it was not written here.
            return (byte != 0 || shift == 0).then_some(number);
        }
    }
    None
}
