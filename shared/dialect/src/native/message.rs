//! What a client of the native protocol may say, valid by construction, and how it is refused.

use crate::told::ErrorCode;
use serde_json::value::RawValue;
use std::borrow::Cow;
use weft_event::{Invalid, Kind, Resume, Room};

/// A text that no format shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes it.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever verifies it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// One message of a client.
#[derive(Clone, Debug)]
pub enum ClientMessage {
    /// Follow rooms.
    Subscribe(Subscribe),
    /// Stop following a room.
    Unsubscribe {
        /// Which.
        room: Room,
        /// Whether the client named it by `executionId`, as system B does.
        as_execution: bool,
        /// Echoed in the reply.
        reference: Option<String>,
    },
    /// Answer with `pong`.
    Ping {
        /// Echoed in the reply.
        reference: Option<String>,
    },
    /// Replace the connection's token.
    Auth {
        /// The new one.
        token: Secret,
        /// Echoed in the reply.
        reference: Option<String>,
    },
    /// Answer a prompt of an execution.
    ProvideInput {
        /// Whose prompt.
        execution_id: String,
        /// Which prompt.
        request_id: String,
        /// The answer, as the client wrote it but on one line.
        value: Box<RawValue>,
        /// Echoed in the one ack.
        reference: Option<String>,
    },
    /// Ask for an execution to end.
    Cancel {
        /// Which.
        execution_id: String,
        /// Why, for people.
        reason: Option<String>,
        /// Echoed in the one ack.
        reference: Option<String>,
    },
}

/// Follow these rooms, each on the same terms.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// At least one, none twice.
    pub rooms: Vec<RoomRequest>,
    /// Begin with the folded state.
    pub snapshot: bool,
    /// A frame may hold several objects, newline separated.
    pub batch: bool,
    /// While behind, events may be skipped or merged as their class allows.
    pub conflate: bool,
    /// Begin with the retained `log` events (`"history":"logs"`).
    pub history_logs: bool,
    /// Only events of these types.
    pub types: Option<TypeFilter>,
    /// Echoed in each reply.
    pub reference: Option<String>,
}

/// One room of a [`Subscribe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomRequest {
    /// Which.
    pub room: Room,
    /// Where to begin; `None` begins with what happens next.
    pub resume: Option<Resume>,
    /// Whether the client named it by `executionId`, as system B does.
    pub as_execution: bool,
}

/// Which event types a subscription admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeFilter(Box<[Pattern]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// This type and no other.
    Exact(Box<str>),
    /// Every type of the family; kept with its colon.
    Family(Box<str>),
}

impl TypeFilter {
    /// Most patterns in one filter; each event is compared with all of them.
    pub const PATTERNS_MAX: usize = 32;

    /// Reads patterns: a type (`log`, `node:failed`) or a whole family (`execution:*`), at least one.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, Invalid> {
        if patterns.is_empty() || patterns.len() > Self::PATTERNS_MAX {
            return Err(Invalid::new("types", format!("must name 1 to {} event types", Self::PATTERNS_MAX)));
        }
        patterns.iter().map(|pattern| Pattern::parse(pattern.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether events of this type pass.
    #[must_use]
    pub fn matches(&self, kind: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Exact(exact) => **exact == *kind,
            Pattern::Family(family) => kind.starts_with(&**family),
        })
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let refuse = || Invalid::new("types", "must hold event types as log or node:failed, or families as execution:*");
        if let Some(family) = text.strip_suffix('*') {
            // A family is one word: `a:b:*` would look like a narrower pattern than it is.
            let legal = family.find(':').is_some_and(|colon| colon > 0 && colon + 1 == family.len())
                && Kind::parse(&format!("{family}x")).is_ok();
            return if legal { Ok(Self::Family(family.into())) } else { Err(refuse()) };
        }
        Kind::parse(text).map(|kind| Self::Exact(kind.as_str().into())).map_err(|_| refuse())
    }
}

/// Why a message was refused; becomes one `error` frame, and the connection stays open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// One of [`told::ERRORS`](crate::told::ERRORS).
    pub code: &'static str,
    /// The field at fault.
    pub field: Option<&'static str>,
    /// The field and the rule it broke, for people.
    pub message: String,
    /// The message's own `ref`, where it could be read.
    pub reference: Option<String>,
    /// The room it was about, where it names one that is legal.
    pub room: Option<String>,
    /// Whether it was a message of this protocol at all, if a faulty one. What is not counts towards close 4400.
    pub is_protocol: bool,
}

impl Refused {
    pub(super) fn new(error: ErrorCode, field: Option<&'static str>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: error.code, field, message: message.into().into_owned(), reference: None, room: None, is_protocol: true }
    }

    /// What is no message of this protocol.
    pub(super) fn foreign(error: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { is_protocol: false, ..Self::new(error, None, message) }
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self::new(crate::told::INVALID, Some(invalid.field), invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let filter = TypeFilter::parse(&["execution:*", "log", "node:failed"]).expect("legal");
        for (kind, passes) in [
            ("execution:started", true),
            ("execution:any.thing", true),
            ("log", true),
            ("node:failed", true),
            ("node:failed2", false),
            ("node:started", false),
            ("logs:x", false),
            ("executions:started", false),
        ] {
            assert_eq!(filter.matches(kind), passes, "{kind}");
        }
        for pattern in ["", "*", ":*", "log*", "exec*", "a:b:*", "execution:*x", "connected", "a b:*"] {
            assert!(TypeFilter::parse(&[pattern]).is_err(), "{pattern}");
        }
        assert!(TypeFilter::parse::<&str>(&[]).is_err());
        assert!(TypeFilter::parse(&["log"; TypeFilter::PATTERNS_MAX + 1]).is_err());
    }
}
