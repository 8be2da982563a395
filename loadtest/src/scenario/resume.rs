//! A gateway is killed while events go on; its clients return to a sibling that has clients of its own, all at once,
//! each with the last offset it saw.

use super::{
    CONNECT_PATIENCE,
    stage::{Stage, shape},
    steady,
    verdict::{self, Span},
    weighing::Weighing,
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
    report::{
        outcome::{Outcome, Quantiles},
        say,
    },
    servers::{network::listen_overflows, sampler::Sampler},
    swarm::{
        host::Swarms,
        order::{ComeBack, Follow, What},
    },
};
use std::time::Duration;

/// Of nineteen clients so many are on the one of two gateways that is killed; of more gateways each has its share.
const ON_THE_KILLED: (u32, u32) = (15, 19);
/// Clients come back within this time, as a client library that spreads its attempts would have it.
const COME_BACK: ComeBack = ComeBack { after_ms: 100, spread_ms: 900 };
const BEFORE: Duration = Duration::from_secs(5);
/// What is read from the broker because clients come back, by the siblings' own count.
const READS: [(&str, &str); 3] = [
    ("history reads for sessions", "weft_gateway_history_reads_total"),
    ("history reads for logs", "weft_gateway_feed_reads_total"),
    ("session reads shared", "weft_gateway_history_shared_total"),
];

pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    let mut stage = Stage::up(load).await?;
    if stage.gateways.len() < 2 {
        return Err(Failure::Options("resume-storm kills a gateway of its own: not with --against".into()));
    }
    let mut plan = stage.swarm_plan(load, 0);
    plan.come_back = Some(COME_BACK);
    let swarms = Swarms::start(&plan).await?;
    let mut publish = stage.publish(load, shape(load)).await?;
    let sampler = stage.sampler(&swarms);
    connect(load, &swarms).await?;
    let mut counters = vec![0; load.rooms as usize];
    let began_us = clock::now_us();
    let pace =
        Pace { rate: load.rate, burst: load.burst, rooms: load.rooms, duration: BEFORE.min(load.duration), kind: Kind::Log };
    pace.run(&mut publish, &mut counters).await.map_err(|failure| stage.explain(failure))?;
    publish.flush().await?;
    swarms.settle(&counters, load.patience * 4).await?;

    let before = Span { from_us: began_us, to_us: clock::now_us() };
    kill_first(&mut stage, &sampler);
    say::progress(&format!("{}: killed one of {} gateways; its clients return", load.name, load.gateways));
    let pace = Pace { duration: load.duration, ..pace };
    let mut outcome = storm(load, &stage, &swarms, &sampler, &mut publish, &pace, &mut counters).await?;
    outcome.events_published = counters.iter().map(|counter| u64::from(*counter)).sum();
    tell(&mut outcome, load, &swarms, &before);
    Ok(outcome)
}

async fn connect(load: &Load, swarms: &Swarms) -> Result<(), Failure> {
    say::progress(&format!("{}: connecting {} clients", load.name, load.clients));
    let (share, of) = if load.gateways == 2 { ON_THE_KILLED } else { (1, load.gateways) };
    let killed = (u64::from(load.clients) * u64::from(share) / u64::from(of)) as u32;
    swarms.connect(0, killed, 0, Follow::Now).await?;
    let siblings = load.gateways - 1;
    let part = |sibling| killed + (u64::from(load.clients - killed) * u64::from(sibling) / u64::from(siblings)) as u32;
    for sibling in 0..siblings {
        swarms.connect(part(sibling), part(sibling + 1), sibling + 1, Follow::Now).await?;
    }
    swarms.until_all(What::Connected, CONNECT_PATIENCE).await?;
    swarms.until_all(What::Subscribed, CONNECT_PATIENCE).await
}

fn kill_first(stage: &mut Stage, sampler: &Sampler) {
    let mut victim = stage.gateways.remove(0);
    sampler.forget(victim.process());
    victim.kill();
}

/// Publishes on until everybody has everything again.
async fn storm(
    load: &Load,
    stage: &Stage,
    swarms: &Swarms,
    sampler: &Sampler,
    publish: &mut Publish,
    pace: &Pace,
    counters: &mut [u32],
) -> Result<Outcome, Failure> {
    let mut before = Vec::new();
    for (_, metric) in READS {
        before.push(stage.metric(metric).await);
    }
    let overflows = listen_overflows();
    let weighing = Weighing::begin(stage, swarms, sampler).await?;
    let paced = steady::published(&load.name, swarms, publish, pace, counters).await;
    let Paced { events, late } = paced.map_err(|failure| stage.explain(failure))?;
    let mut outcome = verdict::begin(load);
    verdict::sum(&mut outcome, swarms, counters, load.patience * 4).await?;
    weighing.end(&mut outcome, events, &late).await?;
    for ((what, metric), before) in READS.into_iter().zip(before) {
        if let Some((before, after)) = before.zip(stage.metric(metric).await) {
            outcome.further.insert(what, after - before);
        }
    }
    outcome.further.insert("listen queue overflows", listen_overflows().saturating_sub(overflows) as f64);
    let counts = swarms.counts().await?;
    outcome.further.insert("clients returned", counts.cut as f64);
    if load.speech.is_socket_io() {
        outcome.further.insert("sessions recovered", counts.recovered as f64);
    }
    Ok(outcome)
}

fn tell(outcome: &mut Outcome, load: &Load, swarms: &Swarms, before: &Span) {
    let heard = swarms.heard.lock();
    outcome.further.insert("caught up again", heard.outage.len() as f64);
    outcome.further.insert("rooms", f64::from(load.rooms));
    // A tick tells of the half second before it.
    let after = Span { from_us: before.to_us + 500_001, to_us: u64::MAX / 2 };
    for (what, span) in [("p99 ms before, of all", before), ("p99 ms after, of those who stayed", &after)] {
        if let Some(latency) = Quantiles::of(&verdict::latency(&heard.stayed, span)) {
            outcome.further.insert(what, latency.p99_ms);
        }
    }
    if let Some(outage) = Quantiles::of(&heard.outage) {
        outcome.further.insert("outage ms p50", outage.p50_ms);
        outcome.further.insert("outage ms p99", outage.p99_ms);
        outcome.further.insert("outage ms max", outage.max_ms);
    }
}
