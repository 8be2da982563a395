//! Load on real gateways: what a delivery and a connection cost, and whether every event arrived once and in order.
//!
//! A [`scenario`] starts [`servers`] of its own (a broker, gateways), many lean clients in processes of their
//! own ([`swarm`], [`client`]), and publishes to them ([`publish`]), beside the least that the same deliveries can cost
//! ([`floor`]). What it finds becomes a [`report`]. Everything that it starts ends with it.

mod client;
mod clock;
mod compare;
mod error;
mod fleet;
mod floor;
mod options;
mod peers;
mod publish;
mod report;
mod scenario;
mod servers;
mod swarm;

use clap::Parser as _;
use error::Failure;
use options::{Command, Options, load::Load};
use report::{outcome::Outcome, say, table};
use std::{process::ExitCode, time::Duration};

/// Everything arrived, once and in order.
const GOOD: u8 = 0;
/// Something was lost, doubled or out of order.
const BAD: u8 = 1;
/// The load could not be run.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let command = Options::parse().command;
    if matches!(command, Command::Swarm) {
        return swarm::main();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.map_err(Failure::io("start")).and_then(|runtime| runtime.block_on(perform(command))) {
        Ok(true) => ExitCode::from(GOOD),
        Ok(false) => ExitCode::from(BAD),
        Err(failure) => {
            say::complain(&failure);
            ExitCode::from(FAILED)
        }
    }
}

/// Whether what was done was sound.
async fn perform(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Swarm => Ok(true),
        Command::Bench(options) => {
            let outcomes = within(options.time_max(), run_all(&options.loads(), None)).await?;
            table::bench(&outcomes);
            options.json.as_ref().map_or(Ok(()), |path| report::json(path, &outcomes))?;
            Ok(outcomes.iter().all(Outcome::is_sound))
        }
        Command::Compare(options) => {
            let comparison = within(options.time_max(), compare::run(&options)).await?;
            comparison.print();
            options.json.as_ref().map_or(Ok(()), |path| report::json(path, &comparison))?;
            options.html.as_ref().map_or(Ok(()), |path| comparison.html(path))?;
            options.plots.as_ref().map_or(Ok(()), |folder| report::plots(folder, "compare", &comparison.plots()?))?;
            Ok(comparison.is_sound())
        }
        Command::Fleet(options) => {
            let outcome = within(options.time_max(), fleet::run(&options)).await?;
            outcome.print();
            options.json.as_ref().map_or(Ok(()), |path| report::json(path, &outcome))?;
            options.html.as_ref().map_or(Ok(()), |path| outcome.html(path))?;
            Ok(outcome.is_sound())
        }
        Command::Run(options) => {
            let outcomes = within(options.time_max(), run_all(&options.loads()?, options.climb)).await?;
            table::run(&outcomes);
            options.json.as_ref().map_or(Ok(()), |path| report::json(path, &outcomes))?;
            options.html.as_ref().map_or(Ok(()), |path| report::html::write(path, &outcomes))?;
            for (folder, outcome) in options.plots.iter().flat_map(|folder| outcomes.iter().map(move |outcome| (folder, outcome)))
            {
                report::plots(folder, &outcome.scenario, &report::html::drawn(outcome)?)?;
            }
            // The last step of a climb is there to fail.
            let expected = if options.climb.is_some() { &outcomes[..1] } else { &outcomes[..] };
            Ok(expected.iter().all(Outcome::is_sound))
        }
    }
}

/// Each on servers of its own.
async fn run_all(loads: &[Load], climb_to_ms: Option<f64>) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    for load in loads {
        say::progress(&format!("{}: {} clients, {} rooms", load.name, load.clients, load.rooms));
        match climb_to_ms {
            Some(p99_ms) => outcomes.extend(scenario::climb::run(load, p99_ms).await?),
            None => outcomes.push(scenario::run(load).await?),
        }
    }
    Ok(outcomes)
}

/// Ends it, and all that it has started, when time is up or somebody interrupts.
async fn within<T>(time_max: Duration, run: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        done = tokio::time::timeout(time_max, run) => done.unwrap_or(Err(Failure::TimeUp(time_max))),
        () = interrupted() => Err(Failure::Interrupted),
    }
}

/// Returns on SIGINT or SIGTERM, so that what was started is ended too.
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
