//! Lines of standard input, as many at once as are there: a slow writer's line is sent when it comes, a file's in large pieces.

use bytes::Bytes;
use std::io::{self, BufRead, BufReader, Read};
use tokio::sync::mpsc;
use weft_event::Limits;

/// Most lines and bytes of a chunk, passed by at most one line.
const CHUNK_LINES: usize = 500;
const CHUNK_BYTES: usize = 512 * 1024;
/// Chunks that are read ahead; then the writer waits.
const AHEAD: usize = 2;

/// One line.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// Counted from 1.
    pub number: u64,
    /// What it says; `None` where it is longer than an event can be.
    pub text: Option<Bytes>,
}

/// Lines that came together. Empty ones are left out.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The lines.
    pub lines: Vec<Line>,
    /// Why nothing more comes, if that is not the end.
    pub failure: Option<io::Error>,
}

/// Reads in a thread of its own, which a read that never returns cannot keep from ending with the process.
pub fn read(from: impl Read + Send + 'static) -> mpsc::Receiver<Chunk> {
    let (chunks, taken) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut reader = Reader::new(from);
        // Whoever took the chunks has gone: nothing is left to be read for.
        while let Some(chunk) = reader.chunk()
            && chunks.blocking_send(chunk).is_ok()
        {}
    });
    taken
}

struct Reader<R> {
    from: BufReader<R>,
    number: u64,
    is_over: bool,
}

impl<R: Read> Reader<R> {
    fn new(from: R) -> Self {
        Self { from: BufReader::with_capacity(64 * 1024, from), number: 0, is_over: false }
    }

    /// The next lines; `None` at the end.
    fn chunk(&mut self) -> Option<Chunk> {
        if self.is_over {
            return None;
        }
        let mut chunk = Chunk::default();
        let mut bytes = 0;
        while chunk.lines.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            // What is there is sent before more is waited for.
            if !chunk.lines.is_empty() && !self.from.buffer().contains(&b'\n') {
                break;
            }
            match self.line() {
                Ok(Some(line)) => {
                    bytes += line.text.as_ref().map_or(0, Bytes::len);
                    let is_blank = line.text.as_ref().is_some_and(|text| text.trim_ascii().is_empty());
                    if !is_blank {
                        chunk.lines.push(line);
                    }
                }
                Ok(None) => {
                    self.is_over = true;
                    break;
                }
                Err(error) => {
                    (self.is_over, chunk.failure) = (true, Some(error));
                    break;
                }
            }
        }
        let is_empty = self.is_over && chunk.lines.is_empty() && chunk.failure.is_none();
        (!is_empty).then_some(chunk)
    }

    fn line(&mut self) -> io::Result<Option<Line>> {
        let most = Limits::default().event_bytes_max;
        let (mut text, mut is_there, mut is_long) = (Vec::new(), false, false);
        loop {
            let buffer = match self.from.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                break;
            }
            is_there = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            is_long |= text.len() + piece.len() > most;
            if is_long {
                text.clear();
            } else {
                text.extend_from_slice(piece);
            }
            let used = piece.len() + usize::from(end.is_some());
            self.from.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !is_there {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(Line { number: self.number, text: (!is_long).then(|| text.into()) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: impl Into<Vec<u8>>) -> Vec<(u64, Option<usize>)> {
        let mut reader = Reader::new(io::Cursor::new(input.into()));
        let chunks = std::iter::from_fn(|| reader.chunk());
        chunks.flat_map(|chunk| chunk.lines).map(|line| (line.number, line.text.map(|text| text.len()))).collect()
    }

    #[test]
    fn lines_are_counted_and_empty_ones_left_out() {
        assert_eq!(lines(""), []);
        assert_eq!(lines("a\n\n \r\nbb\nccc"), [(1, Some(1)), (4, Some(2)), (5, Some(3))]);
    }

    #[test]
    fn a_line_longer_than_an_event_is_passed_over() {
        let most = Limits::default().event_bytes_max;
        let input = format!("{}\n{}\nend\n", "x".repeat(most), "x".repeat(3 * most));
        assert_eq!(lines(input), [(1, Some(most)), (2, None), (3, Some(3))]);
    }

    #[test]
    fn chunks_have_a_bound() {
        let mut reader = Reader::new(io::Cursor::new("x\n".repeat(CHUNK_LINES + 1)));
        let sizes: Vec<usize> = std::iter::from_fn(|| reader.chunk()).map(|chunk| chunk.lines.len()).collect();
        assert_eq!(sizes, [CHUNK_LINES, 1]);
    }

    #[test]
    fn what_is_there_is_given_before_more_is_waited_for() {
        /// Gives a piece at each read.
        struct Slow(Vec<&'static str>);
        impl Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0.is_empty() {
                    return Err(io::Error::other("gone"));
                }
                let piece = self.0.remove(0);
                buffer[..piece.len()].copy_from_slice(piece.as_bytes());
                Ok(piece.len())
            }
        }
        let mut reader = Reader::new(Slow(vec!["a\nb\nc", "d\n"]));
        let first = reader.chunk().expect("lines");
        assert_eq!(first.lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(reader.chunk().expect("lines").lines[0].text.as_deref(), Some(&b"cd"[..]));
        assert!(reader.chunk().expect("the end").failure.is_some_and(|error| error.to_string() == "gone"));
        assert!(reader.chunk().is_none());
    }
}
