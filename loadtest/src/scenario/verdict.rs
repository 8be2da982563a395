//! From what was gathered to an outcome: sums, the course of the run second by second, and whether the load itself was
//! the limit.

use crate::{
    error::Failure,
    options::load::Load,
    report::outcome::{Moment, Outcome, Quantiles},
    servers::sampler::{Group, Sample, Sampler},
    swarm::{
        common::histogram,
        host::{Heard, Swarms},
    },
};
use hdrhistogram::Histogram;
use std::time::Duration;

/// A client process that works more than this is behind, if not always then often.
const CLIENT_CPU_SHARE_MAX: f64 = 0.85;
/// Sockets that wait longer than this to be read, while others are, make latencies the client half's.
const TURN_MS_MAX: f64 = 25.0;
/// Above this the machine as a whole is the limit.
const MACHINE_BUSY_SHARE_MAX: f64 = 0.95;
/// Events handed over later than this were not published at the rate that was asked for.
const LATE_MS_MAX: f64 = 20.0;

/// What happened between two times.
pub(crate) struct Span {
    pub(crate) from_us: u64,
    pub(crate) to_us: u64,
}

/// The outcome of a load, as far as it is settled before it begins.
pub(crate) fn begin(load: &Load) -> Outcome {
    Outcome {
        scenario: load.name.clone(),
        clients: load.clients.into(),
        rooms: load.rooms.into(),
        gateways: load.gateways.into(),
        bus: load.bus.word().into(),
        protocol: load.speech.word().into(),
        deflate: load.deflate,
        event_bytes: load.event_bytes.into(),
        burst: load.burst.into(),
        ..Outcome::default()
    }
}

/// What clients saw, all told; waits a while for what is still to come.
pub(crate) async fn sum(outcome: &mut Outcome, swarms: &Swarms, published: &[u32], patience: Duration) -> Result<(), Failure> {
    let missing = swarms.settle(published, patience).await?;
    outcome.lost = missing.events;
    let counts = swarms.counts().await?;
    outcome.duplicated = counts.duplicated;
    outcome.misordered = counts.misordered;
    outcome.gaps = counts.gaps;
    outcome.errors = counts.errors;
    outcome.connections_ended = counts.ended;
    outcome.remarks = counts.remarks.into_iter().chain(missing.example).collect();
    Ok(())
}

/// The course of the run, and what says that the load itself was the limit.
pub(crate) fn look_back(outcome: &mut Outcome, span: &Span, swarms: &Swarms, sampler: &Sampler, late: Option<&Histogram<u64>>) {
    let heard = swarms.heard.lock();
    outcome.latency = Quantiles::of(&latency(&heard.latency, span));
    outcome.series = series(&heard, &sampler.samples(), span);
    outcome.strained = strained(&heard, span, sampler.machine_busy_share(span.from_us, span.to_us), late);
}

/// Processor time of a group between two times, and its last memory.
pub(crate) fn used(sampler: &Sampler, group: Group, span: &Span) -> Option<(Duration, u64)> {
    let samples: Vec<Sample> = sampler.samples().into_iter().filter(|sample| sample.group == group).collect();
    let before = samples.iter().rfind(|sample| sample.at_us <= span.from_us).or(samples.first())?;
    let last = samples.iter().rfind(|sample| sample.at_us <= span.to_us)?;
    (last.memory.resident > 0).then(|| (last.cpu.saturating_sub(before.cpu), last.memory.resident))
}

fn within(span: &Span, at_us: u64) -> bool {
    // A tick tells of the half second before it.
    (span.from_us..=span.to_us + 500_000).contains(&at_us)
}

/// All latencies told between two times.
pub(crate) fn latency(told: &[(u64, Histogram<u64>)], span: &Span) -> Histogram<u64> {
    let mut all = histogram();
    for (_, latency) in told.iter().filter(|(at_us, _)| within(span, *at_us)) {
        // All have the same bounds.
        let _ = all.add(latency);
    }
    all
}

