//! A client's bytes come to the same messages however they are cut, hold no more than the limit, and never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_dialect::websocket::{Limits, Reader, Scratch, Violation};

const LIMITS: Limits = Limits { frame_bytes_max: 3000, message_bytes_max: 4000, fragments_max: 12, empty_fragments_max: 4 };

/// What was read, in words, how it ended, and whether something is unfinished; pieces of `piece` bytes.
fn read(deflate: bool, bytes: &[u8], piece: usize) -> (Vec<String>, Option<Violation>, bool) {
    let (mut reader, mut scratch, mut read) = (Reader::new(deflate), Scratch::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        let mut piece = piece.to_vec();
        let mut rest = &mut piece[..];
        loop {
            match reader.read(&mut rest, &LIMITS, &mut scratch) {
                Ok(Some(message)) => read.push(format!("{message:?}")),
                Ok(None) => break,
                Err(violation) => {
                    assert_eq!((reader.bytes_held(), reader.unfinished()), (0, None));
                    return (read, Some(violation), false);
                }
            }
        }
        assert!(rest.is_empty());
        assert!(reader.bytes_held() <= LIMITS.message_bytes_max + 256);
        assert_eq!(reader.bytes_held() > 0, reader.unfinished().is_some());
    }
    (read, None, reader.unfinished().is_some())
}

fuzz_target!(|input: &[u8]| {
    let [mode, piece, bytes @ ..] = input else { return };
    let deflate = mode & 1 == 1;
    let whole = read(deflate, bytes, bytes.len().max(1));
    assert_eq!(read(deflate, bytes, usize::from(*piece).max(1)), whole);
    assert_eq!(read(deflate, bytes, 1), whole);
});
