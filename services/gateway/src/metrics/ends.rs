//! How connections end, and why others do not begin.

use super::Metrics;
use crate::session::Cause;
use metrics::{counter, describe_counter};
use weft_dialect::told::{self, CloseCode};

const CLOSES: &str = "weft_gateway_closes_total";
const TURNED_AWAY: &str = "weft_gateway_turned_away_total";

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its client closed it.
    Client,
    /// It was lost, without a goodbye.
    Lost,
    /// We ended it though nothing was wrong.
    Sent(Cause),
    /// Its client could not be served at that moment.
    Overloaded,
    /// Its client did not read.
    TooSlow,
    /// Its client did not answer pings.
    PingTimeout,
    /// Its token was missing, expired or taken back.
    Token,
    /// Its client may not have what it asked for.
    Forbidden,
    /// Its client took too much.
    Policy,
    /// Its client broke the protocol.
    Protocol,
}

impl Ended {
    /// Of a close that we begin.
    #[must_use]
    pub fn of(code: &CloseCode) -> Self {
        match *code {
            told::TRY_AGAIN_LATER => Self::Overloaded,
            told::TOO_SLOW => Self::TooSlow,
            told::PING_TIMEOUT => Self::PingTimeout,
            told::TOKEN_REQUIRED => Self::Token,
            told::NOT_ALLOWED => Self::Forbidden,
            told::POLICY => Self::Policy,
            _ => Self::Protocol,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Lost => "lost",
            Self::Sent(cause) => cause.word(),
            Self::Overloaded => "overloaded",
            Self::TooSlow => "too_slow",
            Self::PingTimeout => "ping_timeout",
            Self::Token => "token",
            Self::Forbidden => "forbidden",
            Self::Policy => "policy",
            Self::Protocol => "protocol",
        }
    }
}

/// What clients close with; 1012 where they answer another gateway that passed their WebSocket on and leaves. A client may close
/// with any number; each would be a series for ever.
const CODES_OF_CLIENTS: [u16; 7] = [0, 1000, 1001, 1002, 1006, 1011, 1012];

/// Why a client that would connect, or read history, was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// This process leaves.
    Draining,
    /// There are as many connections, or rooms, as there may be.
    Capacity,
    /// Too many come at once.
    Rate,
    /// One client has as much as it may have.
    Client,
    /// The token was missing, wrong, or could not be checked.
    Token,
    /// Too many read history.
    History,
}

impl TurnedAway {
    const ALL: [Self; 6] = [Self::Draining, Self::Capacity, Self::Rate, Self::Client, Self::Token, Self::History];

    /// One more.
    pub fn count(self) {
        counter!(TURNED_AWAY, "reason" => self.word()).increment(1);
    }

    fn word(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Capacity => "capacity",
            Self::Rate => "rate",
            Self::Client => "client",
            Self::Token => "token",
            Self::History => "history",
        }
    }
}

/// Describes these, and begins every series that there may be.
pub(super) fn begin() {
    describe_counter!(TURNED_AWAY, "Clients that were not let in, or got no history, by reason");
    describe_counter!(CLOSES, "Connections ended, by close code and reason; code 0 is an end without one");
    let begin = |code: String, ended: Ended| counter!(CLOSES, "code" => code, "reason" => ended.word()).absolute(0);
    CODES_OF_CLIENTS.iter().for_each(|code| begin(code.to_string(), Ended::Client));
    begin("other".into(), Ended::Client);
    begin("0".into(), Ended::Lost);
    Cause::ALL.iter().for_each(|cause| begin(told::RESTARTING.code.to_string(), Ended::Sent(*cause)));
    let ours = told::CLOSES.iter().filter(|close| **close != told::RESTARTING);
    ours.for_each(|close| begin(close.code.to_string(), Ended::of(close)));
    TurnedAway::ALL.iter().for_each(|reason| counter!(TURNED_AWAY, "reason" => reason.word()).absolute(0));
}

impl Metrics {
    /// A connection ended, with this close code (0: none was sent or received).
    pub fn closed(&self, code: u16, ended: Ended) {
        let is_told = ended != Ended::Client || CODES_OF_CLIENTS.contains(&code);
        let code = if is_told { code.to_string() } else { "other".to_owned() };
        self.done.closed(&code, ended.word());
        counter!(CLOSES, "code" => code, "reason" => ended.word()).increment(1);
    }

    /// Somebody was turned away.
    pub fn turned_away(&self, reason: TurnedAway) {
        self.done.turned_away();
        reason.count();
    }
}
