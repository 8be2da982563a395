//! Reading what a gateway sends to a native client, and writing what the client asks.

use crate::record::{Begin, Follow, Mark, Seen, SeenEvent, Wishes};
use rustc_hash::FxHashSet;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// The fields that decide what a frame is; everything else stays in its text.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    offset: Option<Cow<'a, str>>,
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "executionId")]
    execution_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    active: Option<bool>,
    skipped: Option<u64>,
    offsets: Option<BTreeMap<String, Box<str>>>,
    #[serde(borrow)]
    snapshot: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Numbered<'a> {
    #[serde(alias = "index")]
    n: u64,
    #[serde(borrow)]
    source: Cow<'a, str>,
}

/// Reads frames, giving each distinct word one allocation for the whole run.
pub(crate) struct Reader {
    words: FxHashSet<Arc<str>>,
    keep_bodies: bool,
}

impl Reader {
    pub(crate) fn new(keep_bodies: bool) -> Self {
        Self { words: FxHashSet::default(), keep_bodies }
    }

    /// `followed_before` tells whether a room had been answered on an earlier connection.
    pub(crate) fn read(&mut self, text: &str, followed_before: impl Fn(&str) -> bool) -> Seen {
        match serde_json::from_str(text) {
            Ok(frame) => self.seen(&frame, text, followed_before),
            Err(error) => malformed(text, &error.to_string()),
        }
    }

    fn seen(&mut self, frame: &Frame<'_>, text: &str, followed_before: impl Fn(&str) -> bool) -> Seen {
        let room = match (&frame.room, &frame.execution_id) {
            (Some(room), _) => Some(self.word(room)),
            (None, Some(execution)) => Some(self.word(&format!("execution:{execution}"))),
            (None, None) => None,
        };
        let offset = || frame.offset.as_deref().map(Box::from);
        match (&*frame.kind, room) {
            ("subscribed", Some(room)) => match &frame.outcome {
                Some(outcome) => {
                    let again = followed_before(&room);
                    let fresh = frame.offsets.iter().flatten();
                    let refreshed = fresh.map(|(room, offset)| (self.word(room), offset.clone())).collect();
                    Seen::Subscribed { room, outcome: self.word(outcome), offset: offset(), again, refreshed }
                }
                None => malformed(text, "subscribed without outcome"),
            },
            ("unsubscribed", Some(room)) => Seen::Unsubscribed { room },
            ("snapshot", Some(room)) => match frame.snapshot.map(|raw| serde_json::from_str(raw.get())) {
                Some(Ok(snapshot)) => Seen::Snapshot { room, offset: offset(), snapshot },
                _ => malformed(text, "snapshot without state"),
            },
            ("gap", Some(room)) => Seen::Gap { room, body: body(text) },
            ("degraded", _) => match frame.active {
                Some(active) => Seen::Degraded { active },
                None => malformed(text, "degraded without active"),
            },
            (kind, Some(room)) if is_event(kind) => Seen::Event(SeenEvent {
                room,
                id: frame.id.as_deref().map(Box::from),
                kind: self.word(kind),
                offset: offset(),
                mark: self.mark(frame.data),
                skipped: frame.skipped.unwrap_or_default(),
                body: self.keep_bodies.then(|| text.into()),
            }),
            (kind, None) if is_event(kind) => malformed(text, "an event without a room"),
            (kind, _) => Seen::Frame { kind: self.word(kind), body: body(text) },
        }
    }

    fn mark(&mut self, data: Option<&RawValue>) -> Option<Mark> {
        // An event that no test published has no number, which is no error.
        let numbered: Numbered<'_> = serde_json::from_str(data?.get()).ok()?;
        Some(Mark { source: self.word(&numbered.source), counter: numbered.n })
    }

    pub(crate) fn word(&mut self, text: &str) -> Arc<str> {
        if let Some(word) = self.words.get(text) {
            return Arc::clone(word);
        }
        let word: Arc<str> = text.into();
        self.words.insert(Arc::clone(&word));
        word
    }
}

/// Events are named `family:name` or `log`; everything else is the protocol's own.
fn is_event(kind: &str) -> bool {
    kind.contains(':') || kind == "log"
}

/// A frame that is not what the protocol says.
pub(crate) fn malformed(text: &str, why: &str) -> Seen {
    let shown: String = text.chars().take(300).collect();
    Seen::Malformed { text: format!("{shown} ({why})") }
}

