//! Who a client is, and what it may do: the one place that is asked.

use weft_dialect::socketio::{Auth, ConnectRefusal};
use weft_event::Room;

/// Whom a connection speaks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The tenant of its token.
    pub tenant: Option<String>,
    /// The subject of its token; `None` of a client without one.
    pub subject: Option<String>,
}

/// Who says this of itself. Without authentication everybody is nobody in particular.
pub fn who(_auth: &Auth) -> Result<Who, ConnectRefusal> {
    Ok(Who::default())
}

/// Whether it may follow a room, asked at every subscribe and again at every recovery: a secret is not authority.
/// Without authentication whoever comes in may.
pub fn may_follow(_who: &Who, _room: &Room) -> bool {
    true
}
