//! What this process has done: the rates that the fleet is told, and a line of the log each half minute that stands for one
//! for each connection.

use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Between two summaries in the log.
pub const SUMMARY_EVERY: Duration = Duration::from_secs(30);

/// Counts since the process began, and what the log was told of them.
#[derive(Debug)]
pub struct Done {
    events: AtomicU64,
    deliveries: AtomicU64,
    failed: AtomicU64,
    opened: AtomicU64,
    turned_away: AtomicU64,
    told: Mutex<Told>,
}

/// What the log was told last, and what it is told next.
#[derive(Debug)]
struct Told {
    at: Instant,
    counts: [u64; 5],
    /// Closes since then, by code and reason: as many as the metric has series.
    closed: BTreeMap<(String, &'static str), u64>,
}

impl Default for Done {
    fn default() -> Self {
        Self {
            events: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            told: Mutex::new(Told { at: Instant::now(), counts: [0; 5], closed: BTreeMap::new() }),
        }
    }
}

impl Done {
    /// Events received, and deliveries made.
    #[must_use]
    pub fn counts(&self) -> [u64; 2] {
        [&self.events, &self.deliveries].map(|count| count.load(Relaxed))
    }

    /// One more event; how many were before it.
    pub(super) fn received(&self) -> u64 {
        self.events.fetch_add(1, Relaxed)
    }

    pub(super) fn delivered(&self, events: u64) {
        self.deliveries.fetch_add(events, Relaxed);
    }

    pub(super) fn failed(&self, events: u64) {
        self.failed.fetch_add(events, Relaxed);
    }

    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    pub(super) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Relaxed);
    }

    pub(super) fn closed(&self, code: &str, reason: &'static str) {
        *self.told.lock().closed.entry((code.to_owned(), reason)).or_default() += 1;
    }

    /// Tells the log what was done since it was last told, if anything was; `connections` are open now.
    pub fn summarize(&self, connections: usize) {
        let counts = [&self.events, &self.deliveries, &self.failed, &self.opened, &self.turned_away];
        let counts = counts.map(|count| count.load(Relaxed));
        let mut told = self.told.lock();
        let seconds = std::mem::replace(&mut told.at, Instant::now()).elapsed().as_secs();
        let before = std::mem::replace(&mut told.counts, counts);
        let closed = std::mem::take(&mut told.closed);
        drop(told);
        let [events, deliveries, failed, opened, turned_away] = std::array::from_fn(|index| counts[index] - before[index]);
        if counts == before && closed.is_empty() {
            return;
        }
        let (closes, ends) = (closed.values().sum::<u64>(), listed(&closed));
        tracing::info!(
            seconds,
            connections,
            opened,
            closed = closes,
            ends,
            turned_away,
            events,
            deliveries,
            failed_deliveries = failed,
            "summary"
        );
    }
}

/// Such as `1000 client: 3, 1012 drain: 40`.
fn listed(closed: &BTreeMap<(String, &'static str), u64>) -> String {
    let mut list = String::new();
    for ((code, reason), count) in closed {
        let comma = if list.is_empty() { "" } else { ", " };
        // A string takes everything.
        let _ = write!(list, "{comma}{code} {reason}: {count}");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closes_are_listed_by_code_and_told_once() {
        let done = Done::default();
        for (code, reason) in [("1012", "drain"), ("1000", "client"), ("1012", "drain")] {
            done.closed(code, reason);
        }
        assert_eq!(listed(&done.told.lock().closed), "1000 client: 1, 1012 drain: 2");
        done.summarize(7);
        assert!(done.told.lock().closed.is_empty());
    }
}
