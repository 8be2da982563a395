//! What a follower is told besides events (wire contract, section 3, "Notices"); each dialect words it in its own way.

use crate::native::{self, Encoding};
use weft_event::{Offset, Room};

/// Something about a room, or about the fabric, that is no event.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// Some events of a room are gone: those after `from` up to `to`, where known.
    Gap {
        /// Which room.
        room: &'a Room,
        /// The last event before the gap.
        from: Option<&'a Offset>,
        /// The last event in it.
        to: Option<&'a Offset>,
        /// Why, in a word: `retention`, `reset`.
        reason: &'a str,
    },
    /// The broker is away, or back.
    Degraded {
        /// Whether it is away.
        active: bool,
    },
}

/// A gap as a log entry, for the dialects that have no frame for it.
pub(crate) struct GapEntry {
    /// The same for the same gap, so that a viewer that tells entries apart by id shows it once.
    pub(crate) id: String,
    /// What is missing, in a sentence.
    pub(crate) message: String,
}

impl Notice<'_> {
    /// The word for it where it is an event or a message of its own.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::Degraded { .. } => "degraded",
        }
    }

    /// The object that the native protocol has for it.
    pub(crate) fn native(&self) -> Vec<u8> {
        match self {
            Self::Gap { room, from, to, reason } => {
                let (from, to) = (from.map(ToString::to_string), to.map(ToString::to_string));
                native::gap(Encoding::Json, room, from.as_deref(), to.as_deref(), reason)
            }
            Self::Degraded { active } => native::degraded(Encoding::Json, *active),
        }
    }

    /// The log entry that tells a gap; `None` for what needs no telling in a log.
    pub(crate) fn gap_entry(&self) -> Option<GapEntry> {
        let Self::Gap { from, to, reason, .. } = self else { return None };
        let text = |offset: &Option<&Offset>| offset.map(ToString::to_string);
        let (from, to) = (text(from), text(to));
        let id = format!("gap:{}:{}", from.as_deref().unwrap_or(""), to.as_deref().unwrap_or(""));
        let after = from.map(|from| format!(" after {from}")).unwrap_or_default();
        let until = to.map(|to| format!(" up to {to}")).unwrap_or_default();
        Some(GapEntry { id, message: format!("Events{after}{until} are missing ({reason}).") })
    }
}
