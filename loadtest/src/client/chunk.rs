//! The body of an HTTP answer that has no end: chunks, as little of them as a client needs that only counts.

use std::io;

/// Far more than any event holds; a guard against what would fill the memory.
const CHUNK_BYTES_MAX: usize = 16 << 20;
/// A longer line is no size.
const SIZE_LINE_BYTES_MAX: usize = 256;

/// What stands at the front of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    /// Empty at the end of the body.
    pub(crate) payload: &'a [u8],
    /// Size, payload and line ends.
    pub(crate) length: usize,
}

/// The first chunk of `bytes`; `None` while it is incomplete.
pub(crate) fn parse(bytes: &[u8]) -> io::Result<Option<Chunk<'_>>> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() > SIZE_LINE_BYTES_MAX { Err(broken()) } else { Ok(None) };
    };
    // Whatever a proxy says after a semicolon is nothing to us.
    let digits = bytes[..end].split(|byte| matches!(byte, b';' | b'\r')).next().unwrap_or_default();
    let size = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits.trim(), 16).ok());
    let size = size.filter(|size| *size <= CHUNK_BYTES_MAX).ok_or_else(broken)?;
    let (start, length) = (end + 1, end + 1 + size + 2);
    match bytes.get(start..length) {
        None => Ok(None),
        Some(chunk) if chunk.ends_with(b"\r\n") => Ok(Some(Chunk { payload: &chunk[..size], length })),
        Some(_) => Err(broken()),
    }
}

/// A chunk of these bytes.
pub(crate) fn chunk(payload: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
    out
}

fn broken() -> io::Error {
    io::Error::other("an answer whose chunks cannot be told apart")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_every_length_are_found_and_incomplete_ones_waited_for() {
        for length in [0, 1, 15, 16, 70_000] {
            let payload = vec![b'x'; length];
            let mut bytes = chunk(&payload);
            for cut in [0, 1, bytes.len() - 1] {
                assert_eq!(parse(&bytes[..cut]).expect("so far"), None, "{length} cut at {cut}");
            }
            let whole = bytes.len();
            bytes.extend_from_slice(b"5\r\n");
            assert_eq!(parse(&bytes).expect("a chunk"), Some(Chunk { payload: &payload, length: whole }));
        }
        let extended = b"2;name=value\r\nab\r\n";
        assert_eq!(parse(extended).expect("a chunk"), Some(Chunk { payload: b"ab", length: extended.len() }));
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for bytes in [&b"x\r\n"[..], b"\r\nab", b"2\r\nabcd", b"fffffffffff\r\n", &[b'1'; SIZE_LINE_BYTES_MAX + 1]] {
            assert!(parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
