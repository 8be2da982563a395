//! Where an event stands in its room, and the opaque string that clients keep of it.

use crate::Invalid;
use std::{fmt, str::FromStr};

/// One unbroken history of a room. A new epoch means that the history was lost or rewound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// A 32-bit fingerprint of an event's stored bytes.
///
/// Needed beside the sequence because a broker that lost its tail gives the same numbers to other events.
#[must_use]
pub fn fingerprint(stored: &[u8]) -> u32 {
    let hash = xxhash_rust::xxh3::xxh3_64(stored);
    (hash ^ (hash >> 32)) as u32
}

/// Where an event stands: `seq` grows within the epoch, not necessarily by one; `check` is its [`fingerprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The history it belongs to.
    pub epoch: Epoch,
    /// Its number; 0 stands before the first event.
    pub seq: u64,
    /// Its fingerprint; 0 where `seq` is 0.
    pub check: u32,
}

impl Position {
    /// The position before the first event of `epoch`.
    #[must_use]
    pub const fn start(epoch: Epoch) -> Self {
        Self { epoch, seq: 0, check: 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}.{:08x}", self.epoch.0, self.seq, self.check)
    }
}

/// A position as clients hold it, `<epoch>.<seq>.<check>[.<since>][/<part>]`; opaque to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Offset {
    /// The event that was seen last.
    pub at: Position,
    /// Where the client's follow of this room began, in sessions whose rooms carry copies of each other's events:
    /// a copy of a later event was delivered by this room, a copy of an earlier one was not.
    pub since: Option<u64>,
    /// Set on all but the last frame of an event that a dialect tells in several: the frames seen so far.
    pub part: Option<u8>,
}

impl From<Position> for Offset {
    fn from(at: Position) -> Self {
        Self { at, since: None, part: None }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)?;
        if let Some(since) = self.since {
            write!(f, ".{since}")?;
        }
        if let Some(part) = self.part {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

impl FromStr for Offset {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text).ok_or_else(|| Invalid::new("offset", "is not an offset that this service gave out"))
    }
}

fn parse(text: &str) -> Option<Offset> {
    let (text, part) = match text.split_once('/') {
        None => (text, None),
        Some((text, part)) => (text, Some(number(part)?.try_into().ok()?)),
    };
    let mut fields = text.split('.');
    let epoch = Epoch(hex(fields.next()?, 16)?);
    let seq = number(fields.next()?)?;
    let check = hex(fields.next()?, 8)?.try_into().ok()?;
    let since = fields.next().map(number);
    let since = match since {
        Some(since) => Some(since?),
        None => None,
    };
    (fields.next().is_none()).then_some(Offset { at: Position { epoch, seq, check }, since, part })
}

// `from_str_radix` would also take a leading `+`.
fn hex(text: &str, digits_max: usize) -> Option<u64> {
    let legal = !text.is_empty() && text.len() <= digits_max && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    legal.then(|| u64::from_str_radix(text, 16).ok())?
}

fn number(text: &str) -> Option<u64> {
    let legal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    legal.then(|| text.parse().ok())?
}

/// Where a client wants to begin: from the start (`0`) or after an offset it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Everything the room still holds.
    Start,
    /// Everything after this offset.
    After(Offset),
}

impl FromStr for Resume {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text == "0" { Ok(Self::Start) } else { text.parse().map(Self::After) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn offsets_round_trip(epoch: u64, seq: u64, check: u32, since: Option<u64>, part: Option<u8>) {
            let offset = Offset { at: Position { epoch: Epoch(epoch), seq, check }, since, part };
            prop_assert_eq!(offset.to_string().parse::<Offset>(), Ok(offset));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = text.parse::<Resume>();
        }
    }

    #[test]
    fn forged_offsets_are_refused() {
        for text in [
            "",
            "1",
            "a.1",
            "a.1.2.3.4",
            "+1.1.1",
            "a.+1.1",
            "a.-1.1",
            "a.99999999999999999999999.1",
            "a.1.fffffffff",
            "a.1.1/300",
            "a.1.1/",
        ] {
            assert!(text.parse::<Resume>().is_err(), "{text}");
        }
        assert_eq!("0".parse(), Ok(Resume::Start));
    }
}
