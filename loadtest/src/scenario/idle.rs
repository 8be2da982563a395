//! Clients that wait: what connecting costs, what a connection holds, and what it holds after one large event came and
//! one large message went.

use super::{
    contender::{Contender, Weighed},
    rounds::fill_connected,
    stage::{Stage, shape},
    verdict::{self, Span},
};
use crate::{
    clock, error::Failure, options::load::Load, report::outcome::Outcome, report::say, swarm::host::Swarms, swarm::order::Order,
};
use std::time::Instant;

pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    let stage = Stage::up(load).await?;
    let mut weft = Contender {
        name: load.name.clone(),
        clients: load.clients,
        rooms: load.rooms,
        swarms: Swarms::start(&stage.swarm_plan(load, 0)).await?,
        publish: stage.publish(load, shape(load)).await?,
        weighed: Weighed::Processes(stage.processes()),
        counter: 0,
        rounds_late: 0,
        patience: load.patience,
    };
    say::progress(&format!("{}: connecting {} clients", load.name, load.clients));
    let connected = weft.connect(load.gateways, load.rest).await?;
    let sampler = stage.sampler(&weft.swarms);
    say::progress(&format!("{}: waiting {} s", load.name, load.duration.as_secs()));
    let (from_us, cpu_before, began) = (clock::now_us(), weft.cpu()?, Instant::now());
    tokio::time::sleep(load.duration).await;
    let idle_share = weft.cpu()?.saturating_sub(cpu_before).as_secs_f64() / began.elapsed().as_secs_f64();

    say::progress(&format!("{}: one event of {} bytes to each, one message from each", load.name, load.event_bytes));
    let run = weft.rounds(1, 1).await.map_err(|failure| stage.explain(failure))?;
    weft.swarms.all(&Order::Say { bytes: load.event_bytes }).await?;
    tokio::time::sleep(load.rest * 2).await;
    let loaded = weft.each(weft.memory()?, connected.empty);

    let mut outcome = verdict::begin(load);
    fill_connected(&mut outcome, &connected);
    outcome.bytes_per_loaded_follower = loaded.resident;
    outcome.anonymous_bytes_per_loaded_follower = loaded.anonymous;
    outcome.events_published = u64::from(load.rooms);
    (outcome.deliveries, outcome.seconds) = (run.deliveries, run.seconds);
    outcome.cpu_us_per_delivery = run.cpu_us_per_delivery();
    outcome.rounds_late = weft.rounds_late;
    outcome.further.insert("idle gateways' processors", idle_share);
    verdict::sum(&mut outcome, &weft.swarms, &[weft.counter], load.patience).await?;
    verdict::look_back(&mut outcome, &Span { from_us, to_us: clock::now_us() }, &weft.swarms, &sampler, None);
    Ok(outcome)
}
