//! The `gateway` binary.

use clap::Parser;
use std::{io::Write, process::ExitCode, time::Duration};
use tokio::net::TcpListener;
use weft_bus::Bus;
use weft_drain::Drain;
use weft_gateway::{Settings, config, run};
use weft_telemetry::{Metrics, Readiness, init_logs, serve_admin};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A setting that cannot be used (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// Something that the gateway needs is not there (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(error) if error.use_stderr() => return fail(EXIT_USAGE, &config::in_one_line(&error)),
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    if let Err(error) = settings.check() {
        return fail(EXIT_USAGE, &error.to_string());
    }
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(start(settings)),
        Err(error) => fail(EXIT_UNAVAILABLE, &format!("no runtime: {error}")),
    }
}

async fn start(settings: Settings) -> ExitCode {
    if let Err(error) = init_logs(&settings.log) {
        return fail(EXIT_USAGE, &error.to_string());
    }
    match serve(&settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fail(EXIT_UNAVAILABLE, &reason),
    }
}

async fn serve(settings: &Settings) -> Result<(), String> {
    let metrics = Metrics::install().map_err(|error| error.to_string())?;
    let readiness = Readiness::new(&["bus", "listening"]);
    let drain = Drain::on_signals(Duration::from_secs(settings.limits.drain_secs.into())).map_err(|error| error.to_string())?;
    let admin = bind("WEFT_ADMIN_LISTEN", settings.admin_listen).await?;
    let admin_token = tokio_util::sync::CancellationToken::new();
    let admin_task = tokio::spawn(serve_admin(admin, metrics, readiness.clone(), admin_token.clone()));
    let config = settings.bus.config(&settings.instance).map_err(|error| error.to_string())?;
    tracing::info!(bus = %config.url_shown(), "connecting");
    tracing::warn!("WEFT_AUTH=off: whoever can connect may follow, publish and act on everything");
    let bus = tokio::select! {
        bus = Bus::connect_patiently(config) => bus.map_err(|error| format!("the bus could not be connected: {error}"))?,
        () = drain.started() => return Ok(()),
    };
    let listener = bind("WEFT_LISTEN", settings.listen).await?;
    run(settings, listener, bus, &drain, &readiness).await;
    admin_token.cancel();
    let _ = admin_task.await;
    Ok(())
}

async fn bind(setting: &str, address: std::net::SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{setting}: cannot listen on {address}: {error}"))
}

fn fail(code: u8, reason: &str) -> ExitCode {
    // Who reads this may have gone; the exit code must come out all the same.
    let _ = writeln!(std::io::stderr(), "gateway: {reason}");
    ExitCode::from(code)
}
