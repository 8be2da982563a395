//! Anything a client may send: nothing panics, nothing is kept beyond the bounds.

use proptest::prelude::*;
use weft_dialect::{
    a, d, engine, native,
    socketio::{Event, FleetKey, Incoming, Limits, Link, Namespace, Purpose, SessionId, event_with_args},
};

const LIMITS: Limits = Limits { attachments_max: 3, packet_bytes_max: 200, args_max: 4 };

const TEXTS: &[&str] = &[
    "0",
    "0/executions,{\"token\":\"t\",\"pid\":\"p\",\"offset\":\"1AAAAAQAAAAAAAAAAAgAAAAAA\"}",
    "1",
    "1/executions,",
    "2[\"subscribe\",\"execution:e\"]",
    "2/executions,7[\"subscribe\",\"e\"]",
    "27[\"user_input:provide\",{\"executionId\":\"e\",\"requestId\":\"r\",\"value\":[1,{}]}]",
    "3/executions,12[1,\"a\"]",
    "51-[\"m\",{\"_placeholder\":true,\"num\":0}]",
    "62-7[[{\"_placeholder\":true,\"num\":1}],{\"num\":0,\"_placeholder\":true}]",
];

/// A message of the protocol, most often damaged.
fn any_text() -> impl Strategy<Value = String> {
    let damaged =
        (prop::sample::select(TEXTS), any::<prop::sample::Index>(), "[0-9\\[\\]{}\",:/_a-z\u{e9}-]{0,3}", any::<bool>())
            .prop_map(|(text, at, new, cut)| {
                let at = at.index(text.len());
                let after = if cut { &text[(at + 1).min(text.len())..] } else { &text[at..] };
                format!("{}{new}{after}", &text[..at])
            });
    prop_oneof![3 => prop::sample::select(TEXTS).prop_map(str::to_owned), 6 => damaged, 1 => any::<String>()]
}

/// Written again, an event is read the same.
fn reads_back(event: &Event) -> Result<(), TestCaseError> {
    let (mut link, limits) = (Link::new(Namespace::ALL), Limits::default());
    link.join(event.namespace);
    let frame = event_with_args(event.namespace, Some(&event.name), &event.args, event.attachments.len(), event.ack);
    let mut read = link.text(std::str::from_utf8(&frame[1..]).expect("UTF-8"), &limits);
    for attachment in &event.attachments {
        read = link.binary(attachment[..].into(), &limits);
    }
    let Ok(Some(Incoming::Event(read))) = read else { return Err(TestCaseError::fail(format!("{read:?}"))) };
    let args = |event: &Event| event.args.iter().map(ToString::to_string).collect::<Vec<_>>();
    prop_assert_eq!((&read.name, args(&read), read.ack), (&event.name, args(event), event.ack));
    prop_assert_eq!(&read.attachments, &event.attachments);
    Ok(())
}

proptest! {
    #[test]
    fn no_messages_panic_and_what_is_held_is_bounded(
        messages in prop::collection::vec(
            prop_oneof![3 => any_text().prop_map(Ok), 1 => prop::collection::vec(any::<u8>(), 0..120).prop_map(Err)],
            0..20,
        ),
    ) {
        let mut link = Link::new(Namespace::ALL);
        for message in &messages {
            let incoming = match message {
                Ok(text) => link.text(text, &LIMITS),
                Err(bytes) => link.binary(bytes.as_slice().into(), &LIMITS),
            };
            prop_assert!(link.bytes_held() <= LIMITS.packet_bytes_max);
            match incoming {
                Err(_) => break,
                Ok(None) => prop_assert!(link.bytes_held() > 0),
                Ok(Some(Incoming::Connect { namespace, auth })) => {
                    prop_assert!(auth.pid.is_none_or(|pid| pid.len() <= 256));
                    link.join(namespace);
                }
                Ok(Some(Incoming::Unknown(packet))) => prop_assert!(packet.starts_with("44/")),
                Ok(Some(Incoming::Disconnect(_))) => {}
                Ok(Some(Incoming::Event(event))) => {
                    prop_assert!(event.args.len() < LIMITS.args_max && event.attachments.len() <= LIMITS.attachments_max);
                    let _ = (a::command(&event), d::command(&event, &native::Limits::default()));
                    reads_back(&event)?;
                }
                Ok(Some(Incoming::Ack { args, attachments, .. })) => {
                    prop_assert!(args.len() <= LIMITS.args_max && attachments.len() <= LIMITS.attachments_max);
                }
            }
        }
    }

    #[test]
    fn no_engine_packet_panics_a_link(text in "[0-6b]{0,1}[0-6]{0,1}(/[a-z]{0,12},?)?[0-9]{0,20}[\\[{]?.{0,20}") {
        for packet in engine::packets(&text).flatten() {
            if let engine::Packet::Message(engine::Data::Text(text)) = packet {
                let _ = Link::new(Namespace::ALL).text(text, &LIMITS);
            }
        }
    }

    #[test]
    fn only_ids_that_were_made_here_are_verified(random: [u8; 16], at: prop::sample::Index, byte in any::<u8>(), text in any::<String>()) {
        let key = FleetKey::new(&[7; 32]).expect("long enough");
        let made = SessionId::make(&key, Purpose::Recovery, "gateway-1", random);
        prop_assert_eq!(SessionId::verify(&key, Purpose::Recovery, made.as_str()), Some(made.clone()));
        prop_assert_eq!(SessionId::verify(&key, Purpose::Recovery, &text), None);
        let mut forged = made.as_str().as_bytes().to_vec();
        let at = at.index(forged.len());
        forged[at] = byte;
        if let Ok(forged) = String::from_utf8(forged) && forged != made.as_str() {
            prop_assert_eq!(SessionId::verify(&key, Purpose::Recovery, &forged), None);
        }
    }
}
