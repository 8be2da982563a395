//! One measurement: so many clients in so many rooms, on a gateway of its own.

use crate::{
    error::Failure, floor, gateway_process::GatewayProcess, measure::Process, options::BenchOptions, publish::Publish,
    report::Outcome, swarm::Swarm,
};
use std::{
    net::SocketAddr,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

/// Clients and rooms; the clients are spread evenly.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) clients: u32,
    pub(crate) rooms: u32,
}

impl Scenario {
    /// The execution behind a room.
    pub(crate) fn execution(&self, room: u32) -> String {
        format!("load-{room}")
    }

    /// The room that a client follows.
    pub(crate) fn room(&self, client: u64) -> String {
        format!("execution:{}", self.execution((client % u64::from(self.rooms)) as u32))
    }
}

/// Memory and timers come to rest before anything is weighed.
const REST: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 2 });
/// The first events of a room make its log, its head and its follow; they are checked, but not weighed.
const WARM_UP_ROUNDS: u64 = 3;
/// A round takes milliseconds; after this long it is counted as late and the next one is published.
const ROUND_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 5 });
/// After so many late rounds the scenario ends: it has failed, and nobody learns more by waiting.
const LATE_ROUNDS_MAX: u64 = 5;
/// What is still missing after the last round has this long to arrive.
const LAST_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

pub(crate) async fn run(scenario: &Scenario, options: &BenchOptions) -> Result<Outcome, Failure> {
    let floor = floor::measure(scenario, options.event_bytes).await?;
    let gateway = GatewayProcess::start(options.gateway.as_deref(), &options.gateway_env).await?;
    let target = Target { process: Process(gateway.pid()), address: gateway.address };
    match load(scenario, options, target).await {
        Err(Failure::Publish(why)) => Err(Failure::Publish(format!("{why}; the end of its log:\n{}", gateway.log_tail()))),
        other => other.map(|outcome| Outcome { floor_us_per_delivery: floor, ..outcome }),
    }
}

/// What is loaded and weighed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

pub(crate) async fn load(scenario: &Scenario, options: &BenchOptions, target: Target) -> Result<Outcome, Failure> {
    let Target { process, address } = target;
    let mut swarm = Swarm::start()?;
    let publish = Publish::new(&format!("http://{address}"), options.event_bytes)?;
    tokio::time::sleep(REST).await;
    let empty_bytes = process.rss_bytes()?;
    swarm.connect(address, scenario).await?;
    tokio::time::sleep(REST).await;
    let connected_bytes = process.rss_bytes()?;
    swarm.follow().await?;
    tokio::time::sleep(REST).await;
    let following_bytes = process.rss_bytes()?;

    let mut rounds = Rounds { scenario, swarm: &swarm, publish: &publish, burst: u64::from(options.burst), next: 0, late: 0 };
    rounds.publish(WARM_UP_ROUNDS).await?;
    let (cpu_before, delivered_before) = (process.cpu_time()?, swarm.counts.delivered.load(Relaxed));
    let clients = u64::from(scenario.clients);
    let wanted = options.deliveries.div_ceil(clients * rounds.burst).max(1);
    let began = Instant::now();
    let mut round_times = rounds.publish(wanted).await?;
    swarm.delivered(rounds.next * clients, LAST_PATIENCE).await;
    let took = began.elapsed();
    let (cpu_after, delivered_after) = (process.cpu_time()?, swarm.counts.delivered.load(Relaxed));
    let loaded_bytes = process.rss_bytes()?;

    round_times.sort_unstable();
    let sum = swarm.sum(rounds.next);
    let deliveries = delivered_after - delivered_before;
    let each = |bytes: u64| bytes.saturating_sub(empty_bytes) / clients;
    Ok(Outcome {
        scenario: scenario.name.clone(),
        clients,
        rooms: u64::from(scenario.rooms),
        events_published: rounds.next * u64::from(scenario.rooms),
        deliveries,
        cpu_us_per_delivery: (cpu_after - cpu_before).as_secs_f64() * 1e6 / deliveries.max(1) as f64,
        floor_us_per_delivery: None,
        deliveries_per_second: deliveries as f64 / took.as_secs_f64(),
        round_ms_median: at(&round_times, 0.5),
        round_ms_p99: at(&round_times, 0.99),
        rounds_late: rounds.late,
        bytes_per_idle_connection: each(connected_bytes),
        bytes_per_idle_follower: each(following_bytes),
        bytes_per_loaded_follower: each(loaded_bytes),
        lost: sum.lost,
        duplicated: sum.duplicated,
        misordered: sum.misordered,
        gaps: swarm.counts.gaps.load(Relaxed),
        errors: swarm.counts.errors.load(Relaxed),
        connections_ended: swarm.counts.ended.load(Relaxed),
        remarks: swarm.counts.remarks.lock().clone(),
    })
}

/// Publishes round by round: the next only when all clients have the last, so that no round helps another by being
/// written together with it.
struct Rounds<'a> {
    scenario: &'a Scenario,
    swarm: &'a Swarm,
    publish: &'a Publish,
    burst: u64,
    /// The counter of the next event of each room.
    next: u64,
    late: u64,
}

impl Rounds<'_> {
    /// The time of each round, from publishing to its last delivery.
    async fn publish(&mut self, rounds: u64) -> Result<Vec<Duration>, Failure> {
        let mut times = Vec::new();
        for _ in 0..rounds {
            if self.late >= LATE_ROUNDS_MAX {
                break;
            }
            let began = Instant::now();
            // Beginning from what has arrived, a loss makes one round late and not all that follow.
            let target = self.swarm.counts.delivered.load(Relaxed) + self.burst * u64::from(self.scenario.clients);
            self.publish.round(self.scenario, self.next, self.burst).await?;
            self.next += self.burst;
            self.late += u64::from(!self.swarm.delivered(target, ROUND_PATIENCE).await);
            times.push(began.elapsed());
        }
        Ok(times)
    }
}

/// A quantile of sorted times, in milliseconds.
fn at(sorted: &[Duration], quantile: f64) -> f64 {
    let index = (sorted.len() as f64 * quantile) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_spread_evenly() {
        let scenario = Scenario { name: "x".into(), clients: 6, rooms: 3 };
        let rooms: Vec<_> = (0..4).map(|client| scenario.room(client)).collect();
        assert_eq!(rooms, ["execution:load-0", "execution:load-1", "execution:load-2", "execution:load-0"]);
    }

    #[test]
    fn quantiles() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!((at(&times, 0.5), at(&times, 0.99), at(&[], 0.5)), (51.0, 100.0, 0.0));
    }
}
