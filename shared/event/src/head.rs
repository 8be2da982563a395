//! The durable record of one execution: who owns it, its state, and the snapshot it stands at.

use crate::{Epoch, Offset, Position, Snapshot, Status};
use serde::{Deserialize, Serialize};

/// The execution head (wire contract, section 3). It outlives its room's retention and epochs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The tenant, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Which execution.
    pub execution_id: String,
    /// The `userId` of its first stored event. Never changes; `None` means that only claims and admins may follow.
    pub owner: Option<String>,
    /// When the head was made, in Unix milliseconds: orders lists, newest first.
    pub created_ms: u64,
    /// When it was last written, in Unix milliseconds.
    pub updated_ms: u64,
    /// The state as of `at`.
    pub snapshot: Snapshot,
    /// The last event folded in, as an offset string; `None` before the first.
    at: Option<String>,
    /// Whether events were gone before they could be folded.
    #[serde(default)]
    pub incomplete: bool,
}

impl Head {
    /// The head of an execution that has just been seen for the first time.
    #[must_use]
    pub fn new(tenant: Option<&str>, execution_id: &str, owner: Option<&str>, now_ms: u64) -> Self {
        Self {
            tenant: tenant.map(str::to_owned),
            execution_id: execution_id.to_owned(),
            owner: owner.map(str::to_owned),
            created_ms: now_ms,
            updated_ms: now_ms,
            snapshot: Snapshot { user_id: owner.map(str::to_owned), ..Snapshot::new(execution_id) },
            at: None,
            incomplete: false,
        }
    }

    /// The state.
    #[must_use]
    pub fn status(&self) -> Status {
        self.snapshot.status
    }

    /// The last event folded in.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.at.as_deref().and_then(|text| text.parse::<Offset>().ok()).map(|offset| offset.at)
    }

    /// The epoch of the last event folded in.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.position().map(|at| at.epoch)
    }

    /// Sets the snapshot and the position it stands at.
    pub fn advance(&mut self, snapshot: Snapshot, at: Position, now_ms: u64) {
        self.snapshot = snapshot;
        self.at = Some(Offset::from(at).to_string());
        self.updated_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_the_bus() {
        let mut head = Head::new(None, "e", Some("u"), 5);
        let at = Position { epoch: Epoch(7), seq: 9, check: 1 };
        head.advance(Snapshot::new("e"), at, 6);
        let back: Head = serde_json::from_slice(&serde_json::to_vec(&head).expect("json")).expect("reads back");
        assert_eq!((back.position(), back.owner.as_deref(), back.created_ms), (Some(at), Some("u"), 5));
    }
}
