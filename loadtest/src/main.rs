//! Load on real gateways: what a delivery and a connection cost, and whether every event arrived once and in order.
//!
//! `loadtest bench` starts a gateway of its own on the in-process bus, opens many lean WebSocket clients ([`swarm`]),
//! publishes in rounds ([`publish`]) and weighs the gateway's process from outside ([`measure`]), beside the least that
//! the same deliveries can cost ([`floor`]). A [`scenario`] says how many clients follow how many rooms. It ends by itself, and its gateway with it.

mod client;
mod error;
#[cfg(test)]
mod faulty;
mod floor;
mod frame;
mod gateway_process;
mod measure;
mod options;
mod publish;
mod report;
mod scenario;
mod seen;
mod swarm;

use clap::Parser as _;
use error::Failure;
use options::{BenchOptions, Command, Options};
use std::process::ExitCode;

/// Everything arrived, once and in order.
const GOOD: u8 = 0;
/// Something was lost, doubled or out of order.
const BAD: u8 = 1;
/// The load could not be run.
const FAILED: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Command::Bench(options) = Options::parse().command;
    let bench = tokio::time::timeout(options.time_max(), bench(&options));
    let ended = tokio::select! {
        ended = bench => ended.unwrap_or(Err(Failure::TimeUp(options.time_max()))),
        () = interrupted() => Err(Failure::Interrupted),
    };
    match ended {
        Ok(true) => ExitCode::from(GOOD),
        Ok(false) => ExitCode::from(BAD),
        Err(failure) => {
            report::complain(&failure);
            ExitCode::from(FAILED)
        }
    }
}

/// Runs every scenario on a gateway of its own; whether all were sound.
async fn bench(options: &BenchOptions) -> Result<bool, Failure> {
    let scenarios = options.scenarios();
    for scenario in &scenarios {
        measure::check_descriptors(scenario)?;
    }
    let mut outcomes = Vec::new();
    for scenario in &scenarios {
        report::progress(&format!("{}: {} clients, {} rooms", scenario.name, scenario.clients, scenario.rooms));
        outcomes.push(scenario::run(scenario, options).await?);
    }
    report::table(&outcomes);
    if let Some(path) = &options.json {
        report::json(path, &outcomes)?;
    }
    Ok(outcomes.iter().all(report::Outcome::is_sound))
}

/// Returns on SIGINT or SIGTERM, so that the gateway is ended too.
async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
