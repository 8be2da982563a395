//! What one client saw, in the order in which it saw it.

use std::sync::Arc;
use tokio::time::Instant;

/// Where a client asked to begin in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the room's first event: it expects all of them.
    Start,
    /// Where the room stood when it subscribed.
    Live,
    /// Live, with the folded state first.
    Snapshot,
}

/// A room that a client follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// Its name, `execution:<id>`.
    pub room: Arc<str>,
    /// Where it began.
    pub begin: Begin,
}

impl Follow {
    /// From the room's first event.
    #[must_use]
    pub fn start(room: &str) -> Self {
        Self { room: room.into(), begin: Begin::Start }
    }

    /// From now on.
    #[must_use]
    pub fn live(room: &str) -> Self {
        Self { room: room.into(), begin: Begin::Live }
    }

    /// From now on, with the state so far.
    #[must_use]
    pub fn snapshot(room: &str) -> Self {
        Self { room: room.into(), begin: Begin::Snapshot }
    }
}

/// What a client asks for beside its rooms; the same in each of its subscribes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A frame may hold several messages, one a line.
    pub batch: bool,
    /// While it is behind, progress may be skipped and tokens joined.
    pub conflate: bool,
    /// Only these types (`log`) and families (`node:*`); all, if it is empty.
    pub types: Vec<String>,
}

impl Wishes {
    /// Whether events of this type are to come.
    #[must_use]
    pub fn admit(&self, kind: &str) -> bool {
        let is_of = |wish: &str| wish == kind || wish.strip_suffix('*').is_some_and(|family| kind.starts_with(family));
        self.types.is_empty() || self.types.iter().any(|wish| is_of(wish))
    }
}

/// The number that a test's publisher puts into `data`: `n` (in a token `index`), counted per execution and source, and `source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Who published it.
    pub source: Arc<str>,
    /// 1 for the first event of that source in that execution.
    pub counter: u64,
}

/// An event as a client received it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenEvent {
    /// The room it came by.
    pub room: Arc<str>,
    /// Its id.
    pub id: Option<Box<str>>,
    /// Its type.
    pub kind: Arc<str>,
    /// Its offset, in durable rooms.
    pub offset: Option<Box<str>>,
    /// Its number, if a test published it.
    pub mark: Option<Mark>,
    /// How many events it stands for besides itself; told only to clients that asked for `conflate`.
    pub skipped: u64,
    /// The whole frame, if the client keeps them.
    pub body: Option<Box<str>>,
}

/// One thing that happened to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// It is connected to the gateway of this index.
    Connected {
        /// In the list it was given.
        gateway: usize,
    },
    /// The connection ended.
    Disconnected {
        /// Its close code, if there was a close frame.
        code: Option<u16>,
        /// What is known of the reason.
        why: String,
    },
    /// A subscribe was answered.
    Subscribed {
        /// The room.
        room: Arc<str>,
        /// `live`, `resumed`, `snapshot` or `gap`.
        outcome: Arc<str>,
        /// The room's tail.
        offset: Option<Box<str>>,
        /// Whether it had followed this room on an earlier connection.
        again: bool,
        /// Fresh offsets of other rooms, which replace those that it holds.
        refreshed: Vec<(Arc<str>, Box<str>)>,
    },
    /// An unsubscribe was answered.
    Unsubscribed {
        /// The room.
        room: Arc<str>,
    },
    /// The folded state of a room.
    Snapshot {
        /// The room.
        room: Arc<str>,
        /// Where the state stands.
        offset: Option<Box<str>>,
        /// The state.
        snapshot: serde_json::Value,
    },
    /// An event.
    Event(SeenEvent),
    /// It was told that events are missing here.
    Gap {
        /// The room.
        room: Arc<str>,
        /// The whole frame.
        body: serde_json::Value,
    },
    /// It was told that the broker is away or back.
    Degraded {
        /// Away.
        active: bool,
    },
    /// Any other frame: errors, acks, pongs, `connected`, `reconnect`.
    Frame {
        /// Its type.
        kind: Arc<str>,
        /// The whole frame.
        body: serde_json::Value,
    },
    /// A frame that is not what the protocol says; always a failure.
    Malformed {
        /// What it held.
        text: String,
    },
}

/// One thing and when it was seen.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When the client read it.
    pub at: Instant,
    /// What.
    pub seen: Seen,
}

/// Everything that one client saw.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The client.
    pub client: String,
    /// The rooms it follows, in the order in which it asked.
    pub follows: Vec<Follow>,
    /// What else it asked for.
    pub wishes: Wishes,
    /// What it saw, oldest first.
    pub entries: Vec<Entry>,
    /// How many events are among the entries.
    pub events: u64,
    /// How many times one of its connections ended.
    pub disconnects: u32,
    /// How many times a whole reconnect was answered, every room with an outcome.
    pub resumes: u32,
    /// How many of those were recovered by Socket.IO itself, rooms and missed events with it.
    pub recovered: u32,
}

impl Record {
    /// Its events, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &SeenEvent> {
        self.entries.iter().filter_map(|entry| match &entry.seen {
            Seen::Event(event) => Some(event),
            _ => None,
        })
    }

    /// The events that came by one room.
    pub fn events_of<'a>(&'a self, room: &'a str) -> impl Iterator<Item = &'a SeenEvent> {
        self.events().filter(move |event| &*event.room == room)
    }

    /// How the subscribes of one room were answered, oldest first.
    #[must_use]
    pub fn outcomes(&self, room: &str) -> Vec<Arc<str>> {
        let outcome = |entry: &Entry| match &entry.seen {
            Seen::Subscribed { room: of, outcome, .. } if &**of == room => Some(Arc::clone(outcome)),
            _ => None,
        };
        self.entries.iter().filter_map(outcome).collect()
    }

    /// The gaps it was told of.
    pub fn gaps(&self) -> impl Iterator<Item = &serde_json::Value> {
        self.entries.iter().filter_map(|entry| match &entry.seen {
            Seen::Gap { body, .. } => Some(body),
            _ => None,
        })
    }

    /// Other frames of one type: `ack`, `error`, `pong`, `reconnect`.
    pub fn frames<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a serde_json::Value> {
        self.entries.iter().filter_map(move |entry| match &entry.seen {
            Seen::Frame { kind: of, body } if &**of == kind => Some(body),
            _ => None,
        })
    }

    /// The last snapshot of a room.
    #[must_use]
    pub fn snapshot(&self, room: &str) -> Option<&serde_json::Value> {
        self.entries.iter().rev().find_map(|entry| match &entry.seen {
            Seen::Snapshot { room: of, snapshot, .. } if &**of == room => Some(snapshot),
            _ => None,
        })
    }

    /// The close codes of its connections, oldest first.
    #[must_use]
    pub fn close_codes(&self) -> Vec<Option<u16>> {
        let code = |entry: &Entry| match &entry.seen {
            Seen::Disconnected { code, .. } => Some(*code),
            _ => None,
        };
        self.entries.iter().filter_map(code).collect()
    }
}
