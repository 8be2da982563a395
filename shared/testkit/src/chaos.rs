//! The scenario that the product exists for: gateways die in the middle of bursts, again and again, and nobody misses
//! or repeats anything.
//!
//! Real gateways on a real broker; publishers that hold the log of what was acknowledged; recording clients that come
//! back on another gateway, of every dialect by which an event can be told from others; in the end the checker, which also reads every room back from the store.

mod brokers;
mod clients;
mod fleet;
mod mix;
mod plan;
mod publishers;
mod report;

pub use plan::{BusKind, ChaosPlan, ExecutorPlan};
pub use report::{Recoveries, Report};

use crate::{Result, history::History};
use clients::{Clients, RUNNER_ROOM};
use fleet::Fleet;
use publishers::Publishers;
use rustc_hash::FxHashMap;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// How long clients may take to have everything, once nothing is published or killed any more.
const CONVERGE_WITHIN: Duration = Duration::from_secs(90);

/// Runs a plan and checks what came of it. The verdict is in the report; a fault means that the scenario itself broke.
///
/// # Errors
/// Something could not be started, a gateway did not come back, or a valid event was refused.
pub async fn run(plan: &ChaosPlan) -> Result<Report> {
    let began = Instant::now();
    let mut fleet = Fleet::start(plan).await?;
    let clients = Clients::start(plan, &fleet).await?;
    let publishers = Publishers::start(plan, &fleet.urls());
    let trouble = fleet.trouble(plan, &clients).await;
    let published = publishers.finish().await;
    trouble?;
    let (published, retries) = published?;
    fleet.await_executions().await?;

    let ran = fleet.executions.iter().map(|id| format!("execution:{id}")).chain([RUNNER_ROOM.to_owned()]);
    let rooms: BTreeSet<String> =
        published.iter().flat_map(|event| event.rooms.iter()).map(|room| room.to_string()).chain(ran).collect();
    let mut stored = FxHashMap::default();
    for room in rooms {
        let ids = fleet.read_back(&room).await?;
        stored.insert(room, ids);
    }
    let kinds = published.iter().filter_map(|event| Some((&*event.id, event.kind.as_deref()?))).collect();
    let converged = clients.converge(&stored, &kinds, CONVERGE_WITHIN).await;

    let events = published.len();
    let mut history = History::new();
    history.published(published);
    stored.into_iter().for_each(|(room, ids)| history.stored(&room, ids));
    let (records, socketio) = clients.finish().await;
    let recoveries = Recoveries::of(&socketio);
    records.into_iter().chain(socketio).for_each(|record| history.record(record));
    Ok(Report {
        plan: plan.to_string(),
        verdict: history.check(),
        recoveries,
        kills: fleet.kills,
        broker_restarts: fleet.broker_restarts,
        executions_run: fleet.executions.len(),
        events,
        retries,
        converged,
        took: began.elapsed(),
    })
}
