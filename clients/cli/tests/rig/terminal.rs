//! A terminal with a person at it.
#![allow(dead_code)] // no test file uses all of it

use super::SOON;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::process::{Child, Command};

/// A pseudo terminal, and a program on it.
pub struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    pub child: Child,
}

impl Terminal {
    pub fn start(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("a size");
        let name = ptsname(&master, Vec::new()).expect("a name").into_string().expect("text");
        let open = || Stdio::from(OpenOptions::new().read(true).write(true).open(&name).expect("opened"));
        command.env("TERM", "xterm").stdin(open()).stdout(open()).stderr(open());
        let child = command.spawn().expect("started");
        // The command holds ends of the terminal that must be gone for its end to be seen.
        drop(command);
        let keyboard = File::from(master);
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut reader, shown) = (keyboard.try_clone().expect("cloned"), screen.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody has open any more is an error to read.
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                shown.lock().expect("no panic").push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        });
        Self { keyboard, screen, child }
    }

    pub fn screen(&self) -> String {
        self.screen.lock().expect("no panic").clone()
    }

    /// Waits until this is on the screen, so many times.
    pub async fn shows(&mut self, text: &str, times: usize) {
        let begun = Instant::now();
        while self.screen().matches(text).count() < times {
            let ended = self.child.try_wait().expect("looked after");
            let in_time = begun.elapsed() < SOON && ended.is_none();
            assert!(in_time, "{text:?} is not shown {times} times, ended {ended:?}: {}", self.screen());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("typed");
    }

    /// The code that it leaves with, and all that was shown.
    pub async fn end(mut self) -> (i32, String) {
        let status = tokio::time::timeout(SOON, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end: {}", self.screen())).expect("waited for");
        // What was written last is still to be read.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        (status.code().unwrap_or(-1), self.screen())
    }
}
