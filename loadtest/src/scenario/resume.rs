//! A gateway is killed while events go on; its clients return to a sibling that has clients of its own, all at once,
//! each with the last offset it saw.

use super::{
    CONNECT_PATIENCE,
    stage::{Stage, shape},
    verdict::{self, Span},
};
use crate::{
    clock,
    error::Failure,
    options::load::Load,
    publish::{Publish, event::Kind, pace::Pace},
    report::{
        outcome::{Outcome, Quantiles},
        say,
    },
    servers::{process::cpu_time, sampler::Group},
    swarm::{
        host::Swarms,
        order::{ComeBack, Follow, What},
    },
};
use std::time::Duration;

/// Of nineteen clients so many are on the gateway that is killed.
const ON_THE_KILLED: (u32, u32) = (15, 19);
/// Clients come back within this time, as a client library that spreads its attempts would have it.
const COME_BACK: ComeBack = ComeBack { after_ms: 100, spread_ms: 900 };
const BEFORE: Duration = Duration::from_secs(5);

pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    let mut stage = Stage::up(load).await?;
    let mut plan = stage.swarm_plan(load);
    plan.come_back = Some(COME_BACK);
    let swarms = Swarms::start(&plan).await?;
    let mut publish = stage.publish(load, shape(load)).await?;
    let sampler = stage.sampler(&swarms);
    connect(load, &swarms).await?;
    let mut counters = vec![0; load.rooms as usize];
    let pace = |duration| Pace { rate: load.rate, burst: load.burst, rooms: load.rooms, duration, kind: Kind::Log };
    pace(BEFORE.min(load.duration)).run(&mut publish, &mut counters).await.map_err(|failure| stage.explain(failure))?;
    publish.flush().await?;
    swarms.settle(&counters, load.patience * 4).await?;

    let reads_before = stage.metric("weft_gateway_history_reads_total").await;
    let (from_us, before) = (clock::now_us(), swarms.counts().await?);
    let victim = kill_first(&mut stage);
    sampler.forget(victim);
    let processes = stage.processes();
    let cpu_before = cpu_time(&processes)?;
    say::progress(&format!("{}: killed one of {} gateways; its clients return", load.name, load.gateways));
    let paced = storm(&stage, &swarms, &mut publish, &pace(load.duration), &mut counters).await?;
    let mut outcome = verdict::begin(load);
    verdict::sum(&mut outcome, &swarms, &counters, load.patience * 4).await?;
    let (span, after) = (Span { from_us, to_us: clock::now_us() }, swarms.counts().await?);
    outcome.events_published = counters.iter().map(|counter| u64::from(*counter)).sum();
    outcome.deliveries = after.delivered - before.delivered;
    outcome.seconds = (span.to_us - span.from_us) as f64 / 1e6;
    outcome.deliveries_per_second = outcome.deliveries as f64 / outcome.seconds;
    outcome.cpu_us_per_delivery =
        cpu_time(&processes)?.saturating_sub(cpu_before).as_secs_f64() * 1e6 / outcome.deliveries.max(1) as f64;
    tokio::time::sleep(Duration::from_millis(600)).await;
    verdict::look_back(&mut outcome, &span, &swarms, &sampler, Some(&paced));
    tell(&mut outcome, load, &swarms, after.cut - before.cut);
    if let Some((before, after)) = reads_before.zip(stage.metric("weft_gateway_history_reads_total").await) {
        // The killed one takes its count with it: before, only the siblings' may be compared.
        outcome.further.insert("history reads on the broker", after - before.min(after));
    }
    if let Some((cpu, bytes)) = verdict::used(&sampler, Group::Broker, &span) {
        outcome.further.insert("broker processor s", cpu.as_secs_f64());
        outcome.broker_bytes = Some(bytes);
    }
    Ok(outcome)
}

async fn connect(load: &Load, swarms: &Swarms) -> Result<(), Failure> {
    say::progress(&format!("{}: connecting {} clients", load.name, load.clients));
    let killed = (u64::from(load.clients) * u64::from(ON_THE_KILLED.0) / u64::from(ON_THE_KILLED.1)) as u32;
    swarms.connect(0, killed, 0, Follow::Now).await?;
    let siblings = load.gateways - 1;
    let part = |sibling| killed + (u64::from(load.clients - killed) * u64::from(sibling) / u64::from(siblings)) as u32;
    for sibling in 0..siblings {
        swarms.connect(part(sibling), part(sibling + 1), sibling + 1, Follow::Now).await?;
    }
    swarms.until_all(What::Connected, CONNECT_PATIENCE).await?;
    swarms.until_all(What::Subscribed, CONNECT_PATIENCE).await
}

fn kill_first(stage: &mut Stage) -> crate::servers::process::Process {
    let mut victim = stage.gateways.remove(0);
    let process = victim.process();
    victim.kill();
    process
}

async fn storm(
    stage: &Stage,
    swarms: &Swarms,
    publish: &mut Publish,
    pace: &Pace,
    counters: &mut [u32],
) -> Result<hdrhistogram::Histogram<u64>, Failure> {
    let watching = say::watch("resume-storm", swarms, pace.duration);
    let published = async {
        let paced = pace.run(publish, counters).await?;
        publish.flush().await.map(|()| paced)
    };
    tokio::select! {
        paced = published => paced.map(|paced| paced.late).map_err(|failure| stage.explain(failure)),
        never = watching => match never {},
    }
}

fn tell(outcome: &mut Outcome, load: &Load, swarms: &Swarms, returned: u64) {
    let heard = swarms.heard.lock();
    outcome.further.insert("clients returned", returned as f64);
    outcome.further.insert("caught up again", heard.outage.len() as f64);
    outcome.further.insert("rooms", f64::from(load.rooms));
    if let Some(outage) = Quantiles::of(&heard.outage) {
        outcome.further.insert("outage ms p50", outage.p50_ms);
        outcome.further.insert("outage ms p99", outage.p99_ms);
        outcome.further.insert("outage ms max", outage.max_ms);
    }
}
