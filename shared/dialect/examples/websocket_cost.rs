//! What the WebSocket core costs, in a few seconds:
//!
//!     cargo run --release -p weft-dialect --example websocket_cost
//!
//! Each line is the best of some rounds, in nanoseconds for one frame or payload. Frames are read from a buffer of
//! 64 KiB, as a transport reads them.
#![allow(clippy::print_stdout)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use weft_dialect::websocket::{Deflater, HEADER_BYTES_MAX, Inflater, Limits, Opcode, Reader, Scratch, encode_header, frame};

/// How long each line may take.
const BUDGET: Duration = Duration::from_millis(300);

/// The best round of `work`, which does `count` things.
fn measure(name: &str, count: usize, mut work: impl FnMut()) {
    let (began, mut best) = (Instant::now(), Duration::MAX);
    while began.elapsed() < BUDGET {
        let round = Instant::now();
        work();
        best = best.min(round.elapsed());
    }
    println!("{name:<52} {:>9.1} ns", best.as_nanos() as f64 / count as f64);
}

/// Masked text frames that fill 64 KiB. The mask turns only the lowest bit of each byte, so that the text is ASCII with
/// and without it: the same buffer can be read again and again, though it is unmasked in place.
fn client_frames(payload: &[u8]) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut header = [0; HEADER_BYTES_MAX];
    let header_len = encode_header(Opcode::Text, true, false, payload.len() as u64, &mut header);
    header[1] |= 0x80;
    let count = (64 * 1024 / (header_len + 4 + payload.len())).max(1);
    for _ in 0..count {
        bytes.extend_from_slice(&header[..header_len]);
        bytes.extend_from_slice(&[1; 4]);
        bytes.extend_from_slice(payload);
    }
    (bytes, count)
}

fn read_all(reader: &mut Reader, mut bytes: &mut [u8], limits: &Limits, scratch: &mut Scratch) -> usize {
    let mut read = 0;
    while let Some(message) = reader.read(&mut bytes, limits, scratch).expect("legal frames") {
        black_box(message);
        read += 1;
    }
    read
}

fn main() {
    let words = r#"{"type":"agent:token","executionId":"exec-7f3a91","timestamp":"2026-01-31T12:00:00.000Z","data":{"agentId":"writer","index":17,"token":" and then"},"id":"018f3c2a-9b1d-7c44-a0de-2b8c1f60a5e1"}"#;
    let event: Vec<u8> = words.bytes().cycle().take(200).collect();
    let large: Vec<u8> = words.bytes().cycle().take(16 * 1024).collect();
    let (limits, mut scratch, mut reader) = (Limits::default(), Scratch::default(), Reader::new(false));

    for (name, payload) in [("200 B", &event), ("16 KiB", &large)] {
        let (mut bytes, count) = client_frames(payload);
        measure(&format!("read a masked text frame of {name}"), count, || {
            assert_eq!(read_all(&mut reader, &mut bytes, &limits, &mut scratch), count);
        });
        let middle = bytes.len() / count / 2;
        let one = &mut bytes[..2 * middle];
        measure(&format!("the same in two pieces, {name}"), 1, || {
            let (head, tail) = one.split_at_mut(middle);
            assert_eq!(read_all(&mut reader, head, &limits, &mut scratch), 0);
            assert_eq!(read_all(&mut reader, tail, &limits, &mut scratch), 1);
        });
    }

    let mut header = [0; HEADER_BYTES_MAX];
    measure("encode a header", 1000, || {
        for len in 0..1000u64 {
            black_box(encode_header(Opcode::Text, true, false, black_box(len * 97), &mut header));
        }
    });
    measure("encode a whole frame of 200 B", 1000, || {
        for _ in 0..1000 {
            black_box(frame::encode(Opcode::Text, false, &[black_box(&event)]));
        }
    });

    let (mut deflater, mut inflater, mut out) = (Deflater::new(Default::default()), Inflater::default(), Vec::new());
    for (name, payload) in [("200 B", &event), ("16 KiB", &large)] {
        measure(&format!("compress a frame of {name}"), 10, || {
            for _ in 0..10 {
                black_box(deflater.frame(Opcode::Text, black_box(payload)));
            }
        });
        let Some(compressed) = deflater.compress(payload) else { continue };
        measure(&format!("inflate {} B to {name}", compressed.len()), 10, || {
            for _ in 0..10 {
                inflater.inflate(black_box(&compressed), &mut out, limits.message_bytes_max).expect("inflates");
            }
        });
    }
    println!("{:<52} {:>9} B", "an idle reader", size_of::<Reader>());
}
