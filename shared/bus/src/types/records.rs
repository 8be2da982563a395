//! What is kept beside events: announcements of processes, records of sessions, journals.

use std::time::Duration;

/// How long an announcement of a process lives unless renewed.
pub const PRESENCE_LIFETIME: Duration = Duration::from_secs(30);

/// Which processes announce themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Presence {
    /// Gateways, for the fleet list.
    Gateway,
    /// Executors, with the workflows they run.
    Executor,
}

impl Presence {
    /// The word in broker names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Executor => "executor",
        }
    }
}

/// Small values under a name, each written whole, kept for [`BusConfig::record_age`](crate::BusConfig::record_age).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// What a session followed, so that any gateway can go on with it.
    Recovery,
}

impl Record {
    /// The word in broker names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Recovery => "recovery",
        }
    }
}

/// Lines that every process reads in the order they were written, kept for
/// [`BusConfig::journal_age`](crate::BusConfig::journal_age). Not for events: it is small, and read from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Journal {
    /// Who may no longer come in.
    Revocations,
}

impl Journal {
    /// The word in broker names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Revocations => "revocations",
        }
    }
}

/// How far a journal has been read. The default is its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Which journal this was: another number means that it was lost and begun again.
    pub(crate) generation: u64,
    /// The last line read.
    pub(crate) line: (u64, u64),
}

/// What a journal got after a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The lines, oldest first.
    pub lines: Vec<bytes::Bytes>,
    /// Where to read on.
    pub mark: Mark,
    /// Whether more follow at once.
    pub more: bool,
}
