//! Event types and what may be done with them: families, delivery classes, terminal types.

use crate::Invalid;

/// Longest event type in bytes.
pub const KIND_BYTES_MAX: usize = 64;

/// The family of an event type: what stands before the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `execution:*`
    Execution,
    /// `node:*`
    Node,
    /// `agent:*`
    Agent,
    /// `user_input:*`
    UserInput,
    /// `kb:*`
    Kb,
    /// `log`, the one type without a colon.
    Log,
    /// A family this version does not know; carried, never refused.
    Other,
}

/// What a subscription that asked for `conflate` may do with an event while it is behind (wire contract, section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Always delivered.
    Lossless,
    /// A later event of the same room, type and node stands for this one, see [`crate::conflate`].
    LatestWins,
    /// Several may be joined into one by concatenating their tokens in order.
    Mergeable,
}

/// An event type, valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind<'a>(&'a str);

impl<'a> Kind<'a> {
    /// Reads a type: `log`, or `family:name` of `a-z A-Z 0-9 _ - . :`, at most 64 bytes.
    ///
    /// Anything else is refused, because it could pass for a control message of the native protocol.
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
        if text.len() > KIND_BYTES_MAX || !text.bytes().all(legal) {
            return Err(Invalid::new("type", "must be at most 64 bytes of A-Z a-z 0-9 _ - . :"));
        }
        let family_and_name = text.split_once(':').is_some_and(|(family, name)| !family.is_empty() && !name.is_empty());
        // The native protocol's own command types have a colon too; an event must not pass for one of them.
        if text == "user_input:provide" {
            return Err(Invalid::new("type", "user_input:provide is a command, not an event"));
        }
        if text == "log" || family_and_name { Ok(Self(text)) } else { Err(Invalid::new("type", "must be log or family:name")) }
    }

    /// The type as published.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The family.
    #[must_use]
    pub fn family(self) -> Family {
        match self.0.split_once(':').map_or(self.0, |(family, _)| family) {
            "execution" => Family::Execution,
            "node" => Family::Node,
            "agent" => Family::Agent,
            "user_input" => Family::UserInput,
            "kb" => Family::Kb,
            "log" => Family::Log,
            _ => Family::Other,
        }
    }

    /// The delivery class.
    #[must_use]
    pub fn class(self) -> Class {
        match self.0 {
            "agent:token" => Class::Mergeable,
            "execution:updated" | "kb:processing" => Class::LatestWins,
            // Prompts are lossless whatever they are called.
            other if other.starts_with("user_input:") => Class::Lossless,
            other if other.ends_with(":progress") => Class::LatestWins,
            _ => Class::Lossless,
        }
    }

    /// Whether the execution ends with this event.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self.0, "execution:completed" | "execution:failed" | "execution:cancelled")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        for (text, family, class) in [
            ("log", Family::Log, Class::Lossless),
            ("execution:started", Family::Execution, Class::Lossless),
            ("execution:progress", Family::Execution, Class::LatestWins),
            ("execution:updated", Family::Execution, Class::LatestWins),
            ("node:progress", Family::Node, Class::LatestWins),
            ("agent:token", Family::Agent, Class::Mergeable),
            ("kb:processing", Family::Kb, Class::LatestWins),
            ("user_input:required", Family::UserInput, Class::Lossless),
            ("user_input:progress", Family::UserInput, Class::Lossless),
            ("import:progress", Family::Other, Class::LatestWins),
            ("billing:charged", Family::Other, Class::Lossless),
        ] {
            let kind = Kind::parse(text).expect(text);
            assert_eq!((kind.family(), kind.class()), (family, class), "{text}");
        }
        for text in ["", "connected", "subscribed", "gap", "a:", ":b", "a b:c", "\u{fc}:x", "user_input:provide"] {
            assert!(Kind::parse(text).is_err(), "{text}");
        }
        assert!(Kind::parse("execution:failed").is_ok_and(Kind::is_terminal));
    }
}
