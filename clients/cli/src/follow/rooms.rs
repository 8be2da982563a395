//! Where followed rooms stand, and what of a gateway's messages is news. No connection, no clock.

use serde_json::{Value, json};
use std::collections::{HashSet, VecDeque};

/// Ids of events of a room, and of all rooms, that are remembered to tell repeats; the oldest are forgotten.
const SEEN_MAX: usize = 2048;
const SEEN_ALL_MAX: usize = 8192;

/// The rooms that are followed.
pub struct Rooms {
    rooms: Vec<Followed>,
    seen: Recent,
}

struct Followed {
    name: String,
    /// The last offset told, wherever it came from; passed back as it is.
    offset: Option<String>,
    /// Whether a subscribe was answered before.
    begun: bool,
    after_gap: Option<String>,
    seen: Recent,
}

/// What a message of the gateway means here.
#[derive(Debug, PartialEq)]
pub enum News {
    /// Nothing to tell.
    None,
    /// To be told as it is, of this room.
    Tell(String),
    /// Told in its place: after a lost connection on a bus that stores nothing, events may be missing.
    Lost(Value),
}

impl Rooms {
    /// Rooms, each with the offset to go on after.
    #[must_use]
    pub fn new(wanted: Vec<(String, Option<String>)>) -> Self {
        let follow = |(name, offset)| Followed { name, offset, begun: false, after_gap: None, seen: Recent::new(SEEN_MAX) };
        Self { rooms: wanted.into_iter().map(follow).collect(), seen: Recent::new(SEEN_ALL_MAX) }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rooms.iter().map(|room| room.name.as_str())
    }

    /// What a subscribe asks for, of these rooms.
    #[must_use]
    pub fn wanted(&self, which: &[String]) -> Value {
        let rooms = self.rooms.iter().filter(|room| which.contains(&room.name));
        rooms
            .map(|room| match &room.offset {
                Some(offset) => json!({ "room": room.name, "offset": offset }),
                None => json!({ "room": room.name }),
            })
            .collect()
    }

    /// The last offset of a room.
    #[must_use]
    pub fn offset(&self, name: &str) -> Option<&str> {
        self.rooms.iter().find(|room| room.name == name)?.offset.as_deref()
    }

    fn find(&mut self, name: &str) -> Option<&mut Followed> {
        self.rooms.iter_mut().find(|room| room.name == name)
    }

    /// A subscribe was answered.
    pub fn subscribed(&mut self, message: &Value) -> News {
        for (name, offset) in message["offsets"].as_object().into_iter().flatten() {
            if let (Some(room), Some(offset)) = (self.find(name), offset.as_str()) {
                room.offset = Some(offset.to_owned());
            }
        }
        let Some(room) = message["room"].as_str().and_then(|name| self.find(name)) else { return News::None };
        let (outcome, offset) = (message["outcome"].as_str().unwrap_or_default(), message["offset"].as_str());
        // In all other outcomes something follows that says where the room stands. Until it has come the older offset must count,
        // or a cut in between would lose it.
        if outcome == "live" && room.offset.is_none() {
            room.offset = offset.map(str::to_owned);
        }
        let is_execution = room.name.starts_with("execution:");
        room.after_gap = offset.filter(|_| outcome == "gap" && !is_execution).map(str::to_owned);
        let again = std::mem::replace(&mut room.begun, true);
        if again && matches!(outcome, "live" | "snapshot") {
            // It had no offset to go on from, because its bus stores nothing.
            let gap = json!({"type": "gap", "room": room.name, "missedFrom": null, "missedTo": null, "reason": "live_only"});
            return News::Lost(gap);
        }
        News::None
    }

    /// A message other than an answer.
    pub fn take(&mut self, message: &Value) -> News {
        match message["type"].as_str().unwrap_or_default() {
            "snapshot" => self.moved(message, "offset"),
            "gap" => self.moved(message, "missedTo"),
            "degraded" => News::Tell(String::new()),
            kind if is_event(kind) => self.event(message),
            _ => News::None,
        }
    }

    fn moved(&mut self, message: &Value, field: &str) -> News {
        let Some(room) = message["room"].as_str().and_then(|name| self.find(name)) else { return News::None };
        // Where a gap tells no place to go on from the older offset stays, so that a cut right now is answered with a gap again.
        let place = message[field].as_str().map(str::to_owned);
        let place = if field == "missedTo" { place.or_else(|| room.after_gap.clone()) } else { place };
        room.offset = place.or_else(|| room.offset.take());
        News::Tell(room.name.clone())
    }

    fn event(&mut self, message: &Value) -> News {
        let name = room_of(message);
        let Some(room) = self.find(&name) else { return News::None };
        let offset = message["offset"].as_str();
        let key = message["id"].as_str().or(offset);
        if key.is_some_and(|key| !room.seen.add(key)) {
            return News::None;
        }
        if let Some(offset) = offset {
            room.offset = Some(offset.to_owned());
        }
        // An id that another room has told already is the same event's.
        if key.is_some_and(|key| !self.seen.add(key)) {
            return News::None;
        }
        News::Tell(name)
    }
}

/// Whether a message of this type is an event; no other message's has such a type.
#[must_use]
pub fn is_event(kind: &str) -> bool {
    kind == "log" || kind.contains(':')
}