fn series(heard: &Heard, samples: &[Sample], span: &Span) -> Vec<Moment> {
    let seconds = (span.to_us.saturating_sub(span.from_us)).div_ceil(1_000_000);
    (0..seconds)
        .map(|second| {
            let part = Span { from_us: span.from_us + second * 1_000_000, to_us: span.from_us + (second + 1) * 1_000_000 };
            moment(second as f64, heard, samples, &part)
        })
        .collect()
}

fn moment(second: f64, heard: &Heard, samples: &[Sample], part: &Span) -> Moment {
    let mut latency = histogram();
    for (_, one) in heard.latency.iter().filter(|(at_us, _)| (part.from_us + 1..=part.to_us).contains(at_us)) {
        let _ = latency.add(one);
    }
    let of = |group| {
        let mut of_group = samples.iter().filter(|sample| sample.group == group);
        let before = of_group.clone().rfind(|sample| sample.at_us <= part.from_us);
        let after = of_group.rfind(|sample| sample.at_us <= part.to_us);
        let Some((before, after)) = before.zip(after) else { return (0.0, 0) };
        let wall = (after.at_us - before.at_us).max(1) as f64 / 1e6;
        (after.cpu.saturating_sub(before.cpu).as_secs_f64() / wall, after.memory.resident)
    };
    let ((gateways_cpu, gateways_bytes), (broker_cpu, broker_bytes)) = (of(Group::Gateways), of(Group::Broker));
    Moment {
        second,
        deliveries_per_second: latency.len() as f64,
        latency: Quantiles::of(&latency),
        gateways_cpu,
        broker_cpu,
        clients_cpu: of(Group::Clients).0,
        publisher_cpu: of(Group::Publisher).0,
        gateways_bytes,
        broker_bytes,
    }
}

fn strained(heard: &Heard, span: &Span, machine: f64, late: Option<&Histogram<u64>>) -> Vec<String> {
    let strain = || heard.strain.iter().filter(|(at_us, _)| within(span, *at_us)).map(|(_, strain)| strain);
    let share = strain().map(|strain| strain.cpu_us as f64 / strain.wall_us.max(1) as f64).fold(0.0, f64::max);
    let turn_ms = strain().map(|strain| strain.turn_us_max).max().unwrap_or(0) as f64 / 1000.0;
    let late_ms = late.map_or(0.0, |late| late.value_at_quantile(0.99) as f64 / 1000.0);
    let mut strained = Vec::new();
    let mut say = |is: bool, what: String| strained.extend(is.then_some(what));
    say(share > CLIENT_CPU_SHARE_MAX, format!("a client process used {:.0} % of a processor in half a second", share * 100.0));
    say(turn_ms > TURN_MS_MAX, format!("sockets with something to read waited up to {turn_ms:.0} ms for their turn"));
    say(machine > MACHINE_BUSY_SHARE_MAX, format!("the machine's processors were {:.0} % busy", machine * 100.0));
    say(late_ms > LATE_MS_MAX, format!("one event in a hundred was published {late_ms:.0} ms late or more"));
    strained
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::order::Strain;

    #[test]
    fn a_load_that_is_its_own_limit_says_so() {
        let strain = |cpu_us, turn_us_max| Strain { cpu_us, wall_us: 500_000, turn_us_max };
        let (mut on_time, mut late) = (histogram(), histogram());
        on_time.saturating_record(1000);
        late.saturating_record(500_000);
        for (what, machine, late, count) in [
            (strain(100_000, 1000), 0.5, &on_time, 0),
            (strain(450_000, 1000), 0.5, &on_time, 1),
            (strain(100_000, 90_000), 0.5, &on_time, 1),
            (strain(100_000, 1000), 0.99, &on_time, 1),
            (strain(100_000, 1000), 0.5, &late, 1),
            (strain(500_000, 90_000), 0.99, &late, 4),
        ] {
            let heard = Heard {
                latency: Vec::new(),
                stayed: Vec::new(),
                outage: histogram(),
                strain: vec![(10, what), (9_000_000, strain(500_000, 0))],
            };
            let said = strained(&heard, &Span { from_us: 0, to_us: 20 }, machine, Some(late));
            assert_eq!(said.len(), count, "{said:?}");
        }
    }
}
