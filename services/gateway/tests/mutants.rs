//! The checker bites: a gateway that lacks one guard of its feed, on a live path that loses and repeats events, is found
//! out; with all guards the same disturbance harms nobody.
//!
//! `cargo test -p weft-gateway --features mutants --test mutants`

use std::time::Duration;
use weft_testkit::{
    client::{Client, ClientPlan},
    history::{History, Verdict},
    process::{Process, ProcessOptions},
    record::Follow,
    seed::Seed,
    servers::{NatsServer, NatsVersion, RedisServer},
    source::Source,
};

/// A lost last event of a room is found by the check of its tail, at the latest after 25 s.
const EVERYTHING: Duration = Duration::from_secs(60);
/// What a mutant has not delivered by then it has lost.
const A_WHILE: Duration = Duration::from_secs(5);

/// Enough that the first live event of some room is among the lost: the merge at the seam matters only there.
const ROOMS: usize = 80;
const BATCHES: u64 = 15;

#[tokio::test(flavor = "multi_thread")]
async fn with_every_guard_a_disturbed_live_path_harms_nobody() {
    let (nats, redis) = brokers().await;
    for bus in [nats.url(), redis.url()] {
        let verdict = run(&bus, "nothing", EVERYTHING).await;
        assert!(verdict.is_whole(), "{bus}: {verdict}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_dedup_events_come_twice() {
    let (nats, redis) = brokers().await;
    for bus in [nats.url(), redis.url()] {
        let verdict = run(&bus, "dedup", A_WHILE).await;
        assert!(verdict.clients.duplicated > 0, "{bus}: {verdict}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_gap_check_events_are_lost() {
    let (nats, redis) = brokers().await;
    for bus in [nats.url(), redis.url()] {
        let verdict = run(&bus, "gap-check", A_WHILE).await;
        assert!(verdict.clients.lost > 0 && verdict.clients.gaps_silent > 0, "{bus}: {verdict}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_merge_at_the_seam_events_are_lost() {
    let (nats, redis) = brokers().await;
    for bus in [nats.url(), redis.url()] {
        let verdict = run(&bus, "seam-merge", A_WHILE).await;
        assert!(verdict.clients.lost > 0 && verdict.clients.gaps_silent > 0, "{bus}: {verdict}");
    }
}

async fn brokers() -> (NatsServer, RedisServer) {
    let nats = NatsServer::start(NatsVersion::Current).await.expect("NATS");
    (nats, RedisServer::start().await.expect("Redis"))
}

/// Clients join rooms from their start while these are published into.
async fn run(bus: &str, mutant: &str, patience: Duration) -> Verdict {
    let seed = Seed::from_env();
    let gateway = Process::start(ProcessOptions::gateway(bus).env("WEFT_MUTANT", mutant)).await.expect("a gateway");
    let mut source = Source::new("p", &[gateway.url()], seed.rng("p"));
    let mut clients = Vec::new();
    for batch in 0..BATCHES {
        for room in 0..ROOMS {
            let execution = format!("r{room}");
            // Rooms are joined one after the other, each for the first time in the middle of its events.
            if batch as usize == room % BATCHES as usize {
                for index in 0..2 {
                    let follows = vec![Follow::start(&format!("execution:{execution}"))];
                    clients.push(Client::start(ClientPlan::new(&format!("{execution}.{index}"), &[gateway.address()], follows)));
                }
            }
            assert!(source.publish(&execution, None, 1 + batch % 3).await.expect("published"), "acknowledged");
        }
    }
    let (published, _) = source.finish();
    let each = published.len() as u64 / ROOMS as u64;
    let until = tokio::time::Instant::now() + patience;
    let mut history = History::new();
    for client in clients {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        // A mutant's clients may wait in vain; the checker tells what is missing.
        let _ = client.wait_for_events(each, left).await;
        history.record(client.finish().await);
    }
    history.published(published);
    let verdict = history.check();
    eprintln!("{mutant} on {bus}: {verdict}");
    verdict
}
