//! The system under load between two moments: what it delivered, and what that cost it and its broker.

use super::{
    stage::Stage,
    verdict::{self, Span},
};
use crate::{
    clock,
    error::Failure,
    report::outcome::Outcome,
    servers::{
        process::{Process, cpu_time, memory},
        sampler::{Group, Sampler},
    },
    swarm::host::Swarms,
};
use hdrhistogram::Histogram;
use std::time::Duration;

/// A client process tells of the last half second at its next tick.
const LAST_TICK: Duration = Duration::from_millis(600);

pub(crate) struct Weighing<'a> {
    swarms: &'a Swarms,
    sampler: &'a Sampler,
    processes: Vec<Process>,
    from_us: u64,
    delivered: u64,
    cpu: Duration,
}

impl<'a> Weighing<'a> {
    pub(crate) async fn begin(stage: &Stage, swarms: &'a Swarms, sampler: &'a Sampler) -> Result<Self, Failure> {
        let (processes, delivered) = (stage.processes(), swarms.counts().await?.delivered);
        let (from_us, cpu) = (clock::now_us(), cpu_time(&processes)?);
        Ok(Self { swarms, sampler, processes, from_us, delivered, cpu })
    }

    /// Fills in what happened since; `events` were published meanwhile, so late.
    pub(crate) async fn end(self, outcome: &mut Outcome, events: u64, late: &Histogram<u64>) -> Result<(), Failure> {
        let (cpu, delivered) = (cpu_time(&self.processes)?.saturating_sub(self.cpu), self.swarms.counts().await?.delivered);
        let span = Span { from_us: self.from_us, to_us: clock::now_us() };
        outcome.deliveries = delivered - self.delivered;
        outcome.seconds = (span.to_us - span.from_us) as f64 / 1e6;
        outcome.deliveries_per_second = outcome.deliveries as f64 / outcome.seconds;
        outcome.cpu_us_per_delivery = cpu.as_secs_f64() * 1e6 / outcome.deliveries.max(1) as f64;
        outcome.further.insert("gateways MB", memory(&self.processes)?.resident as f64 / 1e6);
        outcome.further.insert("published late ms p99", late.value_at_quantile(0.99) as f64 / 1000.0);
        tokio::time::sleep(LAST_TICK).await;
        verdict::look_back(outcome, &span, self.swarms, self.sampler, Some(late));
        if let Some((cpu, bytes)) = verdict::used(self.sampler, Group::Broker, &span) {
            outcome.broker_cpu_us_per_event = Some(cpu.as_secs_f64() * 1e6 / events.max(1) as f64);
            outcome.broker_bytes = Some(bytes);
        }
        Ok(())
    }
}
