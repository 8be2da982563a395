//! Many clients on a thread of their own, so that measuring and publishing do not wait for them.

use crate::{
    client::{Client, Counts, Phase},
    error::Failure,
    scenario::Scenario,
    seen::Seen,
};
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Handle},
    sync::{oneshot, watch},
};

/// Clients that connect at once: below the listen backlog of a default kernel.
const CONNECTING_AT_ONCE: u64 = 200;
/// Clients connect and subscribe at thousands a second; this only bounds a hang.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// Clients by number; the client `i` follows the room `i % rooms`.
pub(crate) struct Swarm {
    pub(crate) counts: Arc<Counts>,
    seen: Vec<Arc<Mutex<Seen>>>,
    phase: watch::Sender<Phase>,
    runtime: Handle,
    /// Dropping it ends the thread and all clients.
    _end: oneshot::Sender<()>,
}

/// What all clients saw, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) misordered: u64,
}

impl Swarm {
    pub(crate) fn start() -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::io("start the clients"))?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name("clients".into())
            .spawn(move || {
                // An error only says that the swarm was dropped, which is the end as well.
                let _ = runtime.block_on(ended);
            })
            .map_err(Failure::io("start the clients"))?;
        let phase = watch::channel(Phase::Connect).0;
        Ok(Self { counts: Arc::default(), seen: Vec::new(), phase, runtime: handle, _end: end })
    }

    /// Connects all clients, idle so far.
    pub(crate) async fn connect(&mut self, address: SocketAddr, scenario: &Scenario) -> Result<(), Failure> {
        let begun = Instant::now();
        for number in 0..u64::from(scenario.clients) {
            self.wait(&self.counts.connected, (number + 1).saturating_sub(CONNECTING_AT_ONCE), "connected", begun).await?;
            let seen = Arc::new(Mutex::new(Seen::default()));
            self.seen.push(seen.clone());
            let room = scenario.room(number);
            let client = Client { address, room, counts: self.counts.clone(), seen, phase: self.phase.subscribe() };
            self.runtime.spawn(client.run());
        }
        self.wait(&self.counts.connected, u64::from(scenario.clients), "connected", begun).await
    }

    /// Has all clients follow their rooms.
    pub(crate) async fn follow(&self) -> Result<(), Failure> {
        self.phase.send_replace(Phase::Follow);
        self.wait(&self.counts.subscribed, self.seen.len() as u64, "subscribed", Instant::now()).await
    }

    async fn wait(&self, count: &AtomicU64, wanted: u64, what: &'static str, begun: Instant) -> Result<(), Failure> {
        while count.load(Relaxed) < wanted {
            if begun.elapsed() > PATIENCE || self.counts.ended.load(Relaxed) > 0 {
                let remarks = self.counts.remarks.lock().join("; ");
                let detail = if remarks.is_empty() { remarks } else { format!(": {remarks}") };
                let (done, waited) = (count.load(Relaxed), begun.elapsed());
                return Err(Failure::Clients { done, wanted, what, waited, detail });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until clients have seen so many events together, all told; whether they did.
    pub(crate) async fn delivered(&self, target: u64, patience: Duration) -> bool {
        self.counts.target.store(target, Relaxed);
        let reached = async {
            while self.counts.delivered.load(Relaxed) < target {
                self.counts.reached.notified().await;
            }
        };
        tokio::time::timeout(patience, reached).await.is_ok()
    }

    /// What all clients saw of `published` events a room.
    pub(crate) fn sum(&self, published: u64) -> Sum {
        self.seen.iter().fold(Sum::default(), |sum, seen| {
            let seen = seen.lock();
            Sum {
                lost: sum.lost + published.saturating_sub(seen.count),
                duplicated: sum.duplicated + seen.duplicated,
                misordered: sum.misordered + seen.misordered,
            }
        })
    }
}
