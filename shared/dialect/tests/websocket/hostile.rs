//! What the fuzz targets check, bounded, on stable: any bytes, and well-formed frames with random damage.

use crate::client::{BINARY, CONTINUATION, FIN, PING, RSV1, Server, TEXT, frame};
use proptest::prelude::*;
use weft_dialect::websocket::{Handshake, handshake::choose_subprotocol, offer};

/// Frames of all kinds, with bytes replaced, inserted and cut.
fn damaged_frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        prop::sample::select(vec![
            FIN | TEXT,
            TEXT,
            FIN | BINARY,
            CONTINUATION,
            FIN | CONTINUATION,
            FIN | PING,
            FIN | RSV1 | TEXT
        ]),
        any::<u8>(),
    ];
    let one = (first, any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(first, mask, payload)| frame(first, mask, &payload));
    let damage = prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, any::<u8>()), 0..4);
    (prop::collection::vec(one, 0..6), damage).prop_map(|(frames, damage)| {
        let mut bytes = frames.concat();
        for (at, how, byte) in damage {
            let at = at.index(bytes.len() + 1);
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn any_bytes_come_to_the_same_in_any_pieces(
        bytes in prop_oneof![damaged_frames(), prop::collection::vec(any::<u8>(), 0..300)],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        deflate: bool,
    ) {
        let mut whole = Server::new(deflate);
        let result = whole.receive(&bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Server::new(deflate);
        let most = bytes.len() + 512 + 256;
        prop_assert_eq!(pieces.receive_cut(&bytes, &cuts, |reader| assert!(reader.bytes_held() <= most)), result);
        prop_assert_eq!(&pieces.read, &whole.read);
        prop_assert_eq!(pieces.reader.unfinished().is_some(), whole.reader.unfinished().is_some());
    }

    #[test]
    fn any_headers_are_refused_or_answered(values in prop::collection::vec(any::<Vec<u8>>(), 6), deflate: bool) {
        let names = ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key", "sec-websocket-extensions"];
        let value = |name| names.iter().position(|of| *of == name).map(|at| &values[at][..]);
        let _ = Handshake::accept(value, deflate);
        let _ = choose_subprotocol([&values[5][..]], &["weft.v1.json"]);
    }

    #[test]
    fn any_offer_is_declined_or_answered_with_an_offer(
        offered in "(permessage-deflate|[a-z]{1,3})([;,= \"\\\\]{0,2}(server_no_context_takeover|client_max_window_bits|server_max_window_bits|1[0-6]|9)){0,6}",
    ) {
        if let Some(answer) = offer::negotiate([offered.as_bytes()]) {
            prop_assert_eq!(offer::negotiate([answer.as_bytes()]), Some(answer));
        }
    }
}
