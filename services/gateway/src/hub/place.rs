//! Connections as they are counted: each has a place, which is given back when it ends.

use super::{Hub, SessionCell};
use crate::{metrics::Kind, transport::Dialect};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What a client makes of a hint when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heeds {
    /// Nothing: it comes back when its own library does, a few times.
    Nothing,
    /// Nothing, and it does not come back by itself at all.
    Never,
    /// It comes back when it is told.
    Hints,
}

impl Heeds {
    /// Of who speaks this, if its dialect says all.
    #[must_use]
    pub fn of(dialect: Dialect, names_our_protocol: bool) -> Self {
        match dialect {
            // System C's client shows its user that the connection is lost.
            Dialect::C => Self::Never,
            // An `EventSource` heeds `retry`.
            Dialect::Sse => Self::Hints,
            // Our own clients name the protocol that they speak. Whoever does not is B's, which knows of no hints.
            Dialect::Native if names_our_protocol => Self::Hints,
            Dialect::Native | Dialect::E | Dialect::SocketIo => Self::Nothing,
        }
    }
}

/// The connections open now, by what their clients heed.
#[derive(Default)]
pub(super) struct Open([AtomicUsize; 3]);

impl Open {
    pub(super) fn of(&self, heeds: Heeds) -> usize {
        self.0[heeds as usize].load(Ordering::Relaxed)
    }

    pub(super) fn all(&self) -> usize {
        self.of(Heeds::Nothing) + self.of(Heeds::Never) + self.of(Heeds::Hints)
    }
}

/// A connection that is counted.
pub struct Place {
    hub: Arc<Hub>,
    /// Its session's, once it has one.
    key: u32,
    heeds: Heeds,
    /// As which it is counted, once it has a session.
    kind: Option<Kind>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hub.open.0[self.heeds as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// A registered session.
pub struct Joined(Place);

impl Joined {
    /// A small number that differs between the sessions open at once.
    pub fn number(&self) -> usize {
        self.0.key as usize
    }

    /// What its client heeds.
    pub fn heeds(&self) -> Heeds {
        self.0.heeds
    }

    /// Whether its client polls.
    pub fn set_polled(&mut self, is_polled: bool) {
        if let Some(kind) = &mut self.0.kind
            && (*kind == Kind::Polling) != is_polled
        {
            let now = Kind::of(Dialect::SocketIo, is_polled);
            self.0.hub.metrics.moved(std::mem::replace(kind, now), now);
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.0.hub.sessions.lock().remove(self.0.key);
        self.0.kind.iter().for_each(|kind| self.0.hub.metrics.left(*kind));
    }
}

impl Hub {
    /// A place for one more connection, if there is one; given back when it is dropped.
    pub fn admit(self: &Arc<Self>, heeds: Heeds) -> Option<Place> {
        self.open.0[heeds as usize].fetch_add(1, Ordering::Relaxed);
        let place = Place { hub: self.clone(), key: 0, heeds, kind: None };
        (self.open.all() <= self.limits.connections).then_some(place)
    }

    /// Registers a session; the guard takes it out again.
    pub fn join(&self, mut place: Place, cell: Arc<SessionCell>, kind: Kind) -> Joined {
        place.key = self.sessions.lock().insert(cell);
        place.kind = Some(kind);
        self.metrics.opened(kind);
        Joined(place)
    }

    /// How many sessions are open.
    pub fn session_count(&self) -> usize {
        self.open.all()
    }

    /// Those of clients that heed this.
    pub fn session_count_of(&self, heeds: Heeds) -> usize {
        self.open.of(heeds)
    }
}
