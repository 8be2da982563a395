//! Heads of executions, and who owns a knowledge base.

use super::BusError;

/// A version of a stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision(pub u64);

/// What must be true of a record for it to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    Absent,
    /// It is this version.
    At(Revision),
}

/// A list of heads, newest first by creation.
#[derive(Clone, Debug, Default)]
pub struct HeadQuery {
    /// Of this tenant; `None` is the tenantless space.
    pub tenant: Option<String>,
    /// Owned by this user; `None` lists all of the tenant.
    pub owner: Option<String>,
    /// Only those that stand after this one in the list, as (`created_ms`, execution id).
    pub after: Option<(u64, String)>,
    /// At most this many.
    pub limit: usize,
}

/// The record of who owns a knowledge base.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Owner {
    pub(crate) owner: Option<String>,
}

impl Owner {
    pub(crate) fn new(owner: Option<&str>) -> Self {
        Self { owner: owner.map(str::to_owned) }
    }

    pub(crate) fn to_json(&self) -> bytes::Bytes {
        serde_json::json!({"owner": self.owner}).to_string().into()
    }

    pub(crate) fn from_json(record: &[u8]) -> Result<Self, BusError> {
        serde_json::from_slice(record).map_err(|error| BusError::Refused(format!("a stored owner: {error}")))
    }
}
