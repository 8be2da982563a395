//! Every way to break the protocol or a limit, and the code that it closes with.

use crate::client::{BINARY, CLOSE, CONTINUATION, FIN, LIMITS, PING, RSV1, Read, Server, TEXT, masked, outcome};
use std::collections::HashSet;
use weft_dialect::websocket::{
    Violation::{self, *},
    frame::REASON_BYTES_MAX,
};

/// What a client sends, the violation, and the close code.
fn table() -> Vec<(Vec<u8>, Violation, u16)> {
    let limit = LIMITS.frame_bytes_max;
    let announced = |len: u64| [&[0x82, 0xFF][..], &len.to_be_bytes(), &[0; 4]].concat();
    let many = |count: u32, payload: &[u8]| {
        let rest = masked(CONTINUATION, payload).repeat(count as usize - 1);
        [masked(BINARY, payload), rest].concat()
    };
    let mut rows = vec![
        // 5.1
        (b"\x81\x05Hello".to_vec(), Unmasked, 1002),
        // 5.2
        (masked(FIN | RSV1 | TEXT, b"x"), ReservedBit, 1002),
        (masked(FIN | 0x20 | TEXT, b"x"), ReservedBit, 1002),
        (masked(FIN | 0x10 | PING, b"x"), ReservedBit, 1002),
        (vec![0x81, 0xFE, 0, 125, 0, 0, 0, 0], LengthNotMinimal, 1002),
        (announced(65535), LengthNotMinimal, 1002),
        (announced(1 << 63), LengthOverflow, 1002),
        (announced(u64::MAX), LengthOverflow, 1002),
        // 5.4
        (masked(FIN | CONTINUATION, b"x"), ContinuationOfNothing, 1002),
        (masked(CONTINUATION, b""), ContinuationOfNothing, 1002),
        ([masked(TEXT, b"a"), masked(FIN | TEXT, b"b")].concat(), MessageWithinMessage, 1002),
        ([masked(TEXT, b"a"), masked(BINARY, b"b")].concat(), MessageWithinMessage, 1002),
        // 5.5
        (masked(PING, b"x"), FragmentedControl, 1002),
        (masked(FIN | PING, &[0; 126]), ControlTooLong, 1002),
        // 5.5.1
        (masked(FIN | CLOSE, b"\x03"), CloseTooShort, 1002),
        (masked(FIN | CLOSE, b"\x03\xED"), CloseCode, 1002),
        (masked(FIN | CLOSE, b"\x03\xE8\xFF"), CloseReasonNotUtf8, 1007),
        // 8.1
        (masked(FIN | TEXT, b"\xFF"), TextNotUtf8, 1007),
        (masked(FIN | TEXT, b"\xC3"), TextNotUtf8, 1007),
        (masked(FIN | TEXT, b"\xED\xA0\x80"), TextNotUtf8, 1007),
        (masked(FIN | TEXT, b"\xF4\x90\x80\x80"), TextNotUtf8, 1007),
        (masked(FIN | TEXT, b"\xC0\xAF"), TextNotUtf8, 1007),
        ([masked(TEXT, b"\xE2\x82"), masked(FIN | CONTINUATION, b"")].concat(), TextNotUtf8, 1007),
        ([masked(TEXT, b"\xE2"), masked(FIN | CONTINUATION, b"x")].concat(), TextNotUtf8, 1007),
        // Limits
        (announced(limit as u64 + 1), FrameTooBig, 1009),
        (announced(i64::MAX as u64), FrameTooBig, 1009),
        (many(LIMITS.fragments_max + 1, b"x"), TooManyFragments, 1008),
        (many(LIMITS.empty_fragments_max + 1, b""), TooManyFragments, 1008),
    ];
    let mut second = announced(limit as u64);
    second[0] = FIN | CONTINUATION;
    rows.push(([masked(BINARY, &vec![0; limit]), second].concat(), MessageTooBig, 1009));
    for reserved in [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        rows.push((masked(FIN | reserved, b""), ReservedOpcode, 1002));
    }
    rows
}

#[test]
fn each_violation_closes_with_its_code() {
    for (bytes, violation, code) in table() {
        let shown = &bytes[..bytes.len().min(20)];
        let (read, result) = outcome(false, &[masked(FIN | TEXT, b"before"), bytes.clone()].concat());
        assert_eq!(result, Err(violation), "{shown:02x?}");
        assert_eq!(read, [Read::Text("before".to_owned())], "{shown:02x?}");
        assert_eq!(violation.close().code, code, "{shown:02x?}");
        assert!(violation.to_string().len() <= REASON_BYTES_MAX);
    }
}

#[test]
fn the_words_for_metrics_are_different() {
    let violations: HashSet<Violation> = table().into_iter().map(|(_, violation, _)| violation).collect();
    let words: HashSet<&str> = violations.iter().map(|violation| violation.word()).collect();
    assert_eq!(words.len(), violations.len());
    // All but `Deflate`, which has a table of its own.
    assert_eq!(violations.len(), 16);
}

#[test]
fn what_has_ended_reads_nothing_more_and_holds_nothing() {
    for (bytes, violation, _) in table() {
        let mut server = Server::new(false);
        assert_eq!(server.receive(&bytes), Err(violation));
        server.receive(&masked(FIN | TEXT, b"more")).expect("thrown away");
        server.receive(&[0xFF; 30]).expect("thrown away");
        assert!(server.read.is_empty() && server.reader.has_ended(), "{violation}");
        assert_eq!((server.reader.bytes_held(), server.reader.unfinished()), (0, None), "{violation}");
    }
}

#[test]
fn bad_text_is_refused_before_its_frame_or_message_is_whole() {
    for first in [TEXT, FIN | TEXT] {
        let mut server = Server::new(false);
        let bytes = masked(first, b"good \xF4\x90 and much that never comes");
        // Header, "good ", and the first byte that might still begin a character.
        server.receive(&bytes[..12]).expect("may become UTF-8");
        assert_eq!(server.receive(&bytes[12..13]), Err(TextNotUtf8));
    }
}

#[test]
fn a_limit_is_reached_and_not_passed() {
    let mut server = Server::new(false);
    let whole = vec![b'x'; LIMITS.frame_bytes_max];
    server.receive(&masked(FIN | TEXT, &whole)).expect("as large as a frame may be");
    let half = vec![b'x'; LIMITS.message_bytes_max / 2];
    server.receive(&[masked(TEXT, &half), masked(FIN | CONTINUATION, &half)].concat()).expect("as large as a message");
    let pieces = LIMITS.fragments_max as usize - 2;
    let bytes = [masked(TEXT, b"x"), masked(CONTINUATION, b"x").repeat(pieces), masked(FIN | CONTINUATION, b"x")].concat();
    server.receive(&bytes).expect("as many fragments");
    assert_eq!(server.read.len(), 3);
}