/// The room that an event came by.
fn room_of(message: &Value) -> String {
    let field = |name: &str| message[name].as_str();
    match (field("room"), field("executionId"), field("knowledgeBaseId")) {
        (Some(room), ..) => room.to_owned(),
        (None, Some(execution), _) => format!("execution:{execution}"),
        (None, None, kb) => format!("kb:{}", kb.unwrap_or_default()),
    }
}

/// The last so many keys.
struct Recent {
    keys: HashSet<String>,
    order: VecDeque<String>,
    most: usize,
}

impl Recent {
    fn new(most: usize) -> Self {
        Self { keys: HashSet::new(), order: VecDeque::new(), most }
    }

    /// Notes a key; whether it is new.
    fn add(&mut self, key: &str) -> bool {
        if !self.keys.insert(key.to_owned()) {
            return false;
        }
        self.order.push_back(key.to_owned());
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(wanted: &[(&str, Option<&str>)]) -> Rooms {
        Rooms::new(wanted.iter().map(|(room, offset)| ((*room).to_owned(), offset.map(str::to_owned))).collect())
    }

    fn event(id: &str, offset: &str) -> Value {
        json!({"type": "log", "executionId": "e", "id": id, "offset": offset})
    }

    fn told(room: &str) -> News {
        News::Tell(room.to_owned())
    }

    #[test]
    fn offsets_come_from_wherever_the_room_was_told_of_last() {
        let mut rooms = rooms(&[("execution:e", None)]);
        let wanted = |rooms: &Rooms| rooms.wanted(&["execution:e".to_owned()]);
        assert_eq!(wanted(&rooms), json!([{"room": "execution:e"}]));
        rooms.subscribed(&json!({"type": "subscribed", "room": "execution:e", "outcome": "live", "offset": "0.1"}));
        assert_eq!(wanted(&rooms), json!([{"room": "execution:e", "offset": "0.1"}]));
        for (message, offset) in [
            (event("a", "0.2"), "0.2"),
            (json!({"type": "snapshot", "room": "execution:e", "offset": "0.5", "snapshot": {}}), "0.5"),
            (json!({"type": "gap", "room": "execution:e", "missedFrom": null, "missedTo": "0.7"}), "0.7"),
            (json!({"type": "gap", "room": "execution:e", "missedFrom": null, "missedTo": null}), "0.7"),
        ] {
            assert_eq!(rooms.take(&message), told("execution:e"));
            assert_eq!(rooms.offset("execution:e"), Some(offset), "{message}");
        }
        let elsewhere = json!({"room": "user:u", "outcome": "live", "offset": "1.1", "offsets": {"execution:e": "0.7.3"}});
        rooms.subscribed(&elsewhere);
        assert_eq!(rooms.offset("execution:e"), Some("0.7.3"));
    }

    #[test]
    fn a_resume_that_is_cut_begins_again_where_it_stood() {
        let mut rooms = rooms(&[("execution:e", Some("0.1"))]);
        for outcome in ["resumed", "snapshot", "gap"] {
            rooms.subscribed(&json!({"room": "execution:e", "outcome": outcome, "offset": "0.9"}));
            assert_eq!(rooms.offset("execution:e"), Some("0.1"), "{outcome}");
        }
        // Other rooms have no snapshot that would say where they stand after a gap.
        let mut user = self::rooms(&[("user:u", Some("0.1"))]);
        user.subscribed(&json!({"room": "user:u", "outcome": "gap", "offset": "0.9"}));
        user.take(&json!({"type": "gap", "room": "user:u", "missedTo": null}));
        assert_eq!(user.offset("user:u"), Some("0.9"));
    }

    #[test]
    fn each_event_is_told_once() {
        let mut rooms = rooms(&[("execution:e", None), ("user:u", None)]);
        let copy = |id: &str| json!({"type": "log", "executionId": "e", "room": "user:u", "id": id, "offset": "9.1"});
        assert_eq!(rooms.take(&event("a", "0.1")), told("execution:e"));
        assert_eq!(rooms.take(&event("a", "0.1")), News::None);
        assert_eq!(rooms.take(&copy("a")), News::None);
        assert_eq!(rooms.offset("user:u"), Some("9.1"), "a copy that is not told moves its room all the same");
        assert_eq!(rooms.take(&copy("b")), told("user:u"));
        assert_eq!(rooms.take(&event("b", "0.2")), News::None);
        assert_eq!(rooms.take(&json!({"type": "log", "executionId": "other", "id": "c"})), News::None);
        assert_eq!(rooms.take(&json!({"type": "pong"})), News::None);
    }

    #[test]
    fn on_a_bus_that_stores_nothing_a_lost_connection_is_a_gap() {
        let mut rooms = rooms(&[("execution:e", None)]);
        let live = json!({"room": "execution:e", "outcome": "live", "recovered": false});
        assert_eq!(rooms.subscribed(&live), News::None);
        let News::Lost(gap) = rooms.subscribed(&live) else { panic!("a gap was due") };
        assert_eq!((&gap["room"], &gap["reason"]), (&json!("execution:e"), &json!("live_only")));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::new(2);
        assert!(recent.add("a") && recent.add("b") && !recent.add("a") && recent.add("c"));
        assert!(recent.add("a"), "the oldest is forgotten");
        assert_eq!((recent.keys.len(), recent.order.len()), (2, 2));
    }
}
