//! A session's times, in seconds of the wheel: pings, dead and stalled peers, messages that do not end, its age.

use super::{End, Session, SessionLimits, Shared, going::Going};
use crate::{
    hub::{Heeds, Joined, Reader},
    transport::Dialect,
};
use std::time::Duration;
use weft_dialect::told;

/// Seconds between the heartbeats of an event stream (wire contract, section 10).
const HEARTBEAT_SECS: u32 = 15;

/// Seconds between two signs of life from us.
pub(super) fn ping_secs(dialect: Dialect, limits: &SessionLimits) -> u32 {
    if dialect == Dialect::Sse { HEARTBEAT_SECS } else { limits.ping_secs }
}

/// When things were, and when they are due.
pub(super) struct Clock {
    /// When the connection began.
    began: u32,
    /// When the last ping was due.
    pinged_at: u32,
    /// When the first ping went out that no sign of life has followed.
    unanswered_since: Option<u32>,
    /// When the socket last took a byte, or was found full.
    written_at: u32,
    /// Whether the socket takes no more.
    pub(super) blocked: bool,
    /// The socket has taken no more at least once since all that there was had been told: the client is behind.
    pub(super) is_behind: bool,
    /// A message that has begun, by its number, and when.
    unfinished: Option<(u32, u32)>,
    /// Control frames that came in a second, as far as it goes, and which second.
    controls: u8,
    controls_in: u32,
    /// When it is ended though nothing is wrong.
    pub(super) going: Going,
    /// The second at which the wheel is known to wake this session.
    scheduled: u32,
}

impl Clock {
    /// The first ping falls anywhere in the period, so that connections that came together do not ping together.
    pub(super) fn begin(shared: &Shared, joined: &Joined, dialect: Dialect) -> Self {
        let (now, limits) = (shared.hub.wheel.now(), &shared.limits);
        Self::new(now, joined.number(), ping_secs(dialect, limits), Going::of_age(now, joined.heeds(), limits))
    }

    fn new(now: u32, number: usize, ping_secs: u32, going: Going) -> Self {
        let period = ping_secs.max(1);
        let first = 1 + (number % period as usize) as u32;
        Self {
            began: now,
            pinged_at: (now + first).saturating_sub(period),
            unanswered_since: None,
            written_at: now,
            blocked: false,
            is_behind: false,
            unfinished: None,
            controls: 0,
            controls_in: 0,
            going,
            scheduled: 0,
        }
    }

    /// The peer has given a sign of life; when it was asked for one, if it was.
    pub(super) fn heard(&mut self) -> Option<u32> {
        self.unanswered_since.take()
    }

    /// One more control frame; how many in this second.
    pub(super) fn controls(&mut self, now: u32) -> u8 {
        let before = if self.controls_in == now { self.controls } else { 0 };
        (self.controls, self.controls_in) = (before.saturating_add(1), now);
        self.controls
    }

    /// The peer has been taken for dead or stalled, or its message for endless.
    fn overdue(&self, now: u32, limits: &SessionLimits) -> Result<(), End> {
        if self.blocked && now >= self.written_at + limits.stall_secs {
            return Err(End::Close(told::TOO_SLOW));
        }
        if self.unanswered_since.is_some_and(|since| now >= since + limits.pong_secs) {
            return Err(End::Close(told::PING_TIMEOUT));
        }
        if self.unfinished.is_some_and(|(_, since)| now >= since + limits.message_secs) {
            return Err(End::Close(told::POLICY));
        }
        Ok(())
    }

    /// When the next ping or deadline is.
    fn due(&self, limits: &SessionLimits, ping_secs: u32) -> u32 {
        let deadlines = [
            self.unanswered_since.map(|since| since + limits.pong_secs),
            self.blocked.then_some(self.written_at + limits.stall_secs),
            self.unfinished.map(|(_, since)| since + limits.message_secs),
        ];
        let next = (self.pinged_at + ping_secs).min(self.going.due());
        deadlines.into_iter().flatten().fold(next, u32::min)
    }
}

impl Session {
    pub(super) fn now(&self) -> u32 {
        self.shared.hub.wheel.now()
    }

