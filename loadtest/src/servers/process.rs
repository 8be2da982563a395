//! What a process costs, from outside: processor time and memory, as the kernel accounts them.

use crate::error::Failure;
use rustix::process::{Resource, getrlimit};
use std::time::Duration;

/// Listening sockets, logs, the runtime's own, and requests on the way.
const DESCRIPTORS_BESIDE: u64 = 200;

/// Says clearly that so many clients of one process cannot be, before anything is started. Children inherit the limit.
pub(crate) fn check_descriptors(what: &str, clients: u32) -> Result<(), Failure> {
    let needed = u64::from(clients) + DESCRIPTORS_BESIDE;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < needed => Err(Failure::Descriptors { what: what.into(), needed, limit }),
        _ => Ok(()),
    }
}

/// A process, looked at through `/proc`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Held in RAM, the program's own pages included.
    pub(crate) resident: u64,
    /// Of these, what is private and no file's: what the process has allocated.
    pub(crate) anonymous: u64,
}

impl Process {
    /// User and system time since its start.
    pub(crate) fn cpu_time(self) -> Result<Duration, Failure> {
        let stat = self.read("stat")?;
        let ticks = cpu_ticks(&stat).ok_or_else(|| self.unreadable("stat"))?;
        let coarse = Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second());
        Ok(finer(coarse, self.threads_cpu_time()))
    }

    /// The same of the threads that run now, where the kernel tells: in nanoseconds, but without those that have ended.
    fn threads_cpu_time(self) -> Option<Duration> {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0)).ok()?;
        threads.map(|thread| nanos(&std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?)).sum()
    }

    pub(crate) fn memory(self) -> Result<Memory, Failure> {
        let status = self.read("status")?;
        let kib = |field| kib(&status, field).ok_or_else(|| self.unreadable("status"));
        Ok(Memory { resident: kib("VmRSS:")? * 1024, anonymous: kib("RssAnon:")? * 1024 })
    }

    /// Processes that it has started and that still run, theirs included.
    pub(crate) fn descendants(self) -> Vec<Process> {
        let mut found = Vec::new();
        let mut left = vec![self];
        while let Some(parent) = left.pop() {
            let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.0)).unwrap_or_default();
            let children: Vec<_> = children.split_whitespace().filter_map(|pid| pid.parse().ok().map(Process)).collect();
            found.extend(&children);
            left.extend(children);
        }
        found
    }

    fn read(self, file: &str) -> Result<String, Failure> {
        let path = format!("/proc/{}/{file}", self.0);
        std::fs::read_to_string(&path).map_err(Failure::io(format!("read {path} (has the process ended?)")))
    }

    fn unreadable(self, file: &str) -> Failure {
        Failure::io(format!("read /proc/{}/{file}", self.0))(std::io::Error::other("it has an unknown form"))
    }
}

/// Processor time of several.
pub(crate) fn cpu_time(processes: &[Process]) -> Result<Duration, Failure> {
    processes.iter().map(|process| process.cpu_time()).sum()
}

/// Memory of several. What they share is in it more than once, as for each of them alone.
pub(crate) fn memory(processes: &[Process]) -> Result<Memory, Failure> {
    processes.iter().try_fold(Memory::default(), |sum, process| {
        let one = process.memory()?;
        Ok(Memory { resident: sum.resident + one.resident, anonymous: sum.anonymous + one.anonymous })
    })
}

/// The part of all processors' time that was used between two of these.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MachineTime {
    busy: u64,
    all: u64,
}

impl MachineTime {
    /// As of now; nothing where the kernel does not say.
    pub(crate) fn now() -> Self {
        machine_time(&std::fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
    }

    pub(crate) fn busy_share_since(self, before: Self) -> f64 {
        let (busy, all) = (self.busy.saturating_sub(before.busy), self.all.saturating_sub(before.all));
        busy as f64 / all.max(1) as f64
    }
}

fn machine_time(stat: &str) -> Option<MachineTime> {
    let fields: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    let (all, idle) = (fields.iter().take(8).sum::<u64>(), fields.get(3)? + fields.get(4)?);
    Some(MachineTime { busy: all - idle, all })
}

/// The second field is the program's name in parentheses and may hold anything; fields 14 and 15 are user and system.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// The whole process' time comes in hundredths of a second; that of its threads is better as long as none that has
/// worked has ended.
fn finer(coarse: Duration, threads: Option<Duration>) -> Duration {
    threads.filter(|threads| threads.abs_diff(coarse) < ENDED_THREADS_MAX).unwrap_or(coarse)
}

/// More than the coarse figure is wrong by.
const ENDED_THREADS_MAX: Duration = Duration::from_millis(50);

/// The first field is what the thread has run.
fn nanos(schedstat: &str) -> Option<Duration> {
    Some(Duration::from_nanos(schedstat.split_whitespace().next()?.parse().ok()?))
}

fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 3 0 100 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(kib("Name:\tx\nVmRSS:\t   2048 kB\nThreads:\t1\n", "VmRSS:"), Some(2048));
        assert_eq!((cpu_ticks("7 (x"), kib("", "VmRSS:")), (None, None));
        assert_eq!((nanos("5010792 1084956 3\n"), nanos("")), (Some(Duration::from_nanos(5_010_792)), None));
        let own = Process(std::process::id());
        assert!(own.cpu_time().is_ok() && own.memory().is_ok_and(|memory| memory.resident > memory.anonymous));
    }

    #[test]
    fn time_of_threads_is_finer_unless_some_have_ended() {
        let millis = Duration::from_millis;
        for (coarse, threads, expected) in
            [(100, Some(107), 107), (100, Some(93), 93), (100, None, 100), (500, Some(107), 500), (100, Some(190), 100)]
        {
            assert_eq!(finer(millis(coarse), threads.map(millis)), millis(expected), "{coarse} {threads:?}");
        }
    }

    #[test]
    fn the_machine_is_busy_with_all_that_is_not_idle() {
        let before = machine_time("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1").expect("read");
        let after = machine_time("cpu  130 0 60 850 60 0 0 0 7 7\n").expect("read");
        assert!((after.busy_share_since(before) - 0.4).abs() < 1e-9 && before.busy_share_since(after) < 1e-9);
        assert!(machine_time("").is_none());
    }
}
