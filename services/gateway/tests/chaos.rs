//! Gateways die in the middle of bursts, brokers too, while real executions run: every client's record is held
//! against what was acknowledged, whatever dialect it speaks. The short forms run with every test run, the long ones by `make chaos` and
//! `make test-full`; `WEFT_TEST_SEED` repeats a run.

#[path = "clients/npm.rs"]
mod npm;

use std::path::{Path, PathBuf};
use weft_testkit::{
    chaos::{self, BusKind, ChaosPlan, ExecutorPlan, Report},
    seed::Seed,
    socketio::Runtime,
};

/// What gateways recognize each other's sessions by.
fn fleet_key() -> (String, String) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos-fleet-key");
    std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").expect("a key");
    ("WEFT_FLEET_KEY_FILE".into(), path.to_string_lossy().into())
}

/// Clients of all dialects, and a fleet that can give those of Socket.IO back what they followed.
fn of_all_dialects(plan: ChaosPlan) -> ChaosPlan {
    let runtime = Runtime { script: npm::CLIENTS.script("recorder.cjs"), modules: npm::CLIENTS.modules() };
    ChaosPlan { executor: Some(executor()), socketio: Some(runtime), gateway_env: vec![fleet_key()], ..plan }
}

fn executor() -> ExecutorPlan {
    let workflows = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../executor/workflows");
    ExecutorPlan { workflows, names: ["story", "build-and-test", "demo"].map(str::to_owned).to_vec(), at_once: 2 }
}

/// One run at a time: two cores cannot tell a fault from a machine that is busy with another run.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn run(plan: ChaosPlan) -> Report {
    let _alone = ALONE.lock().await;
    let report = chaos::run(&plan).await.unwrap_or_else(|error| panic!("{plan}: {error}"));
    eprintln!("{report}");
    assert!(report.converged, "not every client got to the end\n{report}");
    // Both gateways are killed before any broker is: whoever was there comes back at least once, and is recovered then.
    assert!(report.recoveries.clients >= 4 && report.recoveries.recovered_min >= 1, "{report}");
    report
}

/// Nothing lost, nothing twice, nothing out of order, and nothing declared missing.
async fn whole(plan: ChaosPlan) {
    is_whole(&run(plan).await);
}

/// Every client of Socket.IO was recovered each time as well: one that is not has a gap.
fn is_whole(report: &Report) {
    assert!(report.verdict.is_whole(), "{report}");
    assert_eq!(report.recoveries.recovered, report.recoveries.returns, "{report}");
}

/// The long form: as [`whole`], over many kills and executions.
async fn whole_and_long(plan: ChaosPlan) {
    let report = run(plan).await;
    is_whole(&report);
    is_long(&report);
}

/// The long form of [`sound`].
async fn sound_and_long(plan: ChaosPlan) {
    let report = run(ChaosPlan { restart_broker: true, ..plan }).await;
    assert!(report.verdict.is_sound() && report.broker_restarts > 0, "{report}");
    is_long(&report);
}

fn is_long(report: &Report) {
    assert!(report.kills >= 10 && report.verdict.resumes_min >= 3, "{report}");
    assert!(report.executions_run >= 20, "{report}");
    assert!(report.verdict.clients.received >= 500_000, "{report}");
}

/// The broker dies as well: what it lost may be told as a gap, and nothing else.
async fn sound(plan: ChaosPlan) {
    let report = run(ChaosPlan { restart_broker: true, ..plan }).await;
    assert!(report.verdict.is_sound(), "{report}");
    assert!(report.broker_restarts > 0, "{report}");
}

fn short(bus: BusKind) -> ChaosPlan {
    of_all_dialects(ChaosPlan { sources: 2, ..ChaosPlan::short(bus, Seed::from_env()) })
}

fn long(bus: BusKind) -> ChaosPlan {
    of_all_dialects(ChaosPlan::long(bus, Seed::from_env()))
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_while_gateways_die() {
    whole(short(BusKind::Nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_while_gateways_die() {
    whole(short(BusKind::Redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_while_gateways_and_the_broker_die() {
    sound(short(BusKind::Nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_while_gateways_and_the_broker_die() {
    sound(short(BusKind::Redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos"]
async fn long_nats_while_gateways_die() {
    whole_and_long(long(BusKind::Nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos"]
async fn long_redis_while_gateways_die() {
    whole_and_long(long(BusKind::Redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos"]
async fn long_nats_while_gateways_and_the_broker_die() {
    sound_and_long(long(BusKind::Nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos"]
async fn long_redis_while_gateways_and_the_broker_die() {
    sound_and_long(long(BusKind::Redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos"]
async fn debians_nats_while_gateways_die() {
    whole(short(BusKind::NatsDebian)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos"]
async fn a_nats_cluster_while_gateways_and_leaders_die() {
    sound(short(BusKind::NatsCluster)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos"]
async fn a_redis_cluster_while_gateways_and_a_node_die() {
    sound(short(BusKind::RedisCluster)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make chaos"]
async fn redis_with_sentinels_while_gateways_and_the_primary_die() {
    sound(short(BusKind::RedisSentinel)).await;
}
