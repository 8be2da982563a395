//! RFC 7692: its examples, round trips against flate2 itself, and limits that hold while inflating.

use crate::client::{BINARY, CONTINUATION, FIN, LIMITS, PING, RSV1, Read, Server, TEXT, masked, outcome};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use proptest::prelude::*;
use weft_dialect::websocket::{
    Deflater, Inflater, Opcode, Violation,
    deflate::{Effort, Part, compressed_tail, joined},
};

/// As a client compresses.
fn deflated(payload: &[u8], level: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() * 2 + 100);
    let status = Compress::new(Compression::new(level), false).compress_vec(payload, &mut bytes, FlushCompress::Sync);
    assert!(status.is_ok() && bytes.ends_with(&[0, 0, 0xFF, 0xFF]));
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// As a client decompresses.
fn inflated(compressed: &[u8], len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 64);
    let whole = [compressed, &[0, 0, 0xFF, 0xFF]].concat();
    Decompress::new(false).decompress_vec(&whole, &mut bytes, FlushDecompress::Sync).expect("deflate");
    bytes
}

fn inflate(payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Violation> {
    let mut out = Vec::new();
    let result = Inflater::default().inflate(payload, &mut out, bytes_max);
    assert!(out.capacity() <= bytes_max + 1, "{} for {bytes_max}", out.capacity());
    result.map(|()| out)
}

#[test]
fn section_7_2_3_examples() {
    let hello = [Read::Text("Hello".to_owned())];
    for payload in [
        // 7.2.3.1, 7.2.3.3 (no compression), 7.2.3.4 (BFINAL), 7.2.3.5 (two blocks)
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        // The same final block, nothing behind it.
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
    ] {
        let (read, result) = outcome(true, &masked(FIN | RSV1 | TEXT, payload));
        assert_eq!((&read[..], result), (&hello[..], Ok(())), "{payload:02x?}");
    }
    // 7.2.3.1, in fragments, with a ping between
    let bytes = [
        masked(RSV1 | TEXT, &[0xf2, 0x48, 0xcd]),
        masked(FIN | PING, b"?"),
        masked(FIN | CONTINUATION, &[0xc9, 0xc9, 0x07, 0x00]),
    ];
    let (read, result) = outcome(true, &bytes.concat());
    assert_eq!((read, result), (vec![Read::Ping(b"?".to_vec()), hello[0].clone()], Ok(())));
    // 7.2.3.2 relies on a context, which we have refused: the second message refers to what is gone.
    let (read, result) = outcome(true, &masked(FIN | RSV1 | TEXT, &[0xf2, 0x00, 0x11, 0x00, 0x00]));
    assert_eq!((read, result), (vec![], Err(Violation::Deflate)));
    // 7.2.3.6
    let (read, _) = outcome(true, &masked(FIN | RSV1 | BINARY, &[0x00]));
    assert_eq!(read, [Read::Binary(Vec::new())]);
}

#[test]
fn messages_without_the_bit_stay_as_they_are() {
    let (read, result) = outcome(true, &masked(FIN | TEXT, b"plain"));
    assert_eq!((read, result), (vec![Read::Text("plain".to_owned())], Ok(())));
}

#[test]
fn what_is_no_compressed_message_closes_with_its_code() {
    let part = |first, payload: &[u8]| masked(first, payload);
    let half = deflated(&[b'x'; 1000], 6);
    for (bytes, violation, code) in [
        (part(FIN | RSV1 | TEXT, &[0xff, 0xff, 0xff]), Violation::Deflate, 1007),
        (part(FIN | RSV1 | TEXT, &[]), Violation::Deflate, 1007),
        (part(FIN | RSV1 | TEXT, &half[..half.len() - 2]), Violation::Deflate, 1007),
        // A stored block that announces more than there is.
        (part(FIN | RSV1 | BINARY, &[0x00, 0x40, 0x00, 0xbf, 0xff, 1, 2, 3]), Violation::Deflate, 1007),
        (part(FIN | RSV1 | BINARY, &[0x03, 0x00].repeat(500)), Violation::Deflate, 1007),
        (part(FIN | RSV1 | TEXT, &deflated(b"\xC3", 6)), Violation::TextNotUtf8, 1007),
        ([part(BINARY, b"a"), part(FIN | RSV1 | CONTINUATION, b"b")].concat(), Violation::ReservedBit, 1002),
        (part(FIN | RSV1 | PING, b""), Violation::ReservedBit, 1002),
        (part(FIN | RSV1 | BINARY, &deflated(&vec![0; LIMITS.message_bytes_max + 1], 9)), Violation::MessageTooBig, 1009),
        (part(FIN | RSV1 | BINARY, &deflated(&vec![0; 50_000_000], 9)), Violation::MessageTooBig, 1009),
    ] {
        assert_eq!(outcome(true, &bytes), (vec![], Err(violation)), "{:02x?}", &bytes[..bytes.len().min(20)]);
        assert_eq!(violation.close().code, code);
    }
}

#[test]
fn a_bomb_stops_at_the_limit_and_one_byte_less_passes() {
    let bomb = deflated(&vec![b'0'; 20_000_000], 9);
    assert!(bomb.len() < 25_000);
    for limit in [0, 1, 1000, 1 << 20] {
        assert_eq!(inflate(&bomb, limit), Err(Violation::MessageTooBig));
    }
    for len in [0, 1, 63, 64, 65, 1000, 70_000] {
        let payload = vec![b'0'; len];
        assert_eq!(inflate(&deflated(&payload, 6), len), Ok(payload));
    }
}

#[test]
fn what_does_not_pay_is_not_compressed() {
    let mut deflater = Deflater::new(Effort { level: 3, bytes_min: 200 });
    assert_eq!(deflater.compress(&[b'x'; 199]), None);
    assert!(deflater.compress(&[b'x'; 200]).is_some_and(|compressed| compressed.len() < 20));
    assert_eq!(deflater.compress(&noise(1, 4000)), None);
    assert_eq!(Deflater::new(Effort { level: 99, bytes_min: 0 }).compress(b""), None);
}

/// Bytes that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// An abandoned stream once left its place behind, and the compressor panicked after some hundred of them.
#[test]
fn ten_thousand_payloads_that_do_not_compress_leave_nothing_behind() {
    for level in [1, 3, 6, 9] {
        let mut deflater = Deflater::new(Effort { level, bytes_min: 1 });
        for seed in 0..2500 {
            assert_eq!(deflater.compress(&noise(seed, 1 + seed as usize % 900)), None, "level {level}, seed {seed}");
        }
        let words = b"so much that is the same, ".repeat(20);
        let compressed = deflater.compress(&words).expect("compresses");
        assert_eq!(inflated(&compressed, words.len()), words);
        assert_eq!(deflater.compress(&noise(7, 300_000)), None);
        assert_eq!(deflater.compress(&words), Some(compressed));
    }
}

fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        "([a-z]{1,8} ){0,400}".prop_map(String::into_bytes),
        (any::<u8>(), 0usize..100_000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_client_inflates_what_we_compress(payloads in prop::collection::vec(any_payload(), 1..4), level in 0u32..=9) {
        let mut deflater = Deflater::new(Effort { level, bytes_min: 1 });
        for payload in payloads {
            let compressed = deflater.compress(&payload);
            let frame = deflater.frame(Opcode::Binary, &payload);
            prop_assert_eq!(compressed.is_some(), frame.is_some());
            let (Some(compressed), Some(frame)) = (compressed, frame) else { continue };
            prop_assert!(compressed.len() < payload.len());
            prop_assert_eq!(&inflated(&compressed, payload.len()), &payload);
            prop_assert_eq!(frame[0], FIN | RSV1 | BINARY);
            prop_assert!(frame.ends_with(&compressed));
        }
    }

    #[test]
    fn we_read_what_a_client_compresses(
        payloads in prop::collection::vec(any_payload(), 1..4),
        level in 0u32..=9,
        pieces in 1usize..40,
        cut in 1usize..5000,
    ) {
        let mut server = Server::new(true);
        for payload in &payloads {
            let compressed = deflated(payload, level);
            let parts: Vec<&[u8]> = compressed.chunks(compressed.len().div_ceil(pieces)).collect();
            let last = parts.len() - 1;
            let bytes: Vec<u8> = parts.iter().enumerate().flat_map(|(nth, part)| {
                let opcode = if nth == 0 { RSV1 | BINARY } else { CONTINUATION };
                masked(if nth == last { FIN | opcode } else { opcode }, part)
            }).collect();
            let cuts: Vec<usize> = (1..).map(|nth| nth * cut).take_while(|cut| *cut < bytes.len()).collect();
            prop_assert_eq!(server.receive_cut(&bytes, &cuts, |_| ()), Ok(()));
        }
        let expected: Vec<Read> = payloads.into_iter().map(Read::Binary).collect();
        prop_assert_eq!(server.read, expected);
        prop_assert_eq!(server.reader.bytes_held(), 0);
    }

    #[test]
    fn a_tail_needs_no_compressing(payload in any_payload(), tail in prop::collection::vec(any::<u8>(), 0..300), level in 1u32..=9) {
        if let Some(compressed) = Deflater::new(Effort { level, bytes_min: 1 }).compress(&payload) {
            let message = [&compressed[..], &compressed_tail(&tail).expect("short")].concat();
            let whole = [payload, tail].concat();
            prop_assert_eq!(&inflated(&message, whole.len()), &whole);
            prop_assert_eq!(inflate(&message, whole.len()), Ok(whole));
        }
    }

    #[test]
    fn no_payload_panics_or_passes_the_limit(payload in prop::collection::vec(any::<u8>(), 0..300), bytes_max in 0usize..2000) {
        if let Ok(bytes) = inflate(&payload, bytes_max) {
            prop_assert!(bytes.len() <= bytes_max);
        }
    }

    #[test]
    fn an_inflater_forgets_every_message(messages in prop::collection::vec(any_payload(), 1..12), bytes_max in 0usize..20_000) {
        let (mut kept, mut out) = (Inflater::default(), Vec::new());
        for (nth, message) in messages.iter().enumerate() {
            // Whole, cut off, or never compressed at all.
            let compressed = deflated(message, 6);
            let payload = [&compressed, &compressed[..compressed.len() / 2], &message[..]][nth % 3];
            let result = kept.inflate(payload, &mut out, bytes_max);
            prop_assert_eq!(result.map(|()| out.clone()), inflate(payload, bytes_max));
        }
    }

    #[test]
    fn damage_is_refused_or_read(payload in any_payload(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut compressed = deflated(&payload, 6);
        let at = at.index(compressed.len());
        compressed[at] = byte;
        let _ = inflate(&compressed, 200_000);
        let _ = inflate(&compressed[..at], 200_000);
    }
}

proptest! {
    /// What was compressed once is put together in any order, with plain bytes between.
    #[test]
    fn joined_payloads_say_what_their_parts_say(
        parts in prop::collection::vec((any::<bool>(), prop_oneof![
            "[a-c]{0,400}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..300),
            Just(vec![7; 150_000]),
        ]), 0..6),
    ) {
        let mut deflater = Deflater::new(Effort { level: 3, bytes_min: 0 });
        let compressed: Vec<_> = parts.iter().map(|(compress, part)| compress.then(|| deflater.compress(part)).flatten()).collect();
        let pieces: Vec<_> = parts.iter().zip(&compressed).map(|((_, part), compressed)| match compressed {
            Some(compressed) => Part::Compressed(compressed),
            None => Part::Plain(part),
        }).collect();
        let said: Vec<u8> = parts.iter().flat_map(|(_, part)| part.clone()).collect();
        let payload = joined(&pieces);
        prop_assert_eq!(inflate(&payload, said.len().max(1)), Ok(said.clone()));
        prop_assert_eq!(inflated(&payload, said.len()), said);
    }
}
