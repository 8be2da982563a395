//! Any messages of a client: no panic, nothing kept past the limit, and what is taken, written again, is taken again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_dialect::{
    a, d, native,
    socketio::{Incoming, Limits, Link, Namespace, event_with_args},
};

const LIMITS: Limits = Limits { attachments_max: 4, packet_bytes_max: 4000, args_max: 8 };

fuzz_target!(|input: &[u8]| {
    let mut link = Link::new(Namespace::ALL);
    for message in input.split(|byte| *byte == b'\n') {
        let incoming = match std::str::from_utf8(message) {
            Ok(text) if !text.starts_with('#') => link.text(text, &LIMITS),
            _ => link.binary(message.into(), &LIMITS),
        };
        assert!(link.bytes_held() <= LIMITS.packet_bytes_max);
        match incoming {
            Err(_) => return,
            Ok(Some(Incoming::Connect { namespace, .. })) => link.join(namespace),
            Ok(Some(Incoming::Event(event))) => {
                assert!(event.args.len() < LIMITS.args_max && event.attachments.len() <= LIMITS.attachments_max);
                let _ = (a::command(&event), d::command(&event, &native::Limits::default()));
                let again = event_with_args(event.namespace, Some(&event.name), &event.args, event.attachments.len(), event.ack);
                let mut other = Link::new(Namespace::ALL);
                other.join(event.namespace);
                let again = std::str::from_utf8(&again[1..]).expect("UTF-8");
                other.text(again, &Limits { packet_bytes_max: usize::MAX, ..LIMITS }).expect("ours is taken");
            }
            Ok(_) => {}
        }
    }
});
