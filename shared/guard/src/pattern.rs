//! Rooms as claims and settings name them: one, or all of a family that begin alike.

use weft_event::Room;

/// Longest pattern in bytes: a family, an agent's and an execution's id.
const BYTES_MAX: usize = 300;

/// A room by its name, or all rooms of a family that begin alike: `execution:team-a-*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// One room.
    Room(Room),
    /// Every room whose name begins so; at least its family and colon.
    Prefix(Box<str>),
}

impl Pattern {
    /// Reads a pattern. A bare `*`, or one that leaves the family open, names nothing: `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > BYTES_MAX {
            return None;
        }
        match text.strip_suffix('*') {
            None => Room::parse(text).ok().map(Self::Room),
            Some(prefix) => {
                let (family, rest) = prefix.split_once(':')?;
                let is_family = ["execution", "user", "agent", "kb"].contains(&family);
                let is_legal = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:~@".contains(&byte));
                (is_family && is_legal).then(|| Self::Prefix(prefix.into()))
            }
        }
    }

    /// Whether it names this room; tenants are compared by whoever asks.
    #[must_use]
    pub fn covers(&self, room: &Room) -> bool {
        match self {
            Self::Room(named) => named.name() == room.name(),
            Self::Prefix(prefix) => room.name().starts_with(&**prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_rooms_of_their_family_only() {
        for (pattern, room, expected) in [
            ("execution:e", "execution:e", true),
            ("execution:e", "execution:e1", false),
            ("execution:team-a-*", "execution:team-a-1", true),
            ("execution:team-a-*", "execution:team-b-1", false),
            ("execution:*", "execution:x", true),
            ("execution:*", "user:x", false),
            ("agent:a:*", "agent:a:e", true),
            ("agent:a:*", "agent:ab:e", false),
        ] {
            let pattern = Pattern::parse(pattern).expect(pattern);
            assert_eq!(pattern.covers(&Room::parse(room).expect(room)), expected, "{pattern:?} {room}");
        }
        let long = format!("execution:{}*", "x".repeat(400));
        for nothing in
            ["*", "", "exec*", "execution", "job:*", "execution:a*b", "execution:a b*", "acme/execution:*", ":*", &long]
        {
            assert_eq!(Pattern::parse(nothing), None, "{nothing}");
        }
    }
}
