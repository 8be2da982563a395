//! The process itself, under the names that Prometheus' own clients give: processor time, memory, descriptors, threads.
//!
//! Read from `/proc` when somebody scrapes; where there is none, nothing is told.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};
use std::{fs, time::Duration};

const CPU: &str = "process_cpu_seconds_total";
const RESIDENT: &str = "process_resident_memory_bytes";
const VIRTUAL: &str = "process_virtual_memory_bytes";
const VIRTUAL_MAX: &str = "process_virtual_memory_max_bytes";
const OPEN_FDS: &str = "process_open_fds";
const MAX_FDS: &str = "process_max_fds";
const THREADS: &str = "process_threads";
const STARTED: &str = "process_start_time_seconds";

/// What `/proc/self/stat` tells, of which this needs so much (`man 5 proc`).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: Duration,
    threads: u64,
    /// Since the machine began.
    started: Duration,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The program's name may hold anything, also spaces and parentheses.
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_ascii_whitespace().collect();
        // The first of these is the third of the manual's list.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = |ticks: u64| Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
        Some(Self {
            cpu: ticks(field(14)? + field(15)?),
            threads: field(20)?,
            started: ticks(field(22)?),
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_size() as u64,
        })
    }
}

/// When the machine began, in Unix seconds.
fn machine_began() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

pub(crate) fn describe() {
    describe_counter!(CPU, "User and system time");
    describe_gauge!(RESIDENT, "Resident memory");
    describe_gauge!(VIRTUAL, "Virtual memory");
    describe_gauge!(VIRTUAL_MAX, "As much as there may be");
    describe_gauge!(OPEN_FDS, "Open file descriptors");
    describe_gauge!(MAX_FDS, "As many as there may be");
    describe_gauge!(THREADS, "Threads");
    describe_gauge!(STARTED, "When the process began, in Unix seconds");
}

/// Brings all up to date.
pub(crate) fn collect() {
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::read(&text)) {
        // Whole seconds are what a counter of this recorder holds; rates over minutes need no more.
        counter!(CPU).absolute(stat.cpu.as_secs());
        gauge!(RESIDENT).set(stat.resident_bytes as f64);
        gauge!(VIRTUAL).set(stat.virtual_bytes as f64);
        gauge!(THREADS).set(stat.threads as f64);
        if let Some(began) = machine_began() {
            gauge!(STARTED).set(began as f64 + stat.started.as_secs_f64());
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is that of this reading.
        gauge!(OPEN_FDS).set(open.count().saturating_sub(1) as f64);
    }
    // Without a limit it is as many as can be said, as with Prometheus' own clients.
    gauge!(MAX_FDS).set(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) as f64);
    gauge!(VIRTUAL_MAX).set(getrlimit(Resource::As).current.unwrap_or(u64::MAX) as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_parentheses_are_passed_over() {
        let (ticks, page) = (clock_ticks_per_second(), page_size() as u64);
        let text = format!(
            "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 {} {} 0 0 20 0 9 0 {} 4096 25 18446744073709551615",
            ticks * 2,
            ticks * 3,
            ticks * 10
        );
        let expected = Stat {
            cpu: Duration::from_secs(5),
            threads: 9,
            started: Duration::from_secs(10),
            virtual_bytes: 4096,
            resident_bytes: 25 * page,
        };
        assert_eq!(Stat::read(&text), Some(expected));
        assert_eq!(Stat::read("7 (a"), None);
        assert_eq!(Stat::read("7 (a) S 1 2"), None);
    }
}
