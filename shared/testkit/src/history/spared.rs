//! What a client that asked for `conflate` need not get.
//!
//! Frames tell for how many events they stand besides themselves. Of the progress and the tokens of an execution, type by
//! type, no more may be missing than the frames that came by that room stand for. A client that was cut off may miss more
//! progress, because what was skipped before the cut was told by a frame that it never got; not tokens, which are joined
//! to their neighbours only.

use super::{Published, Truth};
use crate::record::Record;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Whether a frame may stand for events of this type, by the wire contract, section 1.
pub(super) fn may_be(kind: &str) -> bool {
    is_token(kind)
        || matches!(kind, "execution:updated" | "kb:processing")
        || (kind.ends_with(":progress") && !kind.starts_with("user_input:"))
}

fn is_token(kind: &str) -> bool {
    kind == "agent:token"
}

/// Events of one type in one first room, as they come by one room.
type Group<'a> = (&'a Arc<str>, &'a Arc<str>, &'a str);

/// How many more may be missing.
pub(super) struct Spared<'a> {
    left: FxHashMap<Group<'a>, u64>,
    was_cut: bool,
}

impl<'a> Spared<'a> {
    pub(super) fn of(record: &'a Record, truth: &Truth<'a>) -> Self {
        let mut left: FxHashMap<Group<'a>, u64> = FxHashMap::default();
        for event in record.events().filter(|event| record.wishes.conflate && may_be(&event.kind)) {
            if let Some(published) = event.id.as_deref().and_then(|id| truth.by_id.get(id)) {
                *left.entry((&event.room, &published.rooms[0], &event.kind)).or_default() += event.skipped;
            }
        }
        Self { left, was_cut: record.disconnects > 0 }
    }

    /// Whether this missing event is one of them, which is then one less. Some event of its kind must have come.
    pub(super) fn takes(&mut self, by: &Arc<str>, event: &'a Published) -> bool {
        let Some(kind) = event.kind.as_deref() else { return false };
        let found = self.left.iter_mut().find(|((room, first, of), _)| *room == by && **first == event.rooms[0] && *of == kind);
        match found {
            Some((_, 0)) => self.was_cut && !is_token(kind),
            Some((_, left)) => {
                *left -= 1;
                true
            }
            None => false,
        }
    }
}
