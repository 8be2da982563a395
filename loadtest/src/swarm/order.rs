//! What a run and its client processes say to each other: one JSON object a line, on the child's standard input and
//! output.

use crate::client::speech::Speech;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Everything a client process must know before it begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Which of the run's processes this is; its clients' source addresses follow from it.
    pub(crate) process: u32,
    pub(crate) speech: Speech,
    /// Servers by number.
    pub(crate) servers: Vec<SocketAddr>,
    /// The number of its first client among all of the run …
    pub(crate) first: u32,
    /// … and how many it has.
    pub(crate) clients: u32,
    pub(crate) rooms: Rooms,
    /// Whether clients offer compression.
    pub(crate) deflate: bool,
    /// Signs each client a token.
    pub(crate) token_key: Option<String>,
    /// Connection attempts under way at once.
    pub(crate) connecting_max: u32,
    /// Set where clients come back after their connection has ended.
    pub(crate) come_back: Option<ComeBack>,
    /// Set where some clients read slowly.
    pub(crate) slow: Option<Slow>,
}

/// Rooms are numbered; client `i` follows `each` of them from `i * each` on, round and round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rooms {
    /// Before the number, as in `execution:load-`.
    pub(crate) prefix: String,
    pub(crate) count: u32,
    pub(crate) each: u32,
}

impl Rooms {
    pub(crate) fn name(&self, room: u32) -> String {
        format!("{}{room}", self.prefix)
    }

    /// The rooms of one client.
    pub(crate) fn of(&self, client: u32) -> impl Iterator<Item = u32> + use<> {
        let (count, each) = (u64::from(self.count), u64::from(self.each.min(self.count)));
        // The remainder fits, as the count does.
        (0..each).map(move |room| ((u64::from(client) * each + room) % count) as u32)
    }

    pub(crate) fn number(&self, name: &[u8]) -> Option<u32> {
        std::str::from_utf8(name.strip_prefix(self.prefix.as_bytes())?).ok()?.parse().ok()
    }
}

/// A client whose connection has ended comes back, to the next server.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ComeBack {
    pub(crate) after_ms: u32,
    /// Spread evenly over as much again.
    pub(crate) spread_ms: u32,
}

/// Every so-manieth client reads so many bytes, then pauses.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Slow {
    pub(crate) every: u32,
    pub(crate) bytes: u32,
    pub(crate) pause_ms: u32,
}

/// How clients follow their rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Follow {
    /// Not yet.
    Later,
    /// With what comes next.
    Now,
    /// From the oldest event held.
    FromStart,
}

/// What a client process is told to do. `from..to` are clients of its own, by local number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Clients connect to a server.
    Connect { from: u32, to: u32, server: u32, follow: Follow },
    /// All that are connected follow their rooms.
    Follow,
    /// Each says something of about this length.
    Say { bytes: u32 },
    /// Clients close their connections, and come back after a while.
    Leave { from: u32, to: u32, back_after_ms: u32 },
    /// Slow clients read as others do, from now on.
    Hurry,
    /// Say so when a count has reached a number.
    Await { ticket: u64, what: What, count: u64 },
    /// Say the counts now.
    Count { ticket: u64 },
    /// Compare with what was published, in events a room: one number for all, or one for each.
    /// `open` leaves out clients that are not connected.
    Check { ticket: u64, published: Vec<u32>, open: bool },
}

/// A count that can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    Connected,
    Subscribed,
    Delivered,
}

/// What a client process says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// Twice a second.
    Tick { counts: Counts, strain: Strain, latency: String, stayed: String, outage: String },
    /// The answer to [`Order::Await`] and [`Order::Count`].
    Counted { ticket: u64, counts: Counts },
    /// The answer to [`Order::Check`].
    Checked { ticket: u64, missing: u64, example: Option<String> },
}

/// What the clients of a process have counted since it began.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Connections that are open now.
    pub(crate) open: u64,
    pub(crate) connected: u64,
    /// Rooms whose subscription was confirmed, again after each return.
    pub(crate) subscribed: u64,
    /// Sessions of Socket.IO that were given back to their clients.
    pub(crate) recovered: u64,
    /// Events that a client saw for the first time.
    pub(crate) delivered: u64,
    pub(crate) duplicated: u64,
    pub(crate) misordered: u64,
    pub(crate) gaps: u64,
    pub(crate) errors: u64,
    /// Connections that ended without being asked to, of clients that do not come back.
    pub(crate) ended: u64,
    /// Connections that ended and whose client comes back.
    pub(crate) cut: u64,
    pub(crate) bytes: u64,
    /// When this was counted, on the monotonic clock.
    pub(crate) at_us: u64,
    /// The first few errors and reasons of ending.
    pub(crate) remarks: Vec<String>,
}

/// How hard the process itself works, since its last tick.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Strain {
    pub(crate) cpu_us: u64,
    pub(crate) wall_us: u64,
    /// Longest time from learning that sockets have something to having read all of them.
    pub(crate) turn_us_max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_spread_over_rooms() {
        for (count, each, client, expected) in [
            (3, 1, 4, vec![1]),
            (1, 1, 9, vec![0]),
            (10, 4, 2, vec![8, 9, 0, 1]),
            (2, 5, 1, vec![0, 1]),
            (u32::MAX, 2, u32::MAX, vec![0, 1]),
        ] {
            let rooms = Rooms { prefix: "execution:load-".into(), count, each };
            assert_eq!(rooms.of(client).collect::<Vec<_>>(), expected, "{count} {each} {client}");
            assert_eq!(rooms.number(rooms.name(client).as_bytes()), Some(client));
        }
        let rooms = Rooms { prefix: "a-".into(), count: 1, each: 1 };
        assert_eq!((rooms.number(b"b-1"), rooms.number(b"a-x")), (None, None));
    }
}
