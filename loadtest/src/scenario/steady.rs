//! Events at a fixed rate, whatever comes of it: latency, and the cost of a delivery under that load.

use super::{
    contender::connect_evenly,
    stage::{Stage, shape},
    verdict::{self, Span},
};
use crate::{
    clock,
    error::Failure,
    options::load::Load,
    publish::{
        Publish,
        event::Kind,
        pace::{Pace, Paced},
    },
    report::{outcome::Outcome, say},
    scenario::Scenario,
    servers::{
        process::{cpu_time, memory},
        sampler::{Group, Sampler},
    },
    swarm::{
        host::Swarms,
        order::{ComeBack, Follow, Order, Slow},
    },
};
use std::time::Duration;

/// A tenth of clients reads 2 KB, then nothing for half a second.
const SLOW: Slow = Slow { every: 10, bytes: 2048, pause_ms: 500 };
/// A slow reader that is cut off for its slowness comes back.
const SLOW_COME_BACK: ComeBack = ComeBack { after_ms: 500, spread_ms: 500 };
const WARM_UP: Duration = Duration::from_secs(2);

pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    let stage = Stage::up(load).await?;
    let slow = load.scenario == Scenario::SlowReaders;
    let mut plan = stage.swarm_plan(load);
    if slow {
        (plan.slow, plan.come_back) = (Some(SLOW), Some(SLOW_COME_BACK));
    }
    let swarms = Swarms::start(&plan).await?;
    let mut publish = stage.publish(load, shape(load)).await?;
    say::progress(&format!("{}: connecting {} clients", load.name, load.clients));
    connect_evenly(&swarms, load.clients, load.gateways, Follow::Now).await?;
    let sampler = stage.sampler(&swarms);

    let mut counters = vec![0; load.rooms as usize];
    let pace = pace(load, WARM_UP.min(load.duration));
    pace.run(&mut publish, &mut counters).await.map_err(|failure| stage.explain(failure))?;
    publish.flush().await?;
    swarms.settle(&counters, if slow { Duration::ZERO } else { load.patience }).await?;

    let pace = Pace { duration: load.duration, ..pace };
    let mut outcome = measure(load, &stage, &swarms, &sampler, &mut publish, &pace, &mut counters).await?;
    if slow {
        outcome.further.insert("lost before the slow hurry", swarms.missing(&counters).await?.events as f64);
        swarms.all(&Order::Hurry).await?;
    }
    verdict::sum(&mut outcome, &swarms, &counters, if slow { load.patience * 4 } else { load.patience }).await?;
    if slow {
        outcome.further.insert("slow readers cut off", swarms.counts().await?.cut as f64);
    }
    outcome.events_published = counters.iter().map(|counter| u64::from(*counter)).sum();
    Ok(outcome)
}

fn pace(load: &Load, duration: Duration) -> Pace {
    let kind = if load.scenario == Scenario::Tokens { Kind::Token } else { Kind::Log };
    Pace { rate: load.rate, burst: load.burst, rooms: load.rooms, duration, kind }
}

async fn measure(
    load: &Load,
    stage: &Stage,
    swarms: &Swarms,
    sampler: &Sampler,
    publish: &mut Publish,
    pace: &Pace,
    counters: &mut [u32],
) -> Result<Outcome, Failure> {
    let processes = stage.processes();
    let (from_us, before, cpu_before) = (clock::now_us(), swarms.counts().await?, cpu_time(&processes)?);
    let watching = say::watch(&load.name, swarms, pace.duration);
    let published = async {
        let paced = pace.run(publish, counters).await?;
        publish.flush().await.map(|()| paced)
    };
    let paced: Paced = tokio::select! {
        paced = published => paced.map_err(|failure| stage.explain(failure))?,
        never = watching => match never {},
    };
    if load.scenario != Scenario::SlowReaders {
        swarms.settle(counters, load.patience).await?;
    }
    let (to_us, after, cpu_after) = (clock::now_us(), swarms.counts().await?, cpu_time(&processes)?);
    let span = Span { from_us, to_us };
    let mut outcome = verdict::begin(load);
    outcome.deliveries = after.delivered - before.delivered;
    outcome.seconds = pace.duration.as_secs_f64();
    outcome.deliveries_per_second = outcome.deliveries as f64 / outcome.seconds;
    outcome.cpu_us_per_delivery = cpu_after.saturating_sub(cpu_before).as_secs_f64() * 1e6 / outcome.deliveries.max(1) as f64;
    let resident = memory(&processes)?;
    outcome.further.insert("gateways MB", resident.resident as f64 / 1e6);
    outcome.further.insert("rate events/s", load.rate);
    outcome.further.insert("published late ms p99", paced.late.value_at_quantile(0.99) as f64 / 1000.0);
    // The last tick tells of the last half second.
    tokio::time::sleep(Duration::from_millis(600)).await;
    verdict::look_back(&mut outcome, &span, swarms, sampler, Some(&paced.late));
    if let Some((cpu, bytes)) = verdict::used(sampler, Group::Broker, &span) {
        outcome.broker_cpu_us_per_event = Some(cpu.as_secs_f64() * 1e6 / paced.events.max(1) as f64);
        outcome.broker_bytes = Some(bytes);
    }
    Ok(outcome)
}
