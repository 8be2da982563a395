//! What happens when in one Engine.IO session: polls that wait, pings that are due, a WebSocket that probes and takes over.
//!
//! Time is a number of milliseconds from the caller's monotonic clock. Nothing is queued here: the caller keeps what is
//! to be sent and asks [`Session::can_write`]; the session says what else has to happen, in [`Action`]s.

use super::{Control, Data, Packet, Refusal, Transport};

/// Between two noops that hurry a polling client towards its upgrade, in milliseconds.
const NOOP_INTERVAL_MS: u64 = 100;

/// The times of a session, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Between pings.
    pub ping_interval: u64,
    /// That an answer to a ping may take.
    pub ping_timeout: u64,
    /// That a probing WebSocket may take to take over.
    pub upgrade_timeout: u64,
    /// That a client without a waiting poll has to fetch the goodbye.
    pub close_timeout: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { ping_interval: 25_000, ping_timeout: 20_000, upgrade_timeout: 10_000, close_timeout: 30_000 }
    }
}

/// What came.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A GET that asks for what there is.
    Poll,
    /// The waiting poll was answered with what there was.
    PollAnswered,
    /// The waiting poll's connection is gone.
    PollGone,
    /// A POST begins; its packets follow, then [`Input::PostDone`].
    Post,
    /// The POST was read to its end.
    PostDone,
    /// The connection of the POST is gone before its end.
    PostGone,
    /// A packet, in a POST or on the session's WebSocket.
    Packet(Packet<'a>),
    /// What was no packet, on the session's own transport.
    Malformed,
    /// The session's WebSocket is gone, or an answer to a poll could not be written to its end: what was in it is lost,
    /// and the client has to begin anew.
    Gone,
    /// Another WebSocket came with this session's id.
    ProbeOpened,
    /// A packet on the probing WebSocket.
    Probe(Packet<'a>),
    /// The probing WebSocket is gone, or sent what was no packet.
    ProbeGone,
    /// Time has passed.
    Tick,
    /// We want to part: draining, overloaded, or the token has expired. The client comes back by itself.
    Close,
}

/// What the caller has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Hand this to the layer above.
    Deliver(Data<'a>),
    /// Send this, before all that waits, as soon as [`Session::can_write`].
    Send(Control),
    /// Answer the waiting poll with what waits to be sent and then this packet; a noop only if nothing else waits.
    AnswerPoll(Control),
    /// Refuse the request that has just come.
    Refuse(Refusal),
    /// Send this on the probing WebSocket.
    SendProbe(Control),
    /// Close the probing WebSocket.
    CloseProbe,
    /// The probing WebSocket is the session's transport from here on.
    Upgraded,
    /// The session is over: forget it, and close every WebSocket of it, a probing one too. Comes once.
    End(Ended),
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client said so.
    ByClient,
    /// We said so.
    ByUs,
    /// Its connection is gone, or a poll was given up.
    Gone,
    /// No answer to a ping.
    PingTimeout,
    /// What came was no packet, or none that a client may send. A POST that brought it is answered 400.
    Violation,
    /// Two polls or two posts at a time.
    Overlap,
}

/// Up to three actions, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions<'a>([Option<Action<'a>>; 3]);

impl<'a> Actions<'a> {
    fn push(&mut self, action: Action<'a>) {
        let free = self.0.iter_mut().find(|slot| slot.is_none());
        debug_assert!(free.is_some(), "no input asks for more than three actions");
        if let Some(free) = free {
            *free = Some(action);
        }
    }
}

impl<'a> IntoIterator for Actions<'a> {
    type Item = Action<'a>;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Action<'a>>, 3>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The goodbye waits for a poll until then.
    Closing(u64),
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    None,
    /// Nothing was heard of it yet.
    Opened,
    /// It was answered; polls are ended from `noop_at` on.
    Answered {
        noop_at: u64,
    },
}

/// One Engine.IO session.
#[derive(Clone, Debug)]
pub struct Session {
    transport: Transport,
    state: State,
    probe: Probe,
    probe_until: u64,
    poll_waits: bool,
    posting: bool,
    /// When the next ping is due, or, while an answer is awaited, when the last one was.
    ping_at: u64,
    /// Set while an answer to a ping is awaited: until when.
    pong_until: Option<u64>,
    /// Whether another packet has already bought more time for the awaited answer.
    extended: bool,
}

impl Session {
    /// A session that was opened at `now`. Its first packet is a [`Handshake`](super::Handshake).
    #[must_use]
    pub fn new(transport: Transport, now: u64, times: &Times) -> Self {
        Self {
            transport,
            state: State::Open,
            probe: Probe::None,
            probe_until: u64::MAX,
            poll_waits: false,
            posting: false,
            ping_at: now + times.ping_interval,
            pong_until: None,
            extended: false,
        }
    }

    /// What carries it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether packets can be sent: always on a WebSocket, else while a poll waits.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.state == State::Open && (self.transport == Transport::WebSocket || self.poll_waits)
    }

    /// When [`Input::Tick`] is wanted next; earlier does no harm.
    #[must_use]
    pub fn wake_at(&self) -> u64 {
        let alive = match self.state {
            State::Open => self.pong_until.unwrap_or(self.ping_at),
            State::Closing(until) => until,
            State::Closed => return u64::MAX,
        };
        let noop = match self.probe {
            Probe::Answered { noop_at } if self.poll_waits => noop_at,
            _ => u64::MAX,
        };
        alive.min(self.probe_until).min(noop)
    }

    /// Takes what came at `now`.
    #[must_use]
    pub fn take<'a>(&mut self, now: u64, times: &Times, input: Input<'a>) -> Actions<'a> {
        let mut actions = Actions::default();
        match (self.state, input) {
            (State::Closed, Input::Poll | Input::Post | Input::ProbeOpened) => {
                actions.push(Action::Refuse(Refusal::UnknownSid));
            }
            (State::Closed, _) => {}
            (_, Input::Poll) => self.poll(now, &mut actions),
            (_, Input::PollAnswered) => self.poll_waits = false,
            (_, Input::PollGone) if !self.poll_waits => {}
            (_, Input::PollGone) => {
                self.poll_waits = false;
                self.end(Ended::Gone, &mut actions);
            }
            (_, Input::Post) => self.post(&mut actions),
            (_, Input::PostDone) => self.posting = false,
            (_, Input::PostGone | Input::Gone) => self.end(Ended::Gone, &mut actions),
            (_, Input::Packet(packet)) => self.packet(now, times, packet, &mut actions),
            (_, Input::Malformed) => self.end(Ended::Violation, &mut actions),
            (_, Input::ProbeOpened) => self.probe_opened(now, times, &mut actions),
            (_, Input::Probe(packet)) => self.probe_packet(now, times, &packet, &mut actions),
            (_, Input::ProbeGone) => self.forget_probe(),
            (_, Input::Tick) => self.tick(now, times, &mut actions),
            (_, Input::Close) => self.close(now, times, &mut actions),
        }
        actions
    }

    fn poll<'a>(&mut self, now: u64, actions: &mut Actions<'a>) {
        if self.transport == Transport::WebSocket {
            return actions.push(Action::Refuse(Refusal::BadRequest));
        }
        if self.poll_waits {
            // The first poll may be a proxy's leftover, but which of the two the client listens to is unknown.
            actions.push(Action::Refuse(Refusal::BadRequest));
            return self.end(Ended::Overlap, actions);
        }
        self.poll_waits = true;
        match (self.state, self.probe) {
            (State::Closing(_), _) => self.end(Ended::ByUs, actions),
            (_, Probe::Answered { noop_at }) if now >= noop_at => self.hurry(now, actions),
            _ => {}
        }
    }

    fn post<'a>(&mut self, actions: &mut Actions<'a>) {
        if self.transport == Transport::WebSocket {
            return actions.push(Action::Refuse(Refusal::BadRequest));
        }
        if self.posting {
            actions.push(Action::Refuse(Refusal::BadRequest));
            return self.end(Ended::Overlap, actions);
        }
        self.posting = true;
    }

    fn packet<'a>(&mut self, now: u64, times: &Times, packet: Packet<'a>, actions: &mut Actions<'a>) {
        if self.pong_until.is_some() && !self.extended && !matches!(packet, Packet::Pong(_)) {
            // A large upload may hold up the answer behind it: it is a sign of life by itself, once.
            self.extended = true;
            self.pong_until = Some(now + times.ping_timeout);
        }
        match packet {
            Packet::Message(data) => actions.push(Action::Deliver(data)),
            Packet::Pong(_) if self.pong_until.take().is_some() => {
                self.ping_at = (self.ping_at + times.ping_interval).max(now);
            }
            Packet::Pong(_) | Packet::Noop => {}
            Packet::Close => self.end(Ended::ByClient, actions),
            Packet::Open(_) | Packet::Ping(_) | Packet::Upgrade => self.end(Ended::Violation, actions),
        }
    }

    fn probe_opened<'a>(&mut self, now: u64, times: &Times, actions: &mut Actions<'a>) {
        if self.transport == Transport::WebSocket || self.probe != Probe::None {
            return actions.push(Action::Refuse(Refusal::BadRequest));
        }
        self.probe = Probe::Opened;
        self.probe_until = now + times.upgrade_timeout;
    }

    fn probe_packet<'a>(&mut self, now: u64, times: &Times, packet: &Packet<'a>, actions: &mut Actions<'a>) {
        match (self.probe, packet) {
            // It was closed, and these are its last words.
            (Probe::None, _) => {}
            (_, Packet::Ping("probe")) => {
                actions.push(Action::SendProbe(Control::ProbePong));
                self.probe = Probe::Answered { noop_at: now };
                if self.poll_waits {
                    self.hurry(now, actions);
                }
            }
            (Probe::Answered { .. }, Packet::Upgrade) if self.state == State::Open => {
                if std::mem::take(&mut self.poll_waits) {
                    actions.push(Action::AnswerPoll(Control::Noop));
                }
                self.forget_probe();
                self.transport = Transport::WebSocket;
                // A ping that a poll took with it may have been lost on the way.
                self.pong_until = self.pong_until.map(|_| now + times.ping_timeout);
                actions.push(Action::Upgraded);
            }
            _ => {
                self.forget_probe();
                actions.push(Action::CloseProbe);
            }
        }
    }

    /// Ends the waiting poll, so that the client can leave polling.
    fn hurry<'a>(&mut self, now: u64, actions: &mut Actions<'a>) {
        self.poll_waits = false;
        self.probe = Probe::Answered { noop_at: now + NOOP_INTERVAL_MS };
        actions.push(Action::AnswerPoll(Control::Noop));
    }

    fn forget_probe(&mut self) {
        self.probe = Probe::None;
        self.probe_until = u64::MAX;
    }

    fn tick<'a>(&mut self, now: u64, times: &Times, actions: &mut Actions<'a>) {
        match self.state {
            State::Closing(until) if now >= until => return self.end(Ended::ByUs, actions),
            State::Open if self.pong_until.is_some_and(|until| now >= until) => return self.end(Ended::PingTimeout, actions),
            State::Open if self.pong_until.is_none() && now >= self.ping_at => {
                // Counted from when the ping was due, unless the tick came so late that no answer could be in time.
                self.pong_until = Some((self.ping_at + times.ping_timeout).max(now + times.ping_timeout / 2));
                self.extended = false;
                actions.push(Action::Send(Control::Ping));
            }
            _ => {}
        }
        if now >= self.probe_until {
            self.forget_probe();
            actions.push(Action::CloseProbe);
        }
        if let Probe::Answered { noop_at } = self.probe
            && self.poll_waits
            && now >= noop_at
        {
            self.hurry(now, actions);
        }
    }

    fn close<'a>(&mut self, now: u64, times: &Times, actions: &mut Actions<'a>) {
        if self.transport == Transport::WebSocket || self.poll_waits {
            return self.end(Ended::ByUs, actions);
        }
        if self.state == State::Open {
            self.state = State::Closing(now + times.close_timeout);
        }
    }

    fn end<'a>(&mut self, ended: Ended, actions: &mut Actions<'a>) {
        if std::mem::take(&mut self.poll_waits) {
            // Whoever leaves needs no goodbye.
            let last = if ended == Ended::ByClient { Control::Noop } else { Control::Close };
            actions.push(Action::AnswerPoll(last));
        }
        self.forget_probe();
        self.state = State::Closed;
        actions.push(Action::End(ended));
    }
}
