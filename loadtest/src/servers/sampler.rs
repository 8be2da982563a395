//! Looks at processes twice a second while a run goes on, for the plots and for judging the run itself.

use super::process::{MachineTime, Memory, Process, cpu_time, memory};
use crate::clock;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::task::AbortHandle;

const INTERVAL: Duration = Duration::from_millis(500);

/// Processes that are looked at together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    Gateways,
    Broker,
    Clients,
    /// This process, which publishes.
    Publisher,
}

/// Of one group, at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) at_us: u64,
    pub(crate) group: Group,
    /// Since their start.
    pub(crate) cpu: Duration,
    pub(crate) memory: Memory,
}

#[derive(Debug, Default)]
struct Taken {
    watched: Vec<(Group, Vec<Process>)>,
    samples: Vec<Sample>,
    machine: Vec<(u64, MachineTime)>,
}

/// Samples until it is dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    taken: Arc<Mutex<Taken>>,
    task: AbortHandle,
}

impl Sampler {
    pub(crate) fn start(watched: Vec<(Group, Vec<Process>)>) -> Self {
        let taken = Arc::new(Mutex::new(Taken { watched, ..Taken::default() }));
        let task = tokio::spawn(sample(taken.clone())).abort_handle();
        Self { taken, task }
    }

    /// A process that has ended, or will, is not looked at any more.
    pub(crate) fn forget(&self, process: Process) {
        for (_, processes) in &mut self.taken.lock().watched {
            processes.retain(|watched| watched.0 != process.0);
        }
    }

    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.taken.lock().samples.clone()
    }

    /// How much of all processors' time was used between two times.
    pub(crate) fn machine_busy_share(&self, from_us: u64, to_us: u64) -> f64 {
        let taken = self.taken.lock();
        let mut within = taken.machine.iter().filter(|(at_us, _)| (from_us..=to_us).contains(at_us));
        match (within.next(), within.next_back()) {
            (Some((_, first)), Some((_, last))) => last.busy_share_since(*first),
            _ => 0.0,
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn sample(taken: Arc<Mutex<Taken>>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let at_us = clock::now_us();
        let watched = taken.lock().watched.clone();
        let look = |(group, processes): &(Group, Vec<Process>)| {
            // One that ends while it is looked at leaves a hole, which the next round fills.
            let (cpu, memory) = (cpu_time(processes).ok()?, memory(processes).ok()?);
            Some(Sample { at_us, group: *group, cpu, memory })
        };
        let samples: Vec<_> = watched.iter().filter_map(look).collect();
        let mut taken = taken.lock();
        taken.samples.extend(samples);
        taken.machine.push((at_us, MachineTime::now()));
    }
}
