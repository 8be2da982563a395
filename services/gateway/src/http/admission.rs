//! How fast clients are let in: as fast as this process can bear, whoever cannot be told to wait first.
//!
//! After a deploy, or the death of a sibling, thousands connect within a second. Each connect costs a handshake, a token, a
//! subscribe and perhaps a read of history; too many at once and nobody is served, so that all try again.
//!
//! Connects draw from one budget: so many a second, and [`BURST_SECS`] of that at once. Beyond it
//! - who heeds no hint (Socket.IO, and the plain WebSockets of other systems) has its handshake answered when its turn
//!   comes, up to [`WAIT_MAX`]: their libraries give up after a few refusals, and wait for an answer without complaint.
//!   Who waits has taken its share in advance, so that nobody who can be told to come back gets in before it;
//! - who heeds hints is told when its share will be there, each its own moment, and comes back then;
//! - further ones are refused.

use super::{App, answer::Refusal};
use crate::{
    hub::{Heeds, Place},
    metrics::{Metrics, TurnedAway},
};
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use weft_dialect::told::{self, ErrorCode};

/// Connects at once after a pause, in seconds of the rate: with 5,000 a second all clients of a sibling that has died.
const BURST_SECS: u64 = 4;
/// Longest wait for an answer to a handshake. Socket.IO's clients take 20 s for a timeout, and try five times.
const WAIT_MAX: Duration = Duration::from_secs(8);
/// Handshakes that wait at once: each holds a request of some KiB.
const WAITING_MAX: usize = 8192;
/// How far ahead moments are promised; who comes when more is promised is refused.
const PROMISES_MAX: Duration = Duration::from_secs(10);

/// What becomes of who would connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Now,
    /// It is told to come back after this.
    Later(Duration),
    /// It is refused, and may try again after this.
    Refused(Duration),
}

/// The budget of a process.
#[derive(Debug)]
pub struct Admissions {
    /// Microseconds of the budget that a connect takes; 0: there is no bound.
    each_us: u64,
    began: Instant,
    queue: Mutex<Queue>,
    waiting: Semaphore,
}

/// What has been given out, in microseconds of a clock that does not go back.
#[derive(Debug, Default)]
struct Queue {
    /// When the budget would be whole again.
    whole_at: u64,
    /// The last moment that was promised.
    promised: u64,
}

/// What the queue says to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Now,
    /// Taken in advance; to be used after so many microseconds.
    Wait(u64),
    Promised(u64),
    Refused(u64),
}

