//! The mark that every published event carries: which event of which room it is, and when it was due.
//!
//! Plain letters, so that it stands unchanged in JSON, MessagePack and whatever else wraps an event, and can be found
//! without parsing any of them. Never a server's own sequence or offset, which may have holes.

use memchr::memmem::Finder;
use std::sync::LazyLock;

/// One event's own word about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The room's number.
    pub(crate) room: u32,
    /// Counts the room's events from 0.
    pub(crate) counter: u32,
    /// When it was to be published, on the machine's monotonic clock.
    pub(crate) due_us: u64,
}

/// Long enough to occur nowhere else.
const START: &str = "weftload~";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(START));

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{START}{}~{}~{}~", self.room, self.counter, self.due_us)
    }
}

/// Every mark in a message, and whether a part that begins as a mark is none.
pub(crate) fn each(payload: &[u8], mut take: impl FnMut(Mark)) -> bool {
    let mut broken = false;
    for at in FINDER.find_iter(payload) {
        match parse(&payload[at + START.len()..]) {
            Some(mark) => take(mark),
            None => broken = true,
        }
    }
    broken
}

fn parse(text: &[u8]) -> Option<Mark> {
    let mut fields = text.splitn(4, |byte| *byte == b'~');
    let mut number = || number(fields.next()?);
    let (room, counter, due_us) = (number()?, number()?, number()?);
    // The last field must have been ended by its own sign, or a digit could be missing.
    fields.next()?;
    let counter = u32::try_from(counter).ok().filter(|counter| *counter < u32::MAX)?;
    Some(Mark { room: u32::try_from(room).ok()?, counter, due_us })
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_in_whatever_surrounds_them() {
        let (one, two) =
            (Mark { room: 0, counter: 7, due_us: 12 }, Mark { room: 65_000, counter: u32::MAX - 1, due_us: 1 << 52 });
        for (payload, expected, broken) in [
            (format!("{{\"mark\":\"{one}\"}}"), vec![one], false),
            (format!("\u{81}{one}{two}\n{one}"), vec![one, two, one], false),
            ("weftload~1~2~3".into(), vec![], true),
            ("weftload~1~x~3~".into(), vec![], true),
            ("weftload~1~~3~".into(), vec![], true),
            ("weftload~99999999999~1~3~".into(), vec![], true),
            (format!("weftload~1~{}~3~", u32::MAX), vec![], true),
            ("weftloa~1~2~3~".into(), vec![], false),
        ] {
            let mut found = Vec::new();
            let was_broken = each(payload.as_bytes(), |mark| found.push(mark));
            assert_eq!((found, was_broken), (expected, broken), "{payload}");
        }
    }
}
