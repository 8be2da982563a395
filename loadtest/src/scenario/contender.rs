//! One system with its clients: connected, weighed, and measured in rounds.

use super::CONNECT_PATIENCE;
use crate::{
    client::mark::Mark,
    clock,
    error::Failure,
    floor::Floor,
    publish::{
        Publish,
        event::{Event, Kind},
    },
    servers::{
        network::listen_overflows,
        process::{Memory, Process, cpu_time, memory},
    },
    swarm::{
        host::Swarms,
        order::{Counts, Follow, Order, What},
    },
};
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

/// The first events of a room make its log, its head and its follow; they are checked, but not weighed.
pub(crate) const WARM_UP_ROUNDS: u64 = 3;
/// After so many late rounds the run ends: it has failed, and nobody learns more by waiting.
const LATE_ROUNDS_MAX: u64 = 5;

/// Whose processor time counts.
pub(crate) enum Weighed {
    Floor(Floor),
    Processes(Vec<Process>),
}

pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) clients: u32,
    pub(crate) rooms: u32,
    pub(crate) swarms: Swarms,
    pub(crate) publish: Publish,
    pub(crate) weighed: Weighed,
    /// The next event of each room.
    pub(crate) counter: u32,
    pub(crate) rounds_late: u64,
    /// After this long a round is counted as late and the next one is published.
    pub(crate) patience: Duration,
}

/// What connecting cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connected {
    pub(crate) per_second: f64,
    /// Attempts that found the listener's queue full and waited a second for it, on the whole machine.
    pub(crate) listen_overflows: u64,
    /// Of the server, for the upgrade alone, and for the upgrade with the subscribe.
    pub(crate) cpu_us: f64,
    pub(crate) cpu_us_with_subscribe: f64,
    /// Growth for each client: connected, …
    pub(crate) idle: Memory,
    /// … and following.
    pub(crate) following: Memory,
    pub(crate) empty: Memory,
}

/// What a number of rounds cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) deliveries: u64,
    pub(crate) cpu_us: f64,
    pub(crate) seconds: f64,
    /// From publishing a round to its last delivery, sorted.
    pub(crate) rounds: Vec<Duration>,
}

impl Run {
    pub(crate) fn cpu_us_per_delivery(&self) -> f64 {
        self.cpu_us / self.deliveries.max(1) as f64
    }
}

impl Contender {
    /// Connects all clients and has them follow their rooms.
    pub(crate) async fn connect(&mut self, servers: u32, rest: Duration) -> Result<Connected, Failure> {
        tokio::time::sleep(rest).await;
        let (empty, cpu_empty) = (self.memory()?, self.cpu()?);
        let (began, overflows) = (Instant::now(), listen_overflows());
        connect_evenly(&self.swarms, self.clients, servers, Follow::Later).await?;
        let took = began.elapsed();
        let cpu_connected = self.cpu()?;
        tokio::time::sleep(rest).await;
        let (idle, cpu_idle) = (self.memory()?, self.cpu()?);
        self.swarms.all(&Order::Follow).await?;
        self.swarms.until_all(What::Subscribed, CONNECT_PATIENCE).await?;
        let cpu_following = self.cpu()?;
        tokio::time::sleep(rest).await;
        let following = self.memory()?;
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / f64::from(self.clients);
        Ok(Connected {
            per_second: f64::from(self.clients) / took.as_secs_f64(),
            listen_overflows: listen_overflows().saturating_sub(overflows),
            cpu_us: each(cpu_connected.saturating_sub(cpu_empty)),
            cpu_us_with_subscribe: each(cpu_connected.saturating_sub(cpu_empty)) + each(cpu_following.saturating_sub(cpu_idle)),
            idle: self.each(idle, empty),
            following: self.each(following, empty),
            empty,
        })
    }

    /// What memory has grown by for each client.
    pub(crate) fn each(&self, now: Memory, empty: Memory) -> Memory {
        let each = |now: u64, empty: u64| now.saturating_sub(empty) / u64::from(self.clients);
        Memory { resident: each(now.resident, empty.resident), anonymous: each(now.anonymous, empty.anonymous) }
    }