impl Queue {
    fn ask(&mut self, heeds: Heeds, now: u64, each: u64) -> Turn {
        let burst = BURST_SECS * 1_000_000;
        let whole_at = self.whole_at.max(now) + each;
        let wait = (whole_at - now).saturating_sub(burst);
        if wait == 0 {
            self.whole_at = whole_at;
            return Turn::Now;
        }
        match heeds {
            Heeds::Nothing | Heeds::Never if wait <= micros(WAIT_MAX) => {
                self.whole_at = whole_at;
                Turn::Wait(wait)
            }
            Heeds::Nothing | Heeds::Never => Turn::Refused(wait),
            Heeds::Hints => {
                let moment = self.promised.max(now + wait - each) + each;
                if moment - now > micros(PROMISES_MAX) {
                    return Turn::Refused(moment - now);
                }
                self.promised = moment;
                Turn::Promised(moment - now)
            }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Admissions {
    /// So many connects a second; 0: as many as come.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let each_us = if per_second == 0 { 0 } else { (1_000_000 / u64::from(per_second)).max(1) };
        Self { each_us, began: Instant::now(), queue: Mutex::default(), waiting: Semaphore::new(WAITING_MAX) }
    }

    /// What becomes of one more; where that is to wait, it has waited.
    pub async fn ask(&self, heeds: Heeds, metrics: &Metrics) -> Admission {
        if self.each_us == 0 {
            return Admission::Now;
        }
        let now = micros(self.began.elapsed());
        let turn = self.queue.lock().ask(heeds, now, self.each_us);
        let wait = match turn {
            Turn::Now => return Admission::Now,
            Turn::Wait(wait) => Duration::from_micros(wait),
            Turn::Promised(after) => return Admission::Later(Duration::from_micros(after)),
            Turn::Refused(after) => return Admission::Refused(Duration::from_micros(after)),
        };
        let Ok(_permit) = self.waiting.try_acquire() else { return Admission::Refused(wait) };
        let _shown = metrics.begin_waiting();
        tokio::time::sleep(wait).await;
        Admission::Now
    }
}

/// Pause of who is turned away because there is no place, or because this process leaves: by the time there may be one,
/// or a balancer has heard.
const PAUSE_SECS: std::ops::RangeInclusive<u64> = 1..=3;

/// A random pause before somebody tries again, so that those who are turned away together do not come together.
pub(super) fn pause() -> Duration {
    Duration::from_millis(rand::random_range(*PAUSE_SECS.start() * 1000..=*PAUSE_SECS.end() * 1000))
}

/// Refuses, and says when to try again: in whole seconds, as HTTP has it.
pub(super) fn refuse(app: &App, code: ErrorCode, why: TurnedAway, after: Duration) -> Refusal {
    app.shared.hub.metrics.turned_away(why);
    Refusal::plain(code).retry_after(after.as_millis().div_ceil(1000).max(1) as u64)
}

/// The refusal of a process that leaves.
pub(super) fn check_draining(app: &App) -> Result<(), Refusal> {
    match app.shared.hub.is_draining() {
        true => Err(refuse(app, told::DRAINING, TurnedAway::Draining, pause())),
        false => Ok(()),
    }
}

/// Lets somebody in, perhaps after a while, or says how long it is to stay away.
pub(super) async fn ask(app: &App, heeds: Heeds) -> Result<Option<Duration>, Refusal> {
    check_draining(app)?;
    match app.admissions.ask(heeds, &app.shared.hub.metrics).await {
        Admission::Now => check_draining(app).map(|()| None),
        Admission::Later(after) => Ok(Some(after)),
        Admission::Refused(after) => Err(refuse(app, told::OVERLOADED, TurnedAway::Rate, after + pause())),
    }
}

/// A place for an event stream, or how long its client is to stay away: it would take any refusal for final.
pub(super) async fn stream(app: &App) -> Result<Place, Duration> {
    let hub = &app.shared.hub;
    let turned_away = |why, after| {
        hub.metrics.turned_away(why);
        after
    };
    if hub.is_draining() {
        return Err(turned_away(TurnedAway::Draining, pause()));
    }
    match app.admissions.ask(Heeds::Hints, &hub.metrics).await {
        Admission::Now => hub.admit(Heeds::Hints).ok_or_else(|| turned_away(TurnedAway::Capacity, pause())),
        Admission::Later(after) | Admission::Refused(after) => Err(turned_away(TurnedAway::Rate, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// Asks so many times at once; how each was answered.
    fn ask(queue: &mut Queue, heeds: Heeds, now: u64, count: usize) -> Vec<Turn> {
        (0..count).map(|_| queue.ask(heeds, now, SECOND / 100)).collect()
    }

    #[test]
    fn a_burst_is_served_at_once_and_then_the_rate() {
        let mut queue = Queue::default();
        let at_once = |turns: &[Turn]| turns.iter().filter(|turn| **turn == Turn::Now).count();
        assert_eq!(at_once(&ask(&mut queue, Heeds::Hints, 0, 1000)), 400);
        assert_eq!(at_once(&ask(&mut queue, Heeds::Hints, SECOND, 1000)), 100);
        assert_eq!(at_once(&ask(&mut queue, Heeds::Hints, 60 * SECOND, 1000)), 400, "never more than the burst");
    }

    #[test]
    fn who_comes_back_when_it_was_told_is_let_in() {
        let mut queue = Queue::default();
        let turns = ask(&mut queue, Heeds::Hints, 0, 2000);
        let mut told: Vec<u64> =
            turns.iter().filter_map(|turn| if let Turn::Promised(after) = turn { Some(*after) } else { None }).collect();
        assert_eq!(told.len(), 1000, "ten seconds are promised");
        assert!(matches!(turns[1999], Turn::Refused(_)));
        told.sort_unstable();
        assert!(told.windows(2).all(|two| two[0] < two[1]), "each its own moment");
        for after in told {
            assert_eq!(queue.ask(Heeds::Hints, after, SECOND / 100), Turn::Now, "{after}");
        }
    }

    #[test]
    fn who_cannot_be_told_waits_and_goes_first() {
        let mut queue = Queue::default();
        ask(&mut queue, Heeds::Hints, 0, 400);
        let waits = ask(&mut queue, Heeds::Nothing, 0, 1000);
        assert_eq!(
            (waits[0], waits[799], waits[800]),
            (Turn::Wait(SECOND / 100), Turn::Wait(8 * SECOND), Turn::Refused(8 * SECOND + SECOND / 100))
        );
        // Until the last of them is in, nobody who can be told gets in.
        assert!(matches!(queue.ask(Heeds::Hints, 7 * SECOND, SECOND / 100), Turn::Promised(_)));
        assert_eq!(queue.ask(Heeds::Hints, 9 * SECOND, SECOND / 100), Turn::Now);
    }
}
