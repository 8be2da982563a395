//! The `executor` binary.

use clap::{CommandFactory as _, Parser as _};
use std::{io::Write as _, net::SocketAddr, process::ExitCode, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use weft_bus::Bus;
use weft_drain::Drain;
use weft_executor::{Config, Link, Settings, Way, gateway::Line, process::watch, run};
use weft_publisher::Publisher;
use weft_telemetry::{Metrics, Readiness, in_one_line, init_logs, init_traces, serve_admin};

/// A setting that cannot be used (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// Something that the executor needs is not there (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == watch::ARGUMENT) {
        watch::serve(std::io::stdin().lock());
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(EXIT_USAGE, &in_one_line(&error, &Settings::command())),
    };
    let (config, link) = match settings.check() {
        Ok(checked) => checked,
        Err(error) => return fail(EXIT_USAGE, &error.to_string()),
    };
    let log = match init_logs(&settings.log) {
        Ok(log) => log,
        Err(error) => return fail(EXIT_USAGE, &error.to_string()),
    };
    if let Err(error) = watch::begin() {
        log.say(&format!("executor: what it starts would outlive it: {error}"));
        return ExitCode::from(EXIT_UNAVAILABLE);
    }
    let _traces = match init_traces(&settings.traces, "weft-executor", &config.id) {
        Ok(traces) => traces,
        Err(error) => return fail(EXIT_USAGE, &error.to_string()),
    };
    let started = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match started.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(serve(settings, config, link))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log.say(&format!("executor: {reason}"));
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

async fn serve(settings: Settings, config: Config, link: Link) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let metrics = Metrics::install().map_err(|error| told(&error))?;
    let readiness = Readiness::new(&["listening"]);
    let drain = Drain::on_signals(Duration::from_secs(settings.limits.drain_secs)).map_err(|error| told(&error))?;
    let admin = bind("WEFT_ADMIN_LISTEN", settings.admin_listen).await?;
    let admin_token = CancellationToken::new();
    let admin_task = tokio::spawn(serve_admin(admin, metrics, readiness.clone(), admin_token.clone()));
    let publishing = settings.limits.publisher(settings.tenant.as_deref(), settings.bus.retention_events);
    let (way, publisher) = match link {
        Link::Bus(bus) => {
            tracing::info!(bus = %bus.url_shown(), "connecting");
            let bus = tokio::select! {
                bus = Bus::connect_patiently(*bus) => bus.map_err(|error| format!("the bus could not be connected: {error}"))?,
                () = drain.started() => return Ok(()),
            };
            (Way::Bus(bus.clone()), Publisher::over_bus(bus, publishing))
        }
        Link::Gateway { url, token } => {
            let line = Line::new(&url, token.clone(), &config.id).map_err(|error| told(&error))?;
            (Way::Gateway(line), Publisher::over_http(&url, token, publishing).map_err(|error| told(&error))?)
        }
    };
    let listener = bind("WEFT_EXECUTOR_LISTEN", settings.listen).await?;
    run(config, listener, way, publisher, &drain, &readiness).await.map_err(|error| told(&error))?;
    admin_token.cancel();
    let _ = admin_task.await;
    Ok(())
}

async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{setting}: cannot listen on {address}: {error}"))
}

/// Before there is a log.
fn fail(code: u8, reason: &str) -> ExitCode {
    // `eprintln!` panics where nobody reads any more, and the code must come out all the same.
    let _ = writeln!(std::io::stderr(), "executor: {reason}");
    ExitCode::from(code)
}
