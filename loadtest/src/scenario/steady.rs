//! Events at a fixed rate, whatever comes of it: latency, and the cost of a delivery under that load.

use super::{
    contender::connect_evenly,
    stage::{Stage, shape},
    verdict,
    weighing::Weighing,
};
use crate::{
    error::Failure,
    options::load::Load,
    publish::{
        Publish,
        event::Kind,
        pace::{Pace, Paced},
    },
    report::{outcome::Outcome, say},
    scenario::Scenario,
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
/// Of slow readers: the server needs a while to bring them what they missed.
const SLOW_PATIENCE: u32 = 4;
const WARM_UP: Duration = Duration::from_secs(2);

pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    let stage = Stage::up(load).await?;
    let slow = load.scenario == Scenario::SlowReaders;
    let mut plan = stage.swarm_plan(load, 0);
    if slow {
        (plan.slow, plan.come_back) = (Some(SLOW), Some(SLOW_COME_BACK));
    }
    let swarms = Swarms::start(&plan).await?;
    let mut publish = stage.publish(load, shape(load)).await?;
    say::progress(&format!("{}: connecting {} clients", load.name, load.clients));
    connect_evenly(&swarms, load.clients, load.gateways, Follow::Now).await?;
    let mut counters = vec![0; load.rooms as usize];
    let mut outcome =
        measure(load, &stage, &swarms, &mut publish, &mut counters).await.map_err(|failure| stage.explain(failure))?;
    if slow {
        outcome.further.insert("behind before the slow hurry", swarms.missing(&counters).await?.events as f64);
        swarms.all(&Order::Hurry).await?;
        verdict::sum(&mut outcome, &swarms, &counters, load.patience * SLOW_PATIENCE).await?;
        outcome.further.insert("slow readers cut off", swarms.counts().await?.cut as f64);
    } else {
        verdict::sum(&mut outcome, &swarms, &counters, load.patience).await?;
    }
    outcome.events_published = counters.iter().map(|counter| u64::from(*counter)).sum();
    Ok(outcome)
}

/// Warms up, then publishes for as long as was asked for.
async fn measure(
    load: &Load,
    stage: &Stage,
    swarms: &Swarms,
    publish: &mut Publish,
    counters: &mut [u32],
) -> Result<Outcome, Failure> {
    let slow = load.scenario == Scenario::SlowReaders;
    // Those who are slow by choice need not have everything yet.
    let patience = if slow { Duration::ZERO } else { load.patience };
    let sampler = stage.sampler(swarms);
    let pace = pace(load, WARM_UP.min(load.duration));
    pace.run(publish, counters).await?;
    publish.flush().await?;
    swarms.settle(counters, patience).await?;
    let weighing = Weighing::begin(stage, swarms, &sampler).await?;
    let pace = Pace { duration: load.duration, ..pace };
    let paced = published(&load.name, swarms, publish, &pace, counters).await?;
    swarms.settle(counters, patience).await?;
    let mut outcome = verdict::begin(load);
    weighing.end(&mut outcome, paced.events, &paced.late).await?;
    outcome.further.insert("rate events/s", load.rate);
    Ok(outcome)
}

fn pace(load: &Load, duration: Duration) -> Pace {
    let kind = if load.scenario == Scenario::Tokens { Kind::Token } else { Kind::Log };
    Pace { rate: load.rate, burst: load.burst, rooms: load.rooms, duration, kind }
}

/// Publishes at a pace, saying how far it is.
pub(super) async fn published(
    name: &str,
    swarms: &Swarms,
    publish: &mut Publish,
    pace: &Pace,
    counters: &mut [u32],
) -> Result<Paced, Failure> {
    let stored = async {
        let paced = pace.run(publish, counters).await?;
        publish.flush().await.map(|()| paced)
    };
    tokio::select! {
        paced = stored => paced,
        never = say::watch(name, swarms, pace.duration) => match never {},
    }
}
