//! What one delivery costs: the next event is published when all clients have the last, in turns with the same bytes
//! written by a bare loop.

use super::{
    contender::{Connected, Contender, Run, WARM_UP_ROUNDS, Weighed},
    stage::{Stage, rooms, shape},
    verdict::{self, Span},
};
use crate::{
    clock,
    error::Failure,
    floor::Floor,
    options::load::Load,
    publish::{Publish, event::Shape},
    report::{
        outcome::{OneRun, Outcome, median},
        say,
    },
    servers::{process::check_descriptors, sampler::Group},
    swarm::{
        host::{SwarmPlan, Swarms},
        order::Rooms,
    },
};
use std::time::Duration;

/// More sockets make a write no dearer.
const FLOOR_CLIENTS_MAX: u32 = 5000;
/// Source addresses of the floor's clients are none of the others'.
const FLOOR_PROCESS_BASE: u32 = 40_000;

pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    let stage = Stage::up(load).await?;
    let mut floor = floor(load).await?;
    if let Some(floor) = &mut floor {
        say::progress(&format!("the floor: {} bare sockets", floor.clients));
        floor.connect(1, Duration::ZERO).await?;
        floor.rounds(WARM_UP_ROUNDS, 1).await?;
    }
    let mut weft = weft(load, &stage, 0).await?;
    say::progress(&format!("{}: connecting {} clients", load.name, load.clients));
    let connected = weft.connect(load.gateways, load.rest).await?;
    weft.rounds(WARM_UP_ROUNDS, load.burst).await.map_err(|failure| stage.explain(failure))?;

    let sampler = stage.sampler(&weft.swarms);
    let from_us = clock::now_us();
    let mut runs = Vec::new();
    for number in 0..load.runs {
        let base = match &mut floor {
            Some(floor) => Some(floor.run(load.deliveries / 2, 1).await?),
            None => None,
        };
        let run = weft.run(load.deliveries, load.burst).await.map_err(|failure| stage.explain(failure))?;
        say::run(&weft.name, number, load.runs, &run, base.as_ref());
        runs.push((base, run));
    }
    let span = Span { from_us, to_us: clock::now_us() };
    let mut outcome = verdict::begin(load);
    fill(&mut outcome, &weft, &connected, &runs)?;
    verdict::sum(&mut outcome, &weft.swarms, &[weft.counter], load.patience).await?;
    verdict::look_back(&mut outcome, &span, &weft.swarms, &sampler, None);
    if let Some((cpu, bytes)) = verdict::used(&sampler, Group::Broker, &span) {
        let events = u64::from(load.runs) * u64::from(load.rooms) * runs[0].1.rounds.len() as u64 * u64::from(load.burst);
        outcome.broker_cpu_us_per_event = Some(cpu.as_secs_f64() * 1e6 / events.max(1) as f64);
        outcome.broker_bytes = Some(bytes);
    }
    Ok(outcome)
}

/// Gateways of a stage, with clients that are not connected yet.
pub(crate) async fn weft(load: &Load, stage: &Stage, process_base: u32) -> Result<Contender, Failure> {
    Ok(Contender {
        name: load.name.clone(),
        clients: load.clients,
        rooms: load.rooms,
        swarms: Swarms::start(&stage.swarm_plan(load, process_base)).await?,
        publish: stage.publish(load, shape(load)).await?,
        weighed: Weighed::Processes(stage.processes()),
        counter: 0,
        rounds_late: 0,
        patience: load.patience,
    })
}

/// `None` where the descriptors do not suffice.
pub(crate) async fn floor(load: &Load) -> Result<Option<Contender>, Failure> {
    let clients = load.clients.min(FLOOR_CLIENTS_MAX);
    if check_descriptors("the floor", clients).is_err() {
        return Ok(None);
    }
    let rooms = Rooms { count: 1, each: 1, ..rooms(load) };
    let shape = Shape { rooms: rooms.clone(), bytes: load.event_bytes, owner: false };
    let (floor, writer) = Floor::start(clients, shape)?;
    let plan = SwarmPlan {
        clients,
        speech: crate::client::speech::Speech::Json,
        servers: vec![floor.address],
        rooms,
        deflate: false,
        token_key: None,
        come_back: None,
        slow: None,
        process_base: FLOOR_PROCESS_BASE,
    };
    Ok(Some(Contender {
        name: "floor".into(),
        clients,
        rooms: 1,
        swarms: Swarms::start(&plan).await?,
        publish: Publish::Floor(writer),
        weighed: Weighed::Floor(floor),
        counter: 0,
        rounds_late: 0,
        patience: load.patience,
    }))
}

/// What connecting cost, for the outcome.
pub(crate) fn fill_connected(outcome: &mut Outcome, connected: &Connected) {
    outcome.connects_per_second = connected.per_second;
    outcome.further.insert("listen queue overflows", connected.listen_overflows as f64);
    outcome.cpu_us_per_connect = connected.cpu_us;
    outcome.cpu_us_per_connect_and_subscribe = connected.cpu_us_with_subscribe;
    outcome.bytes_per_idle_connection = connected.idle.resident;
    outcome.bytes_per_idle_follower = connected.following.resident;
    outcome.anonymous_bytes_per_idle_connection = connected.idle.anonymous;
    outcome.anonymous_bytes_per_idle_follower = connected.following.anonymous;
}

fn fill(outcome: &mut Outcome, weft: &Contender, connected: &Connected, runs: &[(Option<Run>, Run)]) -> Result<(), Failure> {
    fill_connected(outcome, connected);
    let loaded = weft.each(weft.memory()?, connected.empty);
    outcome.bytes_per_loaded_follower = loaded.resident;
    outcome.anonymous_bytes_per_loaded_follower = loaded.anonymous;
    outcome.events_published = u64::from(weft.counter) * u64::from(weft.rooms);
    outcome.deliveries = runs.iter().map(|(_, run)| run.deliveries).sum();
    outcome.seconds = runs.iter().map(|(_, run)| run.seconds).sum();
    outcome.deliveries_per_second = outcome.deliveries as f64 / outcome.seconds;
    let one = |(floor, run): &(Option<Run>, Run)| OneRun {
        cpu_us_per_delivery: run.cpu_us_per_delivery(),
        floor_us_per_delivery: floor.as_ref().map(Run::cpu_us_per_delivery),
    };
    let each: Vec<OneRun> = runs.iter().map(one).collect();
    outcome.cpu_us_per_delivery = median(each.iter().map(|run| run.cpu_us_per_delivery).collect()).unwrap_or(0.0);
    outcome.floor_us_per_delivery = median(each.iter().filter_map(|run| run.floor_us_per_delivery).collect());
    outcome.runs = each;
    let mut rounds: Vec<Duration> = runs.iter().flat_map(|(_, run)| run.rounds.clone()).collect();
    rounds.sort_unstable();
    (outcome.round_ms_median, outcome.round_ms_p99) = (at(&rounds, 0.5), at(&rounds, 0.99));
    outcome.rounds_late = weft.rounds_late;
    Ok(())
}

/// A quantile of sorted times, in milliseconds.
pub(crate) fn at(sorted: &[Duration], quantile: f64) -> f64 {
    let index = (sorted.len() as f64 * quantile) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!((at(&times, 0.5), at(&times, 0.99), at(&[], 0.5)), (51.0, 100.0, 0.0));
    }
}