fn body(text: &str) -> Value {
    // It was read as an object a moment ago.
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// One subscribe for all rooms, each after the offset the client holds, or where its plan says.
pub(super) fn subscribe<'a>(rooms: impl Iterator<Item = (&'a Follow, Option<&'a str>)>, wishes: &Wishes) -> String {
    let rooms: Vec<Value> = rooms
        .map(|(follow, offset)| match (offset, follow.begin) {
            (Some(offset), _) => json!({"room": *follow.room, "offset": offset}),
            (None, Begin::Start) => json!({"room": *follow.room, "offset": "0"}),
            (None, Begin::Live) => json!({"room": *follow.room}),
            (None, Begin::Snapshot) => json!({"room": *follow.room, "snapshot": true}),
        })
        .collect();
    let mut message = json!({"type": "subscribe", "rooms": rooms});
    for (field, wish) in [("batch", wishes.batch), ("conflate", wishes.conflate)] {
        if wish {
            message[field] = Value::Bool(true);
        }
    }
    if !wishes.types.is_empty() {
        message["types"] = json!(wishes.types);
    }
    message.to_string()
}

pub(super) fn unsubscribe(room: &str) -> String {
    json!({"type": "unsubscribe", "room": room}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Seen {
        Reader::new(false).read(text, |_| false)
    }

    #[test]
    fn events_are_known_by_room_id_and_number() {
        let text = r#"{"type":"log","executionId":"e","id":"i","data":{"message":"m","n":7,"source":"p"},"offset":"a.7.b"}"#;
        let Seen::Event(event) = read(text) else { panic!("an event") };
        assert_eq!((&*event.room, event.id.as_deref(), event.offset.as_deref()), ("execution:e", Some("i"), Some("a.7.b")));
        assert_eq!(event.mark, Some(Mark { source: "p".into(), counter: 7 }));
        let Seen::Event(event) = read(r#"{"type":"node:x","executionId":"e","room":"user:u","data":{}}"#) else {
            panic!("an event")
        };
        assert_eq!((&*event.room, event.mark), ("user:u", None));
    }

    #[test]
    fn the_protocols_own_frames_are_told_apart() {
        assert!(matches!(read(r#"{"type":"subscribed","room":"user:u","outcome":"live"}"#), Seen::Subscribed { .. }));
        assert!(matches!(read(r#"{"type":"gap","room":"user:u"}"#), Seen::Gap { .. }));
        assert!(matches!(read(r#"{"type":"degraded","active":true}"#), Seen::Degraded { active: true }));
        assert!(matches!(read(r#"{"type":"connected"}"#), Seen::Frame { .. }));
        for text in ["", "[]", r#"{"type":"log"}"#, r#"{"type":"subscribed","room":"user:u"}"#, r#"{"type":"degraded"}"#] {
            assert!(matches!(read(text), Seen::Malformed { .. }), "{text}");
        }
    }

    #[test]
    fn one_message_resumes_all_rooms() {
        let rooms = [Follow::start("execution:a"), Follow::live("user:u"), Follow::snapshot("execution:b"), Follow::live("kb:k")];
        let offsets = [None, None, None, Some("a.1.b")];
        let text = subscribe(rooms.iter().zip(offsets), &Wishes::default());
        assert_eq!(
            serde_json::from_str::<Value>(&text).expect("json"),
            json!({"type":"subscribe","rooms":[
                {"room":"execution:a","offset":"0"},
                {"room":"user:u"},
                {"room":"execution:b","snapshot":true},
                {"room":"kb:k","offset":"a.1.b"},
            ]})
        );
    }

    #[test]
    fn wishes_are_asked_for_and_what_they_bring_is_read() {
        let wishes = Wishes { batch: true, conflate: true, types: vec!["log".into(), "node:*".into()] };
        assert_eq!(
            serde_json::from_str::<Value>(&subscribe([].into_iter(), &wishes)).expect("json"),
            json!({"type":"subscribe","rooms":[],"batch":true,"conflate":true,"types":["log","node:*"]})
        );
        assert!(["log", "node:started"].iter().all(|kind| wishes.admit(kind)) && !wishes.admit("agent:token"));
        let Seen::Event(event) = read(r#"{"type":"node:progress","executionId":"e","skipped":3}"#) else { panic!("an event") };
        assert_eq!(event.skipped, 3);
        let answer = r#"{"type":"subscribed","room":"user:u","outcome":"live","offsets":{"execution:e":"a.7.b.2"}}"#;
        let Seen::Subscribed { refreshed, .. } = read(answer) else { panic!("an answer") };
        assert_eq!(refreshed, [("execution:e".into(), "a.7.b.2".into())]);
    }
}
