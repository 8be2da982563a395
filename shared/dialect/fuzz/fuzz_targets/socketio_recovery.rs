//! Any text as an offset or an id, any bytes as a record: what is read writes back the same, and nothing is forged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_dialect::socketio::{FleetKey, Namespace, Purpose, Recovery, SessionId, SessionOffset};

fuzz_target!(|bytes: &[u8]| {
    let record = Recovery::decode(bytes, Namespace::ALL).ok();
    if let Some(record) = &record {
        assert_eq!(Recovery::decode(&record.encode(), Namespace::ALL).as_ref().ok(), Some(record));
        assert_eq!(record.resume(None).len(), record.rooms().len());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(offset) = text.parse::<SessionOffset>() {
        assert_eq!(offset.to_string().parse(), Ok(offset));
    }
    let key = FleetKey::new(b"a key that no input was made with").expect("long enough");
    for purpose in [Purpose::Engine, Purpose::Socket, Purpose::Recovery] {
        assert_eq!(SessionId::verify(&key, purpose, text), None);
    }
});