    /// Processor time of the server so far.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        match &self.weighed {
            Weighed::Floor(floor) => Ok(Duration::from_nanos(floor.cpu_ns.load(Relaxed))),
            Weighed::Processes(processes) => cpu_time(processes),
        }
    }

    pub(crate) fn memory(&self) -> Result<Memory, Failure> {
        match &self.weighed {
            Weighed::Floor(_) => Ok(Memory::default()),
            Weighed::Processes(processes) => memory(processes),
        }
    }

    /// Publishes rounds until about so many deliveries were made.
    pub(crate) async fn run(&mut self, deliveries: u64, burst: u32) -> Result<Run, Failure> {
        let each_round = u64::from(burst) * self.followed();
        self.rounds(deliveries.div_ceil(each_round).max(1), burst).await
    }

    /// Rooms followed, over all clients.
    fn followed(&self) -> u64 {
        u64::from(self.clients) * u64::from(self.swarms.rooms_each())
    }

    /// Publishes round by round: the next only when all clients have the last, so that no round helps another by being
    /// written together with it.
    pub(crate) async fn rounds(&mut self, rounds: u64, burst: u32) -> Result<Run, Failure> {
        let mut counts = self.swarms.counts_each().await?;
        let (cpu_before, delivered_before, began) = (self.cpu()?, delivered(&counts), Instant::now());
        let mut times = Vec::new();
        for _ in 0..rounds {
            if self.rounds_late >= LATE_ROUNDS_MAX {
                break;
            }
            // Beginning from what has arrived, a loss makes one round late and not all that follow.
            let each: Vec<u64> = counts.iter().map(|counts| counts.delivered).collect();
            let mut reaching = self.swarms.expect(&each, u64::from(burst)).await?;
            let published = Instant::now();
            self.publish_round(burst).await?;
            let in_time = reaching.within(self.patience).await?;
            times.push(published.elapsed());
            if in_time {
                counts = reaching.counts;
            } else {
                self.failure()?;
                self.rounds_late += 1;
                counts = self.swarms.counts_each().await?;
            }
        }
        times.sort_unstable();
        let (cpu_us, seconds) = (self.cpu()?.saturating_sub(cpu_before).as_secs_f64() * 1e6, began.elapsed().as_secs_f64());
        Ok(Run { deliveries: delivered(&counts) - delivered_before, cpu_us, seconds, rounds: times })
    }

    fn failure(&mut self) -> Result<(), Failure> {
        match &mut self.weighed {
            Weighed::Floor(floor) => floor.failure().map_or(Ok(()), Err),
            Weighed::Processes(_) => Ok(()),
        }
    }

    async fn publish_round(&mut self, burst: u32) -> Result<(), Failure> {
        let due_us = clock::now_us();
        let counters = self.counter..self.counter + burst;
        let events: Vec<Event> = counters
            .flat_map(|counter| (0..self.rooms).map(move |room| Mark { room, counter, due_us }))
            .map(|mark| Event { kind: Kind::Log, mark })
            .collect();
        self.counter += burst;
        self.publish.send(&events).await
    }
}

fn delivered(counts: &[Counts]) -> u64 {
    counts.iter().map(|counts| counts.delivered).sum()
}

/// Connects clients in as many even parts as there are servers, and waits until they are.
pub(crate) async fn connect_evenly(swarms: &Swarms, clients: u32, servers: u32, follow: Follow) -> Result<(), Failure> {
    let part = |server: u32| (u64::from(clients) * u64::from(server) / u64::from(servers)) as u32;
    for server in 0..servers {
        swarms.connect(part(server), part(server + 1), server, follow).await?;
    }
    swarms.until_all(What::Connected, CONNECT_PATIENCE).await?;
    if follow == Follow::Later { Ok(()) } else { swarms.until_all(What::Subscribed, CONNECT_PATIENCE).await }
}
