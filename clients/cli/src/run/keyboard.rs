//! What somebody types, a line at a time, and only while a question is open: a line typed earlier answers nothing.

use std::{io, sync::mpsc as std_mpsc};
use tokio::sync::mpsc;

/// Reads lines in a thread of its own, which a read that never returns cannot keep from ending with the process.
pub struct Keyboard {
    wants: std_mpsc::Sender<()>,
    typed: mpsc::Receiver<Option<String>>,
    is_reading: bool,
}

impl Keyboard {
    /// Reads nothing before it is asked to.
    pub fn new() -> Self {
        let (wants, wanted) = std_mpsc::channel::<()>();
        let (lines, typed) = mpsc::channel(1);
        std::thread::spawn(move || {
            while wanted.recv().is_ok() {
                let mut line = String::new();
                let read = io::stdin().read_line(&mut line);
                let line = matches!(read, Ok(1..)).then(|| line.trim_end_matches(['\n', '\r']).to_owned());
                let is_over = line.is_none();
                if lines.blocking_send(line).is_err() || is_over {
                    break;
                }
            }
        });
        Self { wants, typed, is_reading: false }
    }

    /// The next line; `None` where no more come. What is being read when this is dropped is there at the next call.
    pub async fn line(&mut self) -> Option<String> {
        if !self.is_reading {
            // Where the thread has ended nothing is received either.
            let _ = self.wants.send(());
            self.is_reading = true;
        }
        let line = self.typed.recv().await.flatten();
        self.is_reading = false;
        line
    }
}
