//! When connections are closed that have done nothing wrong: evenly, so that those who come back do not come together.

use super::Heeds;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seconds in which everybody is closed who heeds no hint. The client of Socket.IO tries to come back five times within
/// about 17 s and then never again: while its own gateway leaves, others still have room for it.
const FIRST_PART_SECS_MAX: f64 = 10.0;

/// Seconds between the two parts. Clients of Socket.IO wait for half a second to one and a half before they come back, others
/// come when they are told: without a pause the last of theirs and the first of the others would come together.
const PAUSE_SECS: f64 = 1.0;
/// Of a short window, no larger part is spent on it.
const PAUSE_PART_MAX: f64 = 0.2;

/// The closes of a process that leaves.
///
/// First those are closed who heed no hint, then, after a pause, all others over what is left of the window. All at one
/// pace, unless the first part has to be faster to be over in time. Each connection draws the next moment of its part: even
/// whatever the order in which they draw.
pub struct Departures {
    /// The second of the wheel in which they begin.
    began: u32,
    /// Of those who heed nothing, and of the others.
    first: Part,
    rest: Part,
}

/// When one connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The second of the wheel.
    pub at: u32,
    /// How far in this second its moment lies, in milliseconds. Sessions are closed as the second begins; so long after it
    /// their clients are to come back.
    pub after_ms: u16,
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

    /// When the connection that asks is to be closed; each asks once.
    pub fn draw(&self, heeds: Heeds) -> Departure {
        let part = if heeds == Heeds::Hints { &self.rest } else { &self.first };
        let moment = part.draw();
        // At least the next second: a hint needs a moment's lead.
        Departure { at: self.began + 1 + moment as u32, after_ms: (moment.fract() * 1000.0) as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(departures: &Departures, heeds: Heeds, count: usize) -> Vec<Departure> {
        (0..count).map(|_| departures.draw(heeds)).collect()
    }

    fn seconds(drawn: &[Departure]) -> Vec<u32> {
        drawn.iter().map(|departure| departure.at).collect()
    }

    /// The most that are closed in one second.
    fn peak(seconds: &[u32]) -> usize {
        seconds.iter().map(|second| seconds.iter().filter(|other| *other == second).count()).max().unwrap_or(0)
    }

    /// The most within any second that is not the wheel's, of times in milliseconds.
    fn sliding_peak(times: &mut [u64]) -> usize {
        times.sort_unstable();
        let within = |from: &u64| times.iter().filter(|time| (*from..from + 1000).contains(*time)).count();
        times.iter().map(within).max().unwrap_or(0)
    }

    #[test]
    fn those_without_hints_go_first_and_all_at_one_pace() {
        let departures = Departures::plan(100, 60, [100, 900]);
        let (first, rest) = (drawn(&departures, Heeds::Nothing, 100), drawn(&departures, Heeds::Hints, 900));
        let (first, rest) = (seconds(&first), seconds(&rest));
        assert_eq!((first[0], first[99], rest[0], rest[899]), (101, 106, 107, 160));
        assert!(peak(&[first, rest].concat()) <= 17, "1000 of them over 60 s");
    }

    /// Who heeds hints comes when it is told, who does not half a second to one and a half after its close.
    #[test]
    fn those_who_come_back_come_at_one_pace_too() {
        for (window, counts) in [(10, [275, 200]), (10, [300, 100]), (60, [100, 900]), (20, [40, 400]), (10, [500, 20])] {
            let departures = Departures::plan(0, window, counts);
            let hinted = drawn(&departures, Heeds::Hints, counts[1]);
            let unhinted = drawn(&departures, Heeds::Nothing, counts[0]);
            let told = hinted.iter().map(|of| u64::from(of.at) * 1000 + u64::from(of.after_ms));
            // A fixed sequence that is spread as chance would have it, but without its luck.
            let late = |number: usize| 500.0 + (number as f64 * 0.618_034).fract() * 1000.0;
            let own = unhinted.iter().enumerate().map(|(number, of)| u64::from(of.at) * 1000 + late(number) as u64);
            let most = sliding_peak(&mut told.chain(own).collect::<Vec<_>>());
            let mean = counts.iter().sum::<usize>() as f64 / f64::from(window);
            assert!((most as f64) < 1.2 * mean, "{counts:?} over {window} s: {most} in a second, {mean} in the mean");
        }
    }

    #[test]
    fn many_without_hints_go_within_ten_seconds_all_the_same() {
        let departures = Departures::plan(0, 60, [600, 100]);
        let first = seconds(&drawn(&departures, Heeds::Nothing, 600));
        let rest = seconds(&drawn(&departures, Heeds::Hints, 100));
        assert!(first.iter().all(|at| (1..=10).contains(at)) && rest.iter().all(|at| (11..=60).contains(at)));
        assert_eq!(peak(&first), 60);
    }

    #[test]
    fn windows_and_counts_of_nothing() {
        for (window, counts) in [(0, [0, 0]), (0, [5, 5]), (1, [1, 0]), (5, [0, 3]), (5, [3, 0])] {
            let departures = Departures::plan(7, window, counts);
            for heeds in [Heeds::Nothing, Heeds::Never, Heeds::Hints] {
                let seconds = seconds(&drawn(&departures, heeds, 10));
                assert!(seconds.iter().all(|at| (8..=8 + window).contains(at)), "{window} {counts:?}");
            }
        }
        let all_native = drawn(&Departures::plan(0, 4, [0, 8]), Heeds::Hints, 8);
        assert_eq!(seconds(&all_native), [1, 1, 2, 2, 3, 3, 4, 4]);
        assert_eq!((all_native[0].after_ms, all_native[1].after_ms), (0, 500));
    }
}
