//! When connections are closed that have done nothing wrong: evenly, so that those who come back do not come together.

use super::Heeds;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seconds in which everybody is closed who heeds no hint. The client of Socket.IO tries to come back five times within
/// about 17 s and then never again: while its own gateway leaves, others still have room for it.
const FIRST_PART_SECS_MAX: f64 = 10.0;

/// Seconds between the two parts. Clients of Socket.IO are back half a second later than others: without a pause the last of
/// theirs and the first of the others would come together.
const PAUSE_SECS: f64 = 1.0;
/// Of a short window, no larger part is spent on it.
const PAUSE_PART_MAX: f64 = 0.2;

/// The closes of a process that leaves.
///
/// First those are closed who heed no hint, then, after a pause, all others over what is left of the window. All at one
/// pace, unless the first part has to be faster to be over in time. Each connection draws the next second of its part: even whatever
/// the order in which they draw.
pub struct Departures {
    /// The second of the wheel in which they begin.
    began: u32,
    /// Of those who heed nothing, and of the others.
    first: Part,
    rest: Part,
}

struct Part {
    from_secs: f64,
    secs: f64,
    count: usize,
    drawn: AtomicUsize,
}

impl Part {
    fn new(from_secs: f64, secs: f64, count: usize) -> Self {
        Self { from_secs, secs, count: count.max(1), drawn: AtomicUsize::new(0) }
    }

    /// Who draws more than were counted, having come meanwhile, draws the last.
    fn draw(&self) -> f64 {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed).min(self.count - 1);
        self.from_secs + self.secs * number as f64 / self.count as f64
    }
}

impl Departures {
    /// From now on, over so many seconds, of so many connections that heed no hint and so many that do.
    #[must_use]
    pub fn plan(now: u32, window_secs: u32, [unhinted, hinted]: [usize; 2]) -> Self {
        let window = f64::from(window_secs);
        let pause = if unhinted > 0 && hinted > 0 { PAUSE_SECS.min(window * PAUSE_PART_MAX) } else { 0.0 };
        let share = unhinted as f64 / (unhinted + hinted).max(1) as f64;
        let first_part = ((window - pause) * share).min(FIRST_PART_SECS_MAX);
        let rest_from = first_part + pause;
        let (first, rest) = (Part::new(0.0, first_part, unhinted), Part::new(rest_from, window - rest_from, hinted));
        Self { began: now, first, rest }
    }

    /// The second in which the connection that asks is to be closed; each asks once.
    pub fn draw(&self, heeds: Heeds) -> u32 {
        let part = if heeds == Heeds::Hints { &self.rest } else { &self.first };
        // At least the next one: a hint needs a moment's lead.
        self.began + 1 + part.draw() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(departures: &Departures, heeds: Heeds, count: usize) -> Vec<u32> {
        (0..count).map(|_| departures.draw(heeds)).collect()
    }

    /// The most that are closed in one second.
    fn peak(seconds: &[u32]) -> usize {
        seconds.iter().map(|second| seconds.iter().filter(|other| *other == second).count()).max().unwrap_or(0)
    }

    #[test]
    fn those_without_hints_go_first_and_all_at_one_pace() {
        let departures = Departures::plan(100, 60, [100, 900]);
        let (first, rest) = (drawn(&departures, Heeds::Nothing, 100), drawn(&departures, Heeds::Hints, 900));
        assert_eq!((first[0], first[99], rest[0], rest[899]), (101, 106, 107, 160));
        assert!(peak(&[first, rest].concat()) <= 17, "1000 of them over 60 s");
    }

    #[test]
    fn many_without_hints_go_within_ten_seconds_all_the_same() {
        let departures = Departures::plan(0, 60, [600, 100]);
        let (first, rest) = (drawn(&departures, Heeds::Nothing, 600), drawn(&departures, Heeds::Hints, 100));
        assert!(first.iter().all(|at| (1..=10).contains(at)) && rest.iter().all(|at| (11..=60).contains(at)));
        assert_eq!(peak(&first), 60);
    }

    #[test]
    fn windows_and_counts_of_nothing() {
        for (window, counts) in [(0, [0, 0]), (0, [5, 5]), (1, [1, 0]), (5, [0, 3]), (5, [3, 0])] {
            let departures = Departures::plan(7, window, counts);
            for heeds in [Heeds::Nothing, Heeds::Never, Heeds::Hints] {
                assert!(drawn(&departures, heeds, 10).iter().all(|at| (8..=8 + window).contains(at)), "{window} {counts:?}");
            }
        }
        let all_native = Departures::plan(0, 4, [0, 8]);
        assert_eq!(drawn(&all_native, Heeds::Hints, 8), [1, 1, 2, 2, 3, 3, 4, 4]);
    }
}
