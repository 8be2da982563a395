//! Who is asking, as the rest of a process knows them.

use crate::{Identity, access};
use std::{sync::Arc, time::Duration};
use weft_event::{Invalid, Room};

/// Who is asking.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody authenticates here: whoever it is may do everything.
    Everyone,
    /// Somebody without a token, who may follow what is public.
    Guest,
    /// Somebody with a verified token.
    User(Arc<Identity>),
}

impl Caller {
    /// The user, where there is one.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.identity().map(|identity| &*identity.subject)
    }

    /// The tenant that all its rooms are in.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.identity()?.tenant.as_deref()
    }

    /// Who it is by its token.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::User(identity) => Some(identity),
            Self::Everyone | Self::Guest => None,
        }
    }

    /// The room that it means by a name: always one of its own tenant.
    pub fn room(&self, name: &str) -> Result<Room, Invalid> {
        self.at_home(&Room::parse(name)?)
    }

    /// The same room inside its tenant; for rooms that were named without one.
    pub fn at_home(&self, room: &Room) -> Result<Room, Invalid> {
        room.in_tenant(self.tenant())
    }

    /// Whether it sees everything of its tenant.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.has(|scopes| scopes.admin)
    }

    /// Whether it may take commands as an executor.
    #[must_use]
    pub fn may_run(&self) -> bool {
        self.has(|scopes| scopes.run)
    }

    fn has(&self, scope: impl Fn(&access::Scopes) -> bool) -> bool {
        match self {
            Self::Everyone => true,
            Self::Guest => false,
            Self::User(identity) => scope(&identity.scopes),
        }
    }

    /// How long its token lasts from now on; `None`: for ever. To be counted on a monotonic clock from here, so that a step
    /// of the wall clock neither prolongs nor ends anything.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let expires_at = self.identity()?.expires_at;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Some(Duration::from_secs(expires_at).saturating_sub(now))
    }
}
