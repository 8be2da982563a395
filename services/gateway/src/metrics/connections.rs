//! Connections that are open: how many of which kind, how long they lasted, how far they are behind.

use super::Metrics;
use crate::transport::Dialect;
use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

const OPEN: &str = "weft_gateway_connections";
const OPENED: &str = "weft_gateway_connections_opened_total";
const LIVED: &str = "weft_gateway_connection_seconds";
const LAG: &str = "weft_gateway_cursor_lag_events";
const REPLAYED: &str = "weft_gateway_replayed_events_total";

/// What carries a connection, and how its client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebSocket of this dialect.
    WebSocket(Dialect),
    /// Socket.IO that is polled, for now.
    Polling,
    /// An event stream.
    EventStream,
}

impl Kind {
    /// All of them, each at its number.
    const ALL: [Self; 6] = [
        Self::WebSocket(Dialect::Native),
        Self::WebSocket(Dialect::C),
        Self::WebSocket(Dialect::E),
        Self::WebSocket(Dialect::SocketIo),
        Self::Polling,
        Self::EventStream,
    ];

    /// Of a connection in this dialect.
    #[must_use]
    pub fn of(dialect: Dialect, is_polled: bool) -> Self {
        match dialect {
            Dialect::Sse => Self::EventStream,
            Dialect::SocketIo if is_polled => Self::Polling,
            other => Self::WebSocket(other),
        }
    }

    fn number(self) -> usize {
        match self {
            Self::WebSocket(Dialect::Native | Dialect::Sse) => 0,
            Self::WebSocket(Dialect::C) => 1,
            Self::WebSocket(Dialect::E) => 2,
            Self::WebSocket(Dialect::SocketIo) => 3,
            Self::Polling => 4,
            Self::EventStream => 5,
        }
    }

    fn labels(self) -> [(&'static str, &'static str); 2] {
        let (transport, dialect) = match self {
            Self::WebSocket(dialect) => ("websocket", dialect),
            Self::Polling => ("polling", Dialect::SocketIo),
            Self::EventStream => ("sse", Dialect::Sse),
        };
        [("transport", transport), ("dialect", dialect.word())]
    }
}

/// Handles to these metrics.
#[derive(Clone)]
pub(super) struct Connections {
    open: [Gauge; Kind::ALL.len()],
    opened: [Counter; Kind::ALL.len()],
    lived: Histogram,
    lag: Histogram,
    replayed: Counter,
}

impl Connections {
    /// Describes these, and begins every series that there may be.
    pub(super) fn begin() -> Self {
        describe_gauge!(OPEN, "Client connections open now, by what carries them and how their clients speak");
        describe_counter!(OPENED, "Client connections that began");
        describe_histogram!(LIVED, Unit::Seconds, "From a connection's begin to its end");
        describe_histogram!(LAG, "Events that a session has not handed to its socket yet, looked at whenever a ping is due");
        describe_counter!(REPLAYED, "Events of the past that were read for sessions which came back or fell behind");
        Self {
            open: Kind::ALL.map(|kind| gauge!(OPEN, &kind.labels())),
            opened: Kind::ALL.map(|kind| counter!(OPENED, &kind.labels())),
            lived: histogram!(LIVED),
            lag: histogram!(LAG),
            replayed: counter!(REPLAYED),
        }
    }
}

impl Metrics {
    /// A connection begins.
    pub fn opened(&self, kind: Kind) {
        self.connections.open[kind.number()].increment(1.0);
        self.connections.opened[kind.number()].increment(1);
        self.done.opened();
    }

    /// Something else carries a connection from here on.
    pub fn moved(&self, from: Kind, to: Kind) {
        self.connections.open[from.number()].decrement(1.0);
        self.connections.open[to.number()].increment(1.0);
    }

    /// A connection is out.
    pub fn left(&self, kind: Kind) {
        self.connections.open[kind.number()].decrement(1.0);
    }

    /// How long a connection that has ended was open.
    pub fn lived(&self, time: Duration) {
        self.connections.lived.record(time);
    }

    /// How many events a session is behind.
    pub fn lag(&self, events: u64) {
        self.connections.lag.record(events as f64);
    }

    /// So many events of the past were read for a session.
    pub fn replayed(&self, events: u64) {
        self.connections.replayed.increment(events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_number_and_labels_of_its_own() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.number(), number);
            let same = Kind::ALL.into_iter().filter(|other| other.labels() == kind.labels()).count();
            assert_eq!(same, 1, "{kind:?}");
        }
        assert_eq!(Kind::of(Dialect::Sse, false), Kind::EventStream);
        assert_eq!(Kind::of(Dialect::SocketIo, true), Kind::Polling);
        assert_eq!(Kind::of(Dialect::SocketIo, false).labels(), [("transport", "websocket"), ("dialect", "socketio")]);
    }
}
