//! What the fuzz targets check, bounded, on stable: well-formed input with random damage.

use proptest::prelude::*;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use std::{fs, path::Path};
use weft_dialect::{
    msgpack::{self, Bounds},
    native::{Encoding, Limits, decode, event_frame, event_frame_msgpack},
};
use weft_event::{Offset, Resume, Room, Snapshot, prepare};

const EVENTS: &[&str] = &[
    r#"{"type":"log","executionId":"e","data":{"level":"info","message":"a \"b\" \u00e9\ud83d\ude00","n":1.00e5}}"#,
    r#"{"type":"agent:token","executionId":"e","userId":"u","data":{"agentId":"a","token":"t"}}"#,
    r#" {"type":"user_input:required", "executionId":"e", "data":{"requestId":"r","prompt":[{}, null, -0.5]}} "#,
    r#"{"type":"kb:processing","knowledgeBaseId":"k","timestamp":"2026-01-01T00:00:00.000Z","id":"i"}"#,
    r#"{"type":"agent:token","executionId":null,"id":null,"timestamp":null,"agentId":null,"knowledgeBaseId":null}"#,
    r#"{"type":"log","skipped":2,"room":"user:u","offset":"0","first":{}}"#,
];

const MESSAGES: &[&str] = &[
    r#"{"type":"subscribe","rooms":[{"room":"execution:e","offset":"a.7.0000000b.3"},{"executionId":"f"}],"types":["log"]}"#,
    r#"{"type":"user_input:provide","executionId":"e","requestId":"r","value":{"a":[1,2.5,"x"]},"ref":"1"}"#,
    r#"{"type":"cancel","executionId":"e","reason":"enough","ref":"2"}"#,
];

const NAMES: &[&str] = &["a.7.0000000b.3/1", "0", "execution:e.1", "acme/agent:a:e", "user:u@x.org", "acme/kb:k%2E1"];

/// What a frame may get besides the published fields.
const ADDED: &[&str] = &["executionId", "agentId", "knowledgeBaseId", "id", "timestamp", "room", "skipped", "offset"];

/// The keys of one JSON object, repeats included.
fn keys(json: &[u8]) -> Vec<String> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
            let mut keys = Vec::new();
            while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                keys.push(key);
            }
            Ok(keys)
        }
    }
    serde_json::Deserializer::from_slice(json).deserialize_map(Keys).expect("one JSON object")
}

/// One of `whole` with bytes replaced, inserted, doubled and cut.
fn damaged(whole: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\.0-eE/ \n".to_vec())];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, byte), 0..6);
    (prop::sample::select(whole), damage).prop_map(|(text, damage)| {
        let mut bytes = text.as_bytes().to_vec();
        for (at, how, byte) in damage {
            let at = at.index(bytes.len() + 1);
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.extend_from_within(at..),
                _ => bytes.truncate(at.max(1)),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn a_damaged_message_is_read_or_refused_with_a_frame(bytes in damaged(MESSAGES)) {
        if let Err(refused) = decode(Encoding::Json, &bytes, &Limits::default()) {
            let frame: serde_json::Value = serde_json::from_slice(&refused.frame(Encoding::Json, "now")).expect("JSON");
            prop_assert_eq!(&frame["type"], "error");
        }
    }

    #[test]
    fn a_damaged_messagepack_message_is_read_or_refused(
        message in prop::sample::select(MESSAGES),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = msgpack::from_json(message.as_bytes()).expect("packs");
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode(Encoding::MessagePack, &bytes, &Limits::default());
    }

    #[test]
    fn a_damaged_event_is_refused_or_goes_all_the_way(bytes in damaged(EVENTS)) {
        let offset: Offset = "a.7.0000000b.3".parse().expect("an offset");
        let rooms = ["execution:e", "agent:a:e", "kb:k", "user:u"].map(|name| Room::parse(name).expect(name));
        for room in rooms.iter().map(Some).chain([None]) {
            let Ok(event) = prepare(bytes.clone().into(), room, &weft_event::Limits::default()) else { continue };
            prop_assert!(!event.body.contains(&b'\n'));
            prop_assert_eq!(event.body.last().copied().map(char::from), Some('}'));
            event.rooms(None).expect("a prepared event has legal rooms");
            Snapshot::new("e").apply(&event.envelope(), None);
            let frame = event_frame(&event, room, Some("i"), Some("t"), Some(1), Some(&offset));
            let keys = keys(&frame);
            for added in ADDED {
                prop_assert!(keys.iter().filter(|key| key == added).count() < 2, "{}", String::from_utf8_lossy(&frame));
            }
            let packed = event_frame_msgpack(&frame).expect("packs");
            msgpack::to_json(&packed, &Bounds { depth_max: 256, json_bytes_max: 1 << 20 }).expect("unpacks");
        }
    }

    #[test]
    fn a_damaged_name_is_refused_or_writes_back_the_same(bytes in damaged(NAMES)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = text.parse::<Resume>();
        if let Ok(offset) = text.parse::<Offset>() {
            prop_assert_eq!(offset.to_string().parse(), Ok(offset));
        }
        if let Ok(room) = Room::parse_broker_name(&text) {
            prop_assert_eq!(room.broker_name(), &*text);
            prop_assert_eq!(Room::parse_nats_token(&room.nats_token()), Ok(room));
        }
    }
}

/// What a fuzz target begins with, each file an input.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: &Path| (path.display().to_string(), fs::read(path).expect("a file"));
    entries.map(|entry| read(&entry.expect("an entry").path())).collect()
}

#[test]
fn every_fuzz_target_begins_with_something_and_decoders_with_what_they_take() {
    let targets = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets")).expect("targets");
    for target in targets {
        let target = target.expect("an entry").path();
        let name = target.file_stem().and_then(|name| name.to_str()).expect("a name");
        assert!(!seeds(name).is_empty(), "{name} begins with nothing");
    }
    for (path, bytes) in seeds("event_prepare") {
        let prepared = prepare(bytes.into(), None, &weft_event::Limits::default());
        assert!(prepared.is_ok(), "{path}: {:?}", prepared.err());
    }
    for (target, encoding) in [("native_decode", Encoding::Json), ("msgpack_decode", Encoding::MessagePack)] {
        for (path, bytes) in seeds(target) {
            let decoded = decode(encoding, &bytes, &Limits::default());
            assert!(decoded.is_ok(), "{path}: {:?}", decoded.err());
        }
    }
}
