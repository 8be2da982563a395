//! Keys and channels. All keys of a room share its hash tag, so that one script may touch them in a cluster.

use crate::{Journal, Record};
use weft_event::Room;

/// Makes the names of one deployment.
#[derive(Clone)]
pub(super) struct Names {
    prefix: String,
    /// Marks our live frames: channels are shared by all databases and prefixes of a server.
    pub(super) namespace: String,
}

impl Names {
    pub(super) fn new(prefix: &str, database: u8) -> Self {
        Self { prefix: prefix.to_owned(), namespace: format!("{prefix}/{database}") }
    }

    /// The stored events of a room, as a stream.
    pub(super) fn stream(&self, room: &Room) -> String {
        format!("{}:{{{}}}:s", self.prefix, room.broker_name())
    }

    /// What is known of a room's history: epoch, counter, last fingerprint, bytes held.
    pub(super) fn meta(&self, room: &Room) -> String {
        format!("{}:{{{}}}:m", self.prefix, room.broker_name())
    }

    /// Where an event id was stored.
    pub(super) fn id(&self, room: &Room, id: &str) -> String {
        format!("{}:{{{}}}:i:{id}", self.prefix, room.broker_name())
    }

    /// An execution's head.
    pub(super) fn head(&self, room: &Room) -> String {
        format!("{}:{{{}}}:h", self.prefix, room.broker_name())
    }

    /// Who owns a knowledge base.
    pub(super) fn owner(&self, room: &Room) -> String {
        format!("{}:{{{}}}:o", self.prefix, room.broker_name())
    }

    /// The two ordered sets of a list of heads: by creation, and by expiry. An owner's list, or all of a tenant.
    pub(super) fn head_list(&self, tenant: Option<&str>, owner: Option<&str>) -> [String; 2] {
        let tenant = tenant.map(|tenant| format!("/{tenant}")).unwrap_or_default();
        let owner = owner.map(|owner| format!(":by:{owner}")).unwrap_or_default();
        ["c", "x"].map(|set| format!("{}:{{heads{tenant}{owner}}}:{set}", self.prefix))
    }

    /// The announcements of a kind: an ordered set by expiry, and a hash of values.
    pub(super) fn present(&self, kind: &str) -> [String; 2] {
        ["x", "v"].map(|part| format!("{}:{{present:{kind}}}:{part}", self.prefix))
    }

    /// A record.
    pub(super) fn record(&self, kind: Record, id: &str) -> String {
        format!("{}:record:{}:{id}", self.prefix, kind.word())
    }

    /// A journal, as a stream.
    pub(super) fn journal(&self, journal: Journal) -> String {
        format!("{}:journal:{}", self.prefix, journal.word())
    }

    /// Who serves an address.
    pub(super) fn registration(&self, address: &str) -> String {
        format!("{}:serving:{address}", self.prefix)
    }

    /// Where commands for an address are published.
    pub(super) fn commands(&self, address: &str) -> String {
        format!("{}:cmd:{address}", self.prefix)
    }

    /// Where a process takes replies.
    pub(super) fn replies(&self, process: &str) -> String {
        format!("{}:reply:{process}", self.prefix)
    }

    /// Where a process hears its own canary.
    pub(super) fn canary(&self, process: &str) -> String {
        format!("{}:canary:{process}", self.prefix)
    }
}
