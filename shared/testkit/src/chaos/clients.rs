//! The recording clients of a run.

use super::{ChaosPlan, fleet::Fleet, mix};
use crate::{
    Fault, Result,
    client::{Client, Speech},
    record::{Follow, Record},
    socketio::SocketIoClients,
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
    /// Which of them speak the native protocol, and can follow more.
    native: usize,
    socketio: Option<SocketIoClients>,
}

impl Clients {
    /// Spread over the gateways, all subscribed when this returns.
    pub(super) async fn start(plan: &ChaosPlan, fleet: &Fleet) -> Result<Self> {
        let (clients, socketio) = mix::of(plan, &fleet.addresses());
        let native = clients.iter().take_while(|client| client.speech == Speech::Native).count();
        let clients = clients.into_iter().map(Client::start).collect();
        let socketio = match &plan.socketio {
            Some(runtime) => Some(SocketIoClients::start(runtime, &fleet.urls(), &socketio).await?),
            None => None,
        };
        let started = Self { clients, native, socketio };
        started.all_answered().await?;
        Ok(started)
    }

    async fn all_answered(&self) -> Result<()> {
        for client in &self.clients {
            client.wait_for("an answer to every subscribe", START_WITHIN, is_answered).await?;
        }
        let until = Instant::now() + START_WITHIN;
        while let Some(socketio) = &self.socketio {
            let late = socketio.records().iter().find(|record| !is_answered(record)).map(|record| record.client.clone());
            match late {
                None => break,
                Some(name) if Instant::now() >= until => {
                    return Err(Fault::late(format!("an answer to every subscribe of {name}"), START_WITHIN, ""));
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        Ok(())
    }

    /// Has five of them follow one execution more, from its start. Not those who follow its owner: what they had from the
    /// user's room before they asked for the execution's past would rightly come again.
    pub(super) fn follow(&self, room: &str, begin_with: usize) {
        let follows_owner = |client: &&Client| client.record().follows.iter().any(|follow| &*follow.room == RUNNER_ROOM);
        let native = &self.clients[..self.native];
        let others: Vec<&Client> = native.iter().filter(|client| !follows_owner(client)).collect();
        for client in others.iter().cycle().skip(begin_with).take(others.len().min(5)) {
            client.follow(Follow::start(room));
        }
    }

    /// Waits until each has as many events as are stored in its rooms, each counted once; false when some never do.
    pub(super) async fn converge(
        &self,
        stored: &FxHashMap<String, Vec<String>>,
        kinds: &FxHashMap<&str, &str>,
        within: Duration,
    ) -> bool {
        let owed: Vec<u64> = self.each(|record| owed(record, stored, kinds));
        let until = Instant::now() + within;
        let (mut total, mut last_change) = (0, Instant::now());
        loop {
            let have = self.each(|record| record.events);
            if have.iter().zip(&owed).all(|(have, owed)| have >= owed) {
                return true;
            }
            let sum: u64 = have.iter().sum();
            if sum != total {
                (total, last_change) = (sum, Instant::now());
            }
            if Instant::now() >= until || last_change.elapsed() >= SILENCE {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Something of each record.
    fn each(&self, read: impl Fn(&Record) -> u64) -> Vec<u64> {
        let mut all: Vec<u64> = self.clients.iter().map(|client| read(&client.record())).collect();
        if let Some(socketio) = &self.socketio {
            all.extend(socketio.records().iter().map(read));
        }
        all
    }

    /// Closes all and returns what they saw, those of Socket.IO apart.
    pub(super) async fn finish(self) -> (Vec<Record>, Vec<Record>) {
        // Together, so that a gateway that answers slowly costs its time once.
        let records = futures_util::future::join_all(self.clients.into_iter().map(Client::finish)).await;
        let socketio = match self.socketio {
            Some(socketio) => socketio.finish().await,
            None => Vec::new(),
        };
        (records, socketio)
    }
}

fn is_answered(record: &Record) -> bool {
    record.follows.iter().all(|follow| !record.outcomes(&follow.room).is_empty())
}

/// Events of a real executor have no known type: who asks for some types follows none of its executions.
fn owed(record: &Record, stored: &FxHashMap<String, Vec<String>>, kinds: &FxHashMap<&str, &str>) -> u64 {
    let wants = |id: &&String| match kinds.get(id.as_str()) {
        Some(kind) => record.wishes.admit(kind),
        None => record.wishes.types.is_empty(),
    };
    let in_rooms = record.follows.iter().filter_map(|follow| stored.get(&*follow.room)).flatten();
    let ids: FxHashSet<&String> = in_rooms.filter(wants).collect();
    ids.len() as u64
}
