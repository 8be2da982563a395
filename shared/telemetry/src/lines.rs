//! Lines on their way to standard error, written by a thread of their own.
//!
//! Standard error is somebody else's pipe: where nobody reads it, a write waits for ever, and with it whatever task was
//! logging. So a line is put into a bounded buffer, and what does not fit is dropped and counted.

use metrics::counter;
use std::{
    borrow::Cow,
    fs::File,
    io::{self, ErrorKind, Write},
    os::fd::AsFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait to be written, those under way included. Some thousand lines; further ones are dropped.
const BYTES_MAX: usize = 1024 * 1024;

/// How long the end of a process waits for its last lines to be read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines that were not written: the buffer was full, or nobody reads any more.
pub(crate) const DROPPED: &str = "weft_log_lines_dropped_total";

/// The buffer; cheap to clone.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes that the thread has taken and not yet written.
    under_way: usize,
    /// Lines dropped since somebody was told.
    dropped: u64,
}

impl Lines {
    /// Starts the thread that writes to standard error, which lives as long as the process.
    pub(crate) fn to_stderr() -> io::Result<Self> {
        // A descriptor of its own: whoever writes to standard error directly must not wait for this thread's lock.
        Self::to(File::from(io::stderr().as_fd().try_clone_to_owned()?))
    }

    fn to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() }));
        let shared = Arc::clone(&lines.0);
        thread::Builder::new().name("log".into()).spawn(move || shared.write_all(out))?;
        Ok(lines)
    }

    /// Puts one line, with its end, into the buffer, or tells that it was dropped. Whoever reads a log takes a line for an
    /// event, so that breaks within one, which libraries and their peers may bring along, are shown as such.
    pub(crate) fn push(&self, line: &[u8]) -> bool {
        let line = &*in_one(line);
        let mut state = self.0.lock();
        let fits = state.waiting.len() + state.under_way + line.len() <= BYTES_MAX;
        if fits {
            state.waiting.extend_from_slice(line);
        } else {
            state.dropped += 1;
        }
        drop(state);
        if fits {
            self.0.changed.notify_all();
        } else {
            counter!(DROPPED).increment(1);
        }
        fits
    }

    /// Waits until everything is written, or nobody has read for a second.
    pub(crate) fn flush(&self) {
        let is_busy = |state: &mut State| !state.waiting.is_empty() || state.under_way > 0;
        // Either way the process ends now.
        let _ = self.0.changed.wait_timeout_while(self.0.lock(), FLUSH_TIMEOUT, is_busy);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut out: impl Write) {
        loop {
            let is_idle = |state: &mut State| state.waiting.is_empty();
            let mut state = self.changed.wait_while(self.lock(), is_idle).unwrap_or_else(PoisonError::into_inner);
            let lines = std::mem::take(&mut state.waiting);
            state.under_way = lines.len();
            drop(state);
            let unread = write(&mut out, &lines);
            let mut state = self.lock();
            state.under_way = 0;
            let dropped = std::mem::take(&mut state.dropped);
            drop(state);
            self.changed.notify_all();
            if unread > 0 {
                counter!(DROPPED).increment(unread);
            }
            if dropped > 0 {
                tracing::warn!(lines = dropped, "log lines were dropped, because nobody read them for a while");
            }
        }
    }
}

/// Writes lines; answers how many could not be written.
fn write(out: &mut impl Write, lines: &[u8]) -> u64 {
    let mut written = 0;
    while written < lines.len() {
        match out.write(&lines[written..]) {
            Ok(0) => break,
            Ok(some) => written += some,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The reader is gone, and there is nobody left to tell.
            Err(_) => break,
        }
    }
    lines[written..].iter().filter(|byte| **byte == b'\n').count() as u64
}

/// A line without breaks but the one at its end.
fn in_one(line: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = line.split_at(line.len() - usize::from(line.ends_with(b"\n")));
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Cow::Borrowed(line);
    }
    let shown = |byte: &u8| match byte {
        b'\n' => b"\\n".to_vec(),
        b'\r' => b"\\r".to_vec(),
        byte => vec![*byte],
    };
    text.iter().flat_map(shown).chain(end.iter().copied()).collect()
}

/// The log calls this once for each line.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A dropped line is counted, and no error for whoever logs.
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = &'w Self;

    fn make_writer(&'w self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, sync::mpsc};

    /// A pipe whose reader reads when it is told to.
    fn piped() -> (Lines, io::PipeReader) {
        let (reader, writer) = io::pipe().expect("a pipe");
        (Lines::to(writer).expect("a thread"), reader)
    }

    fn line(number: usize) -> Vec<u8> {
        format!("{number:0>99}\n").into_bytes()
    }

    #[test]
    fn an_event_has_one_line() {
        for (line, expected) in
            [("plain\n", "plain\n"), ("a\nb\r\nc\n", "a\\nb\\r\\nc\n"), ("", ""), ("\n", "\n"), ("no end", "no end")]
        {
            assert_eq!(String::from_utf8_lossy(&in_one(line.as_bytes())), expected);
        }
    }

    #[test]
    fn what_fits_comes_in_order_and_the_rest_is_dropped_whole() {
        let (lines, reader) = piped();
        let pushed = 5 * BYTES_MAX / 100;
        let kept = (0..pushed).filter(|number| lines.push(&line(*number))).count();
        assert!(kept < pushed, "the pipe has taken everything");
        let (read, numbers) = mpsc::channel();
        thread::spawn(move || {
            let mut piece = [0; 100];
            let mut reader = reader;
            while reader.read_exact(&mut piece).is_ok() {
                let number: usize = std::str::from_utf8(&piece).expect("text").trim_end().parse().expect("a whole line");
                if read.send(number).is_err() {
                    break;
                }
            }
        });
        let came: Vec<usize> =
            (0..kept).map(|_| numbers.recv_timeout(Duration::from_secs(30)).expect("everything that was not dropped")).collect();
        assert!(came.is_sorted() && came[0] == 0);
        lines.flush();
        assert!(numbers.try_recv().is_err());
        lines.push(&line(7));
        assert_eq!(numbers.recv_timeout(Duration::from_secs(30)), Ok(7), "it goes on");
    }

    #[test]
    fn a_flush_ends_also_where_nobody_reads() {
        let (lines, reader) = piped();
        (0..20_000).for_each(|number| _ = lines.push(&line(number)));
        let left = || {
            lines.flush();
            let state = lines.0.lock();
            state.waiting.len() + state.under_way
        };
        assert!(left() > 0, "somebody has read it");
        drop(reader);
        assert!((0..30).any(|_| left() == 0), "a reader that is gone holds nothing up");
    }
}
