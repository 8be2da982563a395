//! What a process costs, from outside: processor time and memory, as the kernel accounts them.

use crate::{error::Failure, scenario::Scenario};
use rustix::process::{Resource, getrlimit};
use std::time::Duration;

/// Listening sockets, logs, the runtime's own, and requests on the way.
const DESCRIPTORS_BESIDE: u64 = 200;

/// Says clearly that a scenario cannot be run here, before anything is started. The gateway inherits the limit.
pub(crate) fn check_descriptors(scenario: &Scenario) -> Result<(), Failure> {
    let needed = u64::from(scenario.clients) + DESCRIPTORS_BESIDE;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => Err(Failure::Descriptors { scenario: scenario.name.clone(), needed, limit }),
        _ => Ok(()),
    }
}

/// A process, looked at through `/proc`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// User and system time since its start; the kernel counts in hundredths of a second.
    pub(crate) fn cpu_time(self) -> Result<Duration, Failure> {
        let stat = self.read("stat")?;
        let ticks = cpu_ticks(&stat).ok_or_else(|| self.unreadable("stat"))?;
        Ok(Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second()))
    }

    /// Bytes of memory it holds.
    pub(crate) fn rss_bytes(self) -> Result<u64, Failure> {
        let status = self.read("status")?;
        rss_kib(&status).map(|kib| kib * 1024).ok_or_else(|| self.unreadable("status"))
    }

    fn read(self, file: &str) -> Result<String, Failure> {
        let path = format!("/proc/{}/{file}", self.0);
        std::fs::read_to_string(&path).map_err(Failure::io(format!("read {path} (has the gateway ended?)")))
    }

    fn unreadable(self, file: &str) -> Failure {
        Failure::io(format!("read /proc/{}/{file}", self.0))(std::io::Error::other("it has an unknown form"))
    }
}

/// The second field is the program's name in parentheses and may hold anything; fields 14 and 15 are user and system.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn rss_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 3 0 100 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(rss_kib("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n"), Some(2048));
        assert_eq!((cpu_ticks("7 (x"), rss_kib("")), (None, None));
        let own = Process(std::process::id());
        assert!(own.cpu_time().is_ok() && own.rss_bytes().is_ok_and(|bytes| bytes > 0));
    }
}
