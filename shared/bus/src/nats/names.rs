//! Subjects and stream names.

use crate::{Address, Journal, Presence, Record};
use weft_event::{Invalid, Room};

/// Stands for "none" where a tenant or an owner is one token: no id holds a '%' that is not followed by two digits.
const NONE: &str = "%";

/// Makes the names of one deployment.
#[derive(Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// A stream's name, `<PREFIX>_<word>`.
    pub(super) fn stream(&self, word: &str) -> String {
        format!("{}_{word}", self.prefix.to_uppercase().replace('.', "_"))
    }

    /// Any subject below the prefix.
    pub(super) fn below(&self, rest: &str) -> String {
        format!("{}.{rest}", self.prefix)
    }

    /// Where a room's events are published and stored.
    pub(super) fn stored(&self, room: &Room) -> String {
        format!("{}.{}", self.prefix, room.nats_token())
    }

    /// Where the stream repeats them.
    pub(super) fn live(&self, room: &Room) -> String {
        format!("{}.live.{}", self.prefix, room.nats_token())
    }

    /// Where a process hears what it says to itself. Apart from rooms, so that who only publishes needs no right on these.
    pub(super) fn canary(&self, process: &str) -> String {
        format!("{}.canary.{process}", self.prefix)
    }

    /// A subject that nobody serves.
    pub(super) fn void(&self, process: &str) -> String {
        format!("{}.canary.{NONE}void-{process}", self.prefix)
    }

    pub(super) fn head(&self, room: &Room) -> String {
        format!("{}.head.{}", self.prefix, room.nats_token())
    }

    /// A head's place in the lists: tenant, owner, then time and execution.
    pub(super) fn listed(&self, tenant: Option<&str>, owner: Option<&str>, created_ms: u64, execution: &str) -> String {
        let (tenant, owner) = (tenant.unwrap_or(NONE), owner.map_or(NONE.into(), token));
        // Thirteen digits of milliseconds reach the year 2286, so that text sorts as time.
        format!("{}.own.{tenant}.{owner}.{created_ms:013}-{}", self.prefix, token(execution))
    }

    /// All places of a list.
    pub(super) fn list(&self, tenant: Option<&str>, owner: Option<&str>) -> String {
        let (tenant, owner) = (tenant.unwrap_or(NONE), owner.map_or("*".into(), token));
        format!("{}.own.{tenant}.{owner}.*", self.prefix)
    }

    pub(super) fn present(&self, kind: Presence, id: &str) -> String {
        format!("{}.present.{}.{}", self.prefix, kind.word(), token(id))
    }

    pub(super) fn all_present(&self, kind: Presence) -> String {
        format!("{}.present.{}.*", self.prefix, kind.word())
    }

    pub(super) fn record(&self, kind: Record, id: &str) -> String {
        format!("{}.record.{}.{}", self.prefix, kind.word(), token(id))
    }

    pub(super) fn journal(&self, journal: Journal) -> String {
        format!("{}.journal.{}", self.prefix, journal.word())
    }

    pub(super) fn commands(&self, address: &Address) -> String {
        format!("{}.cmd.{}", self.prefix, token(&address.name()))
    }
}

/// The last token of a subject.
pub(super) fn last_token(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or(subject)
}

/// Any text as one legal token; ids and room names become what `Room::nats_token` makes of them.
pub(super) fn token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b':' | b'~' | b'@' | b'/' => token.push(byte as char),
            _ => token.push_str(&format!("%{byte:02X}")),
        }
    }
    token
}

/// The text that became a token.
pub(super) fn untoken(token: &str) -> Result<String, Invalid> {
    let illegal = || Invalid::new("token", "is none that this service writes");
    let mut parts = token.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).ok_or_else(illegal)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| illegal())?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| illegal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_agree_with_rooms() {
        for text in ["execution:a.b", "acme/execution:x", "plain", "ü *>", "100%"] {
            let written = token(text);
            assert!(!written.contains(['.', '*', '>', ' ']), "{written}");
            assert_eq!(untoken(&written).as_deref(), Ok(text));
        }
        let room = Room::parse("execution:a.b~c@d").expect("room");
        assert_eq!(token(room.broker_name()), room.nats_token());
        assert!(untoken("%").is_err() && untoken("%zz").is_err());
    }

    #[test]
    fn places_sort_by_time() {
        let names = Names::new("weft");
        let early = names.listed(None, Some("u.1"), 5, "e");
        let late = names.listed(None, Some("u.1"), 1_767_225_600_000, "e");
        assert!(early < late && late.starts_with("weft.own.%.u%2E1.1767225600000-"), "{late}");
        assert_eq!(names.list(Some("t"), None), "weft.own.t.*.*");
    }
}
