//! What the checker found, in numbers and in a few examples.

use crate::record::Record;
use std::fmt;

/// Examples that are kept; the numbers count all.
const SAMPLES_MAX: usize = 12;

/// The counts of one client, or the sum over all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Acknowledged events that it was owed.
    pub expected: u64,
    /// Events that it received.
    pub received: u64,
    /// Owed, not received, and no gap declared.
    pub lost: u64,
    /// Received again.
    pub duplicated: u64,
    /// Received after a later one of the same source.
    pub misordered: u64,
    /// Received though nobody published it, or not into a followed room, or not what the protocol allows.
    pub unexpected: u64,
    /// Runs of lost events.
    pub gaps_silent: u64,
    /// Gaps that it was told of.
    pub gaps_declared: u64,
    /// Owed and not received, at the place of a declared gap.
    pub excused: u64,
    /// Owed, and not received because another frame stands for it, as the client wished.
    pub spared: u64,
}

/// What the store lacks or holds twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreTally {
    /// Acknowledged but not stored.
    pub lost: u64,
    /// Stored again.
    pub duplicated: u64,
}

/// What the checker found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The sum over all clients.
    pub clients: Tally,
    /// The store against the acknowledgements.
    pub store: StoreTally,
    /// Events at another place for one client than for others.
    pub disagreed: u64,
    /// How many events were acknowledged.
    pub acknowledged: usize,
    /// How many clients were checked.
    pub clients_checked: usize,
    /// The fewest complete resumes of any client.
    pub resumes_min: u32,
    /// The complete resumes of all clients.
    pub resumes: u64,
    /// The clients with a fault.
    pub faulty: Vec<String>,
    /// Some of the faults, in words.
    pub samples: Vec<String>,
}

impl Verdict {
    pub(super) fn new(acknowledged: usize, clients: usize) -> Self {
        Self {
            clients: Tally::default(),
            store: StoreTally::default(),
            disagreed: 0,
            acknowledged,
            clients_checked: clients,
            resumes_min: if clients == 0 { 0 } else { u32::MAX },
            resumes: 0,
            faulty: Vec::new(),
            samples: Vec::new(),
        }
    }

    pub(super) fn sample(&mut self, words: impl FnOnce() -> String) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(words());
        }
    }

    pub(super) fn add(&mut self, tally: &Tally, record: &Record) {
        let sum = &mut self.clients;
        sum.expected += tally.expected;
        sum.received += tally.received;
        sum.lost += tally.lost;
        sum.duplicated += tally.duplicated;
        sum.misordered += tally.misordered;
        sum.unexpected += tally.unexpected;
        sum.gaps_silent += tally.gaps_silent;
        sum.gaps_declared += tally.gaps_declared;
        sum.excused += tally.excused;
        sum.spared += tally.spared;
        self.resumes_min = self.resumes_min.min(record.resumes);
        self.resumes += u64::from(record.resumes);
        if tally.lost + tally.duplicated + tally.misordered + tally.unexpected > 0 {
            self.faulty.push(record.client.clone());
        }
    }

    /// No fault; declared gaps are none.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let Tally { lost, duplicated, misordered, unexpected, .. } = self.clients;
        lost + duplicated + misordered + unexpected + self.disagreed + self.store.lost + self.store.duplicated == 0
    }

    /// No fault and no declared gap either: every client saw everything, or what it wished for of it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_sound() && self.clients.gaps_declared == 0 && self.clients.excused == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { expected, received, lost, duplicated, misordered, unexpected, gaps_silent, gaps_declared, excused, spared } =
            self.clients;
        write!(f, "lost {lost}, duplicated {duplicated}, misordered {misordered}, unexpected {unexpected}, ")?;
        write!(f, "silent gaps {gaps_silent}, out of the common order {} of {expected} deliveries ", self.disagreed)?;
        write!(f, "(received {received}, {} clients, {} events acknowledged; ", self.clients_checked, self.acknowledged)?;
        write!(f, "acknowledged but not stored {}, stored twice {}; ", self.store.lost, self.store.duplicated)?;
        write!(f, "declared gaps {gaps_declared} over {excused} events; spared {spared}; ")?;
        write!(f, "resumes {}, at least {} a client)", self.resumes, self.resumes_min)?;
        if !self.faulty.is_empty() {
            write!(f, "\n  faults of {}", self.faulty.join(", "))?;
        }
        self.samples.iter().try_for_each(|sample| write!(f, "\n  {sample}"))
    }
}
