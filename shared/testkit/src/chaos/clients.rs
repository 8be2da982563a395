//! The recording clients of a run.

use super::ChaosPlan;
use crate::{
    Result,
    client::{Client, ClientPlan},
    record::{Follow, Record},
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::time::Duration;
use tokio::time::Instant;

/// A debug build on two busy cores answers hundreds of subscribes within seconds.
const START_WITHIN: Duration = Duration::from_secs(60);

/// When some client cannot get everything, because of a declared gap or a fault, waiting ends after this much silence.
const SILENCE: Duration = Duration::from_secs(10);

/// Owns what the real executor runs.
pub(super) const RUNNER: &str = "runner";

/// The room of [`RUNNER`].
pub(super) const RUNNER_ROOM: &str = "user:runner";

pub(super) struct Clients {
    clients: Vec<Client>,
}

impl Clients {
    /// Spread over the gateways, all subscribed when this returns.
    pub(super) async fn start(plan: &ChaosPlan, gateways: &[String]) -> Result<Self> {
        let started: Vec<Client> = (0..plan.clients).map(|index| Client::start(client_plan(plan, gateways, index))).collect();
        for client in &started {
            let follows = client.record().follows.clone();
            let answered = |record: &Record| follows.iter().all(|follow| !record.outcomes(&follow.room).is_empty());
            client.wait_for("an answer to every subscribe", START_WITHIN, answered).await?;
        }
        Ok(Self { clients: started })
    }

    /// Has five of them follow one execution more, from its start. Not those who follow its owner: what they had from the
    /// user's room before they asked for the execution's past would rightly come again.
    pub(super) fn follow(&self, room: &str, begin_with: usize) {
        let follows_owner = |client: &&Client| client.record().follows.iter().any(|follow| &*follow.room == RUNNER_ROOM);
        let others: Vec<&Client> = self.clients.iter().filter(|client| !follows_owner(client)).collect();
        for client in others.iter().cycle().skip(begin_with).take(others.len().min(5)) {
            client.follow(Follow::start(room));
        }
    }

    /// Waits until each has as many events as are stored in its rooms, each counted once; false when some never do.
    pub(super) async fn converge(&self, stored: &FxHashMap<String, Vec<String>>, within: Duration) -> bool {
        let owed: Vec<usize> = self.clients.iter().map(|client| owed(&client.record(), stored)).collect();
        let until = Instant::now() + within;
        let (mut total, mut last_change) = (0, Instant::now());
        loop {
            let have: Vec<usize> =
                self.clients.iter().map(|client| usize::try_from(client.record().events).unwrap_or(0)).collect();
            if have.iter().zip(&owed).all(|(have, owed)| have >= owed) {
                return true;
            }
            let sum: usize = have.iter().sum();
            if sum != total {
                (total, last_change) = (sum, Instant::now());
            }
            if Instant::now() >= until || last_change.elapsed() >= SILENCE {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Closes all and returns what they saw.
    pub(super) async fn finish(self) -> Vec<Record> {
        // Together, so that a gateway that answers slowly costs its time once.
        futures_util::future::join_all(self.clients.into_iter().map(Client::finish)).await
    }
}

fn owed(record: &Record, stored: &FxHashMap<String, Vec<String>>) -> usize {
    let ids: FxHashSet<&String> = record.follows.iter().filter_map(|follow| stored.get(&*follow.room)).flatten().collect();
    ids.len()
}

fn client_plan(plan: &ChaosPlan, gateways: &[String], index: usize) -> ClientPlan {
    let execution = plan.execution(index);
    let mut follows = vec![Follow::start(&format!("execution:{execution}"))];
    if index.is_multiple_of(3) {
        follows.push(Follow::start(&format!("user:{}", plan.user(index % plan.executions.max(1)))));
    }
    if index.is_multiple_of(5) {
        follows.push(Follow::start(&format!("agent:writer:{execution}")));
    }
    if plan.executor.is_some() && index % 10 == 1 {
        follows.push(Follow::start(RUNNER_ROOM));
    }
    ClientPlan { first_gateway: index, keep_bodies: false, ..ClientPlan::new(&format!("client-{index}"), gateways, follows) }
}
