//! The clocks of the machine: one that all processes of a run share, and those of processor time.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Microseconds on the monotonic clock, the same for all processes of the machine.
pub(crate) fn now_us() -> u64 {
    u64::try_from(read(ClockId::Monotonic).as_micros()).unwrap_or(u64::MAX)
}

/// Processor time of this process.
pub(crate) fn process_cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Processor time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
