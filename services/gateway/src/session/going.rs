//! Connections that we end though they have done nothing wrong: because the process leaves, because they are old, or
//! because an operator asked. Their clients are told when to come back, and go on elsewhere.

use super::{End, Session, SessionLimits};
use crate::hub::{Departure, Heeds};
use parking_lot::Mutex;

/// Of the maximum age, by so much more or less: what came together is not to go together.
const AGE_JITTER: f64 = 0.2;
/// Between the hint and the close of a connection that is too old: answers under way may still come.
const NOTICE_SECS: u32 = 1;
/// Clients come back within so long after their close. Closes are spread by the second; this spreads them within it.
const AFTER_MS_MAX: u16 = 1000;

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The process leaves.
    Drain,
    /// It is as old as connections get.
    MaxAge,
    /// An operator wants fewer here.
    Shed,
    /// An operator wants this one gone.
    Operator,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Drain, Self::MaxAge, Self::Shed, Self::Operator];

    /// The word in close reasons and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::MaxAge => "max_age",
            Self::Shed => "shed",
            Self::Operator => "operator",
        }
    }
}

/// When a session goes.
#[derive(Clone, Copy)]
pub(super) struct Going {
    /// Without a cause, the second in which it is too old; with one, that of its close.
    at: u32,
    /// Milliseconds from its close until its client comes back.
    after_ms: u16,
    /// Set when its client has been told.
    cause: Option<Cause>,
}

impl Going {
    /// Of a connection that begins now.
    pub(super) fn of_age(now: u32, heeds: Heeds, limits: &SessionLimits) -> Self {
        let is_kept = limits.age_secs == 0 || heeds == Heeds::Never;
        let jitter = 1.0 + rand::random_range(-AGE_JITTER..AGE_JITTER);
        let age = (f64::from(limits.age_secs) * jitter).max(1.0) as u32;
        Self { at: if is_kept { u32::MAX } else { now.saturating_add(age) }, after_ms: 0, cause: None }
    }

    /// When it must be looked at.
    pub(super) fn due(&self) -> u32 {
        self.at
    }
}

/// An operator wants so many connections gone, whichever: each that is asked is chosen with the odds that are left, so
/// that it comes out even without anybody's knowing all of them.
#[derive(Debug)]
pub struct Shed {
    began: u32,
    secs: u32,
    count: usize,
    left: Mutex<Left>,
}

#[derive(Debug)]
struct Left {
    unasked: usize,
    wanted: usize,
}

impl Shed {
    /// `count` of `open`, spread over so many seconds from `now` on.
    #[must_use]
    pub fn new(now: u32, secs: u32, open: usize, count: usize) -> Self {
        Self { began: now, secs, count, left: Mutex::new(Left { unasked: open, wanted: count }) }
    }

    /// The second in which the one that asks is to be closed, if it is chosen.
    fn ask(&self) -> Option<u32> {
        let mut left = self.left.lock();
        let is_chosen = left.wanted > 0 && rand::random_range(0..left.unasked.max(1)) < left.wanted;
        left.unasked = left.unasked.saturating_sub(1);
        if !is_chosen {
            return None;
        }
        let number = self.count - left.wanted;
        left.wanted -= 1;
        Some(self.began + 1 + (f64::from(self.secs) * number as f64 / self.count as f64) as u32)
    }
}

/// The reason in a close frame: a word for people, and the hint for programs that missed the message before it.
#[must_use]
pub fn farewell(word: &str, after_ms: u32) -> String {
    format!("{word}: come back after {after_ms} ms")
}

impl Session {
    /// Tells its client when it is time, whatever for.
    pub(super) fn look_at_going(&mut self, now: u32) {
        if self.clock.going.cause != Some(Cause::Drain)
            && let Some(Departure { at, after_ms }) = self.shared.hub.departure(self.heeds())
        {
            // Who has been told to go soon does not stay longer for it.
            let known = self.clock.going.cause.map_or(u32::MAX, |_| self.clock.going.at);
            self.go_at(at.min(known), after_ms, Cause::Drain);
        }
        if self.clock.going.cause.is_none() && now >= self.clock.going.at {
            self.go_at(now + NOTICE_SECS, self.any_after_ms(), Cause::MaxAge);
        }
    }

    fn go_at(&mut self, at: u32, after_ms: u16, cause: Cause) {
        let told = self.clock.going;
        let after_ms = if told.cause.is_some() { told.after_ms } else { after_ms };
        self.clock.going = Going { at, after_ms, cause: Some(cause) };
        if told.cause.is_none() {
            self.tell_reconnect(after_ms.into());
        }
    }

    /// An operator wants some gone.
    pub(super) fn hear_shed(&mut self, shed: &Shed) {
        // Who goes already counts as asked.
        if self.heeds() != Heeds::Never
            && let Some(at) = shed.ask()
            && self.clock.going.cause.is_none()
        {
            self.go_at(at, self.any_after_ms(), Cause::Shed);
        }
    }

    /// Whether its time has come. Asked after everything that could be written was.
    pub(super) fn go(&self, now: u32) -> Result<(), End> {
        match self.clock.going {
            Going { cause: Some(Cause::Drain), .. } if self.shared.hub.is_closing() => Err(End::Go(Cause::Drain)),
            Going { cause: Some(cause), at, .. } if now >= at => Err(End::Go(cause)),
            _ => Ok(()),
        }
    }

    /// Where nobody plans for all: as good as chance, a part of the session's id.
    fn any_after_ms(&self) -> u16 {
        (self.id.as_u128() % u128::from(AFTER_MS_MAX)) as u16
    }

    pub(super) fn note_going(&self, cause: Cause) {
        let (session, dialect, heeds, cause) = (self.id, self.wire.dialect.word(), self.heeds(), cause.word());
        tracing::debug!(%session, dialect, ?heeds, cause, "a client is sent away");
    }

    /// What the close frame says.
    pub(super) fn farewell(&self, cause: Cause) -> String {
        farewell(cause.word(), self.clock.going.after_ms.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shed_takes_as_many_as_it_wants_evenly() {
        for (open, count) in [(1000, 100), (10, 10), (3, 1), (5, 0)] {
            let shed = Shed::new(100, 10, open, count);
            let chosen: Vec<u32> = (0..open).filter_map(|_| shed.ask()).collect();
            assert_eq!(chosen.len(), count, "of {open}");
            assert!(chosen.iter().all(|at| (101..=110).contains(at)), "{chosen:?}");
            assert_eq!(shed.ask(), None, "nobody who comes later");
        }
    }

    #[test]
    fn half_of_a_shed_is_not_the_first_half() {
        let shed = Shed::new(0, 10, 10_000, 5000);
        let among_the_first = (0..5000).filter_map(|_| shed.ask()).count();
        assert!((2000..3000).contains(&among_the_first), "{among_the_first}");
    }
}
