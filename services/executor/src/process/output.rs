//! Output as it appears: bytes become lines, within a bound for each line and one for all.

use parking_lot::Mutex;
use std::{fmt, future::Future};
use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::debug;

/// Longest line in bytes; what is beyond is counted and not told.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// How much of the standard output is kept as a node's output: with JSON's escapes it still fits into a snapshot.
pub const TEXT_BYTES_MAX: usize = 12 * 1024;
/// One read from a pipe.
const CHUNK_BYTES: usize = 8 * 1024;

/// Which of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// Its usual name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        }
    }
}

/// What of the output was not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Lines not told at all.
    pub lines: u64,
    /// Lines told only in part.
    pub shortened: u64,
    /// Bytes not told, of both.
    pub bytes: u64,
}

impl Cut {
    /// Whether anything is missing.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.lines > 0 || self.shortened > 0
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "output cut: {} lines not shown, {} lines shortened to {LINE_BYTES_MAX} bytes, {} bytes missing in all",
            self.lines, self.shortened, self.bytes
        )
    }
}

/// What may still be told, shared by both outputs of a process.
pub(super) struct Budget(Mutex<Account>);

struct Account {
    bytes_left: usize,
    lines_left: usize,
    text: Vec<u8>,
    cut: Cut,
}

impl Budget {
    pub(super) fn new(bytes_left: usize, lines_left: usize) -> Self {
        Self(Mutex::new(Account { bytes_left, lines_left, text: Vec::new(), cut: Cut::default() }))
    }

    /// Takes note of a line; whether it may be told.
    fn admit(&self, stream: Stream, line: &[u8], beyond: u64) -> bool {
        let mut account = self.0.lock();
        if stream == Stream::Out {
            let room = TEXT_BYTES_MAX.saturating_sub(account.text.len());
            account.text.extend(line.iter().chain(b"\n").take(room));
        }
        // Once something is left out everything after it is: what is told has no holes.
        let fits = account.lines_left > 0 && account.bytes_left >= line.len() && account.cut.lines == 0;
        if fits {
            account.lines_left -= 1;
            account.bytes_left -= line.len();
            account.cut.shortened += u64::from(beyond > 0);
            account.cut.bytes += beyond;
        } else {
            account.cut.lines += 1;
            account.cut.bytes += line.len() as u64 + beyond;
        }
        fits
    }

    pub(super) fn finish(&self) -> (String, Cut) {
        let mut account = self.0.lock();
        let text = std::mem::take(&mut account.text);
        (String::from_utf8_lossy(&text).trim_end_matches(['\n', '\r']).to_owned(), account.cut)
    }
}

/// Reads a pipe to its end. It is read even when nothing more may be told, so that the process never waits for it.
pub(super) async fn read_lines<P, F, T>(pipe: Option<P>, stream: Stream, budget: &Budget, told: &F)
where
    P: AsyncRead + Unpin,
    F: Fn(Stream, String) -> T,
    T: Future<Output = ()>,
{
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut lines = Lines::default();
    loop {
        let read = match pipe.read(&mut chunk).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                debug!(%error, stream = stream.word(), "output cannot be read");
                break;
            }
        };
        let mut rest = &chunk[..read];
        while let Some((line, beyond)) = lines.take(&mut rest) {
            tell(&line, beyond, stream, budget, told).await;
        }
    }
    if let Some((line, beyond)) = lines.finish() {
        tell(&line, beyond, stream, budget, told).await;
    }
}

async fn tell<F, T>(line: &[u8], beyond: u64, stream: Stream, budget: &Budget, told: &F)
where
    F: Fn(Stream, String) -> T,
    T: Future<Output = ()>,
{
    if budget.admit(stream, line, beyond) {
        told(stream, String::from_utf8_lossy(line).into_owned()).await;
    }
}

/// Bytes on their way to lines; holds at most one line.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    /// Bytes of this line that did not fit.
    beyond: u64,
    begun: bool,
}

impl Lines {
    /// Takes bytes from `rest` up to the end of a line; `None` when they end before it does.
    fn take(&mut self, rest: &mut &[u8]) -> Option<(Vec<u8>, u64)> {
        let (piece, ends) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(at) => (&rest[..at], true),
            None => (*rest, false),
        };
        *rest = &rest[piece.len() + usize::from(ends)..];
        self.begun |= !piece.is_empty();
        let fits = piece.len().min(LINE_BYTES_MAX - self.line.len());
        self.line.extend_from_slice(&piece[..fits]);
        self.beyond += (piece.len() - fits) as u64;
        if ends {
            self.begun = true;
            return self.finish();
        }
        None
    }

    /// The line so far, if one has begun.
    fn finish(&mut self) -> Option<(Vec<u8>, u64)> {
        if !std::mem::take(&mut self.begun) {
            return None;
        }
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some((line, std::mem::take(&mut self.beyond)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told_of(chunks: &[&[u8]], budget: &Budget) -> Vec<String> {
        let told = Mutex::new(Vec::new());
        let pipe = tokio_test_pipe(chunks);
        read_lines(Some(pipe), Stream::Out, budget, &|_, line| {
            told.lock().push(line);
            std::future::ready(())
        })
        .await;
        told.into_inner()
    }

    fn tokio_test_pipe(chunks: &[&[u8]]) -> impl AsyncRead + Unpin {
        std::io::Cursor::new(chunks.concat())
    }

    #[tokio::test]
    async fn bytes_become_lines() {
        let long = "x".repeat(LINE_BYTES_MAX + 5);
        for (bytes, lines) in [
            (&b""[..], vec![]),
            (b"one\ntwo\r\n\nlast", vec!["one", "two", "", "last"]),
            (b"\n", vec![""]),
            (b"a\xff\xfeb\n", vec!["a\u{fffd}\u{fffd}b"]),
            (long.as_bytes(), vec![&long[..LINE_BYTES_MAX]]),
        ] {
            assert_eq!(told_of(&[bytes], &Budget::new(1 << 20, 100)).await, lines);
        }
    }

    #[tokio::test]
    async fn what_is_beyond_the_bounds_is_counted() {
        let long = format!("{}\nshort\n", "x".repeat(LINE_BYTES_MAX + 7));
        let budget = Budget::new(1 << 20, 100);
        assert_eq!(told_of(&[long.as_bytes()], &budget).await.len(), 2);
        assert_eq!(budget.finish().1, Cut { lines: 0, shortened: 1, bytes: 7 });

        let budget = Budget::new(1 << 20, 2);
        assert_eq!(told_of(&[b"a\nb\ncc\nddd\n"], &budget).await, ["a", "b"]);
        let (text, cut) = budget.finish();
        assert_eq!((text.as_str(), cut), ("a\nb\ncc\nddd", Cut { lines: 2, shortened: 0, bytes: 5 }));

        // After the first line left out nothing more is told, even if it would fit.
        let budget = Budget::new(4, 100);
        assert_eq!(told_of(&[b"abc\nabcd\nx\n"], &budget).await, ["abc"]);
        assert_eq!(budget.finish().1.lines, 2);

        let much = "0123456789abcde\n".repeat(1000);
        let budget = Budget::new(1 << 20, 10_000);
        assert_eq!(told_of(&[much.as_bytes()], &budget).await.len(), 1000);
        assert!(budget.finish().0.len() <= TEXT_BYTES_MAX);
    }
}