    /// How long its connection has been open.
    pub(super) fn age(&self) -> Duration {
        Duration::from_secs(u64::from(self.now().saturating_sub(self.clock.began)))
    }

    /// The same in milliseconds, for transports that count in these.
    pub(super) fn now_ms(&self) -> u64 {
        u64::from(self.now()) * 1000
    }

    /// Sees to it that a transport is told the time when it wants to be.
    pub(super) fn wake_by_ms(&mut self, due: Option<u64>) {
        if let Some(due) = due {
            self.wake_by(u32::try_from(due.div_ceil(1000)).unwrap_or(u32::MAX));
        }
    }

    /// Sees to it that the wheel wakes this session by then. What is scheduled already does: a socket that is just
    /// too slow blocks a thousand times a second, and must not leave as many entries in the wheel.
    pub(super) fn wake_by(&mut self, due: u32) {
        let now = self.now();
        if self.clock.scheduled <= now || due < self.clock.scheduled {
            self.clock.scheduled = due.clamp(now + 1, now + 60);
            self.shared.hub.wheel.wake_at(self.clock.scheduled, &self.cell);
        }
    }

    /// Deadlines, and notices that concern everybody; whether a ping is due.
    pub(super) fn keep_time(&mut self) -> Result<bool, End> {
        let (now, limits) = (self.now(), self.shared.limits);
        self.clock.overdue(now, &limits)?;
        let ping_secs = ping_secs(self.wire.dialect, &limits);
        let ping_is_due = now >= self.clock.pinged_at + ping_secs;
        if ping_is_due {
            self.clock.pinged_at = now;
            if !matches!(self.wire.dialect, Dialect::Sse | Dialect::SocketIo) {
                self.clock.unanswered_since.get_or_insert(now);
            }
            self.settle();
            self.renew_records(now);
            self.shared.hub.metrics.lag(self.behind());
        }
        if self.connect_by().is_some_and(|by| now >= by) {
            return Err(End::Close(told::POLICY));
        }
        self.tell_degraded();
        self.look_at_going(now);
        self.keep_admitted(now)?;
        let due = self.clock.due(&limits, ping_secs);
        let due = self.admitted_until().map_or(due, |until| due.min(until));
        self.wake_by(self.connect_by().map_or(due, |by| due.min(by)));
        Ok(ping_is_due)
    }

    /// What has begun to come in, if anything has.
    pub(super) fn unfinished(&mut self, number: Option<u32>) {
        match (number, self.clock.unfinished) {
            (None, _) => self.clock.unfinished = None,
            (Some(number), Some((known, _))) if number == known => {}
            (Some(number), _) => {
                let now = self.now();
                self.clock.unfinished = Some((number, now));
                self.wake_by(now + self.shared.limits.message_secs);
            }
        }
    }

    /// The socket has taken something, or takes no more.
    pub(super) fn wrote(&mut self, bytes: usize, blocked: bool) {
        let now = self.now();
        if bytes > 0 || (blocked && !self.clock.blocked) {
            self.clock.written_at = now;
        }
        let newly = blocked && !self.clock.blocked;
        self.clock.blocked = blocked;
        self.clock.is_behind |= blocked;
        if newly {
            self.wake_by(now + self.shared.limits.stall_secs);
        }
    }

    /// What its client heeds.
    pub(super) fn heeds(&self) -> Heeds {
        self.joined.as_ref().map_or(Heeds::Nothing, Joined::heeds)
    }

    /// Who it is to those who read history for it.
    pub(super) fn reader(&self) -> Reader {
        Reader::Client(self.joined.as_ref().map_or(0, Joined::number) as u64)
    }

    /// Gives back what lists have grown beyond their need.
    fn settle(&mut self) {
        // A list that is moved costs a new place for a while; a little too much is left alone.
        if self.subscriptions.capacity() > self.subscriptions.len() + self.subscriptions.len() / 4 {
            self.subscriptions.shrink_to_fit();
        }
        self.subscriptions.iter_mut().for_each(super::subscription::Subscription::settle);
    }
}
