//! No payload makes the inflater panic or pass its limit, and what is compressed inflates to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use weft_dialect::websocket::{
    Deflater, Inflater,
    deflate::{Effort, compressed_tail},
};

thread_local! {
    // Kept, as a thread keeps them: one message must leave nothing behind for the next.
    static BOTH: RefCell<(Deflater, Inflater)> =
        RefCell::new((Deflater::new(Effort { level: 3, bytes_min: 1 }), Inflater::default()));
}

fuzz_target!(|input: &[u8]| {
    let [low, high, bytes @ ..] = input else { return };
    let bytes_max = usize::from(u16::from_le_bytes([*low, *high]));
    BOTH.with_borrow_mut(|(deflater, inflater)| {
        let mut out = Vec::new();
        let first = inflater.inflate(bytes, &mut out, bytes_max);
        assert!(out.capacity() <= bytes_max + 1);
        let mut fresh = Vec::new();
        assert_eq!(Inflater::default().inflate(bytes, &mut fresh, bytes_max), first);
        assert!(first.is_err() || (fresh == out && out.len() <= bytes_max));
        if let Some(compressed) = deflater.compress(bytes) {
            inflater.inflate(&compressed, &mut out, bytes.len()).expect("what we compress");
            assert_eq!(out, bytes);
            let tail = compressed_tail(b",\"offset\":\"a.7\"}").expect("short");
            inflater.inflate(&[&compressed, &tail[..]].concat(), &mut out, bytes.len() + 100).expect("with a tail");
            assert_eq!(out, [bytes, b",\"offset\":\"a.7\"}"].concat());
        }
    });
});
