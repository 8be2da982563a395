//! One process that a test started, by whatever name.

use crate::{Fault, Result, leash::Leash};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tokio::time::Instant;

const POLL: Duration = Duration::from_millis(20);

/// A child process with its log. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
    /// Dropped after the child has been waited for.
    _leash: Leash,
}

impl Running {
    /// Starts `command` with its output appended to `log`; `scratch` goes with it if this process is killed.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path, scratch: &Path) -> Result<Self> {
        let out = open_log(log)?;
        let err = out.try_clone().map_err(Fault::io("share a log"))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(Fault::io(format!("start {name} ({})", command.get_program().to_string_lossy())))?;
        let leash = match Leash::hold(child.id(), scratch) {
            Ok(leash) => leash,
            Err(fault) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(fault);
            }
        };
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), ended: None, _leash: leash })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        if self.ended.is_none() {
            // It may have ended by itself meanwhile; `wait` tells.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let (None, Some(pid)) = (self.exited(), pid) else { return Err(self.end()) };
        kill_process(pid, signal).map_err(|error| Fault::io(format!("signal {}", self.name))(error.into()))
    }

    /// Its status if it has ended.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Waits until it ends by itself.
    pub(crate) async fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(status) = self.exited() {
                return Ok(status);
            }
            if Instant::now() >= until {
                return Err(Fault::late(format!("the end of {}", self.name), timeout, self.log_shown()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks `answers` again and again until it is true, the process ends, or time is up.
    pub(crate) async fn until<F: Future<Output = bool>>(
        &mut self,
        timeout: Duration,
        mut answers: impl FnMut() -> F,
    ) -> Result<()> {
        let until = Instant::now() + timeout;
        loop {
            if self.exited().is_some() {
                return Err(self.end());
            }
            if tokio::time::timeout_at(until, answers()).await == Ok(true) {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(Fault::late(format!("an answer of {}", self.name), timeout, self.log_shown()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn end(&mut self) -> Fault {
        let status = self.exited().map_or_else(|| "no such process".into(), |status| status.to_string());
        Fault::Ended { what: self.name.clone(), detail: format!("{status}{}", self.log_shown()) }
    }

    fn log_shown(&self) -> String {
        format!("; end of its log ({}):\n{}", self.log.display(), tail_of(&self.log))
    }

    /// User and system time it has used.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // The second field is the name in parentheses and may hold anything; fields 14 and 15 are utime and stime.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        match (ticks.next(), ticks.next()) {
            (Some(Ok(user)), Some(Ok(system))) => {
                let per_second = rustix::param::clock_ticks_per_second();
                Ok(Duration::from_micros((user + system) * 1_000_000 / per_second))
            }
            _ => Err(Fault::said(format!("/proc/{}/stat", self.pid()), stat)),
        }
    }

    /// Bytes of memory it holds in RAM.
    pub(crate) fn rss_bytes(&self) -> Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| Fault::said(format!("/proc/{}/status", self.pid()), status))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid());
        std::fs::read_to_string(&path).map_err(Fault::io(path))
    }
}

const LOG_TAIL_BYTES: usize = 16 * 1024;
const LOG_TAIL_LINES: usize = 30;

/// The last lines of a log.
pub(crate) fn tail_of(log: &Path) -> String {
    // A log holds what a process wrote, which need not be UTF-8; one that is not there yet is empty.
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

fn open_log(log: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(log).map_err(Fault::io(format!("open {}", log.display())))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports for servers that may be started again: below those that the kernel gives to who connects, which begin at 32,768.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A port of 127.0.0.1 that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    loop {
        let port = rand::random_range(PORTS);
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(Fault::io("find a free port")(error)),
        }
    }
}
