//! Any messages, cut into any fragments, with control frames between, arriving in any pieces, read back the same.

use crate::client::{BINARY, CONTINUATION, FIN, LIMITS, PING, PONG, Read, Server, TEXT, frame};
use proptest::prelude::*;

/// One message and how a client sends it: where it cuts, and the pings between.
#[derive(Clone, Debug)]
struct Sent {
    text: bool,
    payload: Vec<u8>,
    cuts: Vec<prop::sample::Index>,
    between: Vec<Option<Vec<u8>>>,
    mask: [u8; 4],
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![
        "\\PC{0,60}".prop_map(|text| (true, text.into_bytes())),
        "[a-zäß€😀\u{10FFFF}]{0,600}".prop_map(|text| (true, text.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| (false, bytes)),
        (60_000usize..70_000, any::<u8>()).prop_map(|(len, byte)| (false, vec![byte; len.min(LIMITS.frame_bytes_max)])),
    ];
    let between = prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..=125)), 8);
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..8);
    (payload, cuts, between, any::<[u8; 4]>()).prop_map(|((text, payload), cuts, between, mask)| Sent {
        text,
        payload,
        cuts,
        between,
        mask,
    })
}

impl Sent {
    /// The bytes on the wire, and what is to be read of them.
    fn write(&self, bytes: &mut Vec<u8>, expected: &mut Vec<Read>) {
        let mut cuts: Vec<usize> = self.cuts.iter().map(|cut| cut.index(self.payload.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(self.payload.len());
        let (mut opcode, mut from) = (if self.text { TEXT } else { BINARY }, 0);
        for (nth, to) in cuts.iter().copied().enumerate() {
            let fin = if nth + 1 == cuts.len() { FIN } else { 0 };
            bytes.extend(frame(fin | opcode, self.mask, &self.payload[from..to]));
            (opcode, from) = (CONTINUATION, to);
            if let (0, Some(control)) = (fin, &self.between[nth]) {
                let ping = control.len().is_multiple_of(2);
                bytes.extend(frame(FIN | if ping { PING } else { PONG }, self.mask, control));
                expected.push(if ping { Read::Ping(control.clone()) } else { Read::Pong(control.clone()) });
            }
        }
        expected.push(if self.text {
            Read::Text(String::from_utf8(self.payload.clone()).expect("text"))
        } else {
            Read::Binary(self.payload.clone())
        });
    }
}

proptest! {
    #[test]
    fn messages_survive_fragments_and_pieces(
        sent in prop::collection::vec(any_sent(), 1..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for sent in &sent {
            sent.write(&mut bytes, &mut expected);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut server = Server::new(false);
        let result = server.receive_cut(&bytes, &cuts, |reader| {
            assert!(reader.bytes_held() <= LIMITS.message_bytes_max + 256, "{}", reader.bytes_held());
        });
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(server.read, expected);
        prop_assert_eq!((server.reader.bytes_held(), server.reader.unfinished()), (0, None));
    }

    #[test]
    fn byte_by_byte_is_the_same(sent in any_sent().prop_filter("short", |sent| sent.payload.len() < 2000)) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        sent.write(&mut bytes, &mut expected);
        let (read, result) = crate::client::outcome(false, &bytes);
        prop_assert_eq!((read, result), (expected, Ok(())));
    }
}
