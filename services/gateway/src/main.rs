//! The `gateway` binary.

use clap::{CommandFactory, Parser};
use std::{io::Write, net::SocketAddr, process::ExitCode};
use tokio::net::{TcpListener, TcpSocket};
use weft_bus::{Bus, Mode};
use weft_drain::Drain;
use weft_gateway::{Settings, run, run::Listeners};
use weft_guard::Guard;
use weft_telemetry::{Metrics, Readiness, in_one_line, init_logs, init_traces, serve_admin};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A setting that cannot be used (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// Something that the gateway needs is not there (`EX_UNAVAILABLE`).
const EXIT_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    weft_gateway::raise_descriptors();
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(error) if error.use_stderr() => return fail(EXIT_USAGE, &in_one_line(&error, &Settings::command())),
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    if let Err(error) = settings.check() {
        return fail(EXIT_USAGE, &error.to_string());
    }
    let log = match init_logs(&settings.log) {
        Ok(log) => log,
        Err(error) => return fail(EXIT_USAGE, &error.to_string()),
    };
    let _traces = match init_traces(&settings.traces, "weft-gateway", &settings.instance) {
        Ok(traces) => traces,
        Err(error) => return fail(EXIT_USAGE, &error.to_string()),
    };
    let started = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match started.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(serve(&settings))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            log.say(&format!("gateway: {reason}"));
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

async fn serve(settings: &Settings) -> Result<(), String> {
    let metrics = Metrics::install().map_err(|error| error.to_string())?;
    let readiness = Readiness::new(&["bus", "guard", "listening"]);
    let drain = Drain::on_signals_with(settings.drain_times()).map_err(|error| error.to_string())?;
    let admin = bind("WEFT_ADMIN_LISTEN", settings.admin_listen).await?;
    let admin_token = tokio_util::sync::CancellationToken::new();
    let admin_task = tokio::spawn(serve_admin(admin, metrics, readiness.clone(), admin_token.clone()));
    let fleet_key = settings.fleet_key().map_err(|error| error.to_string())?;
    let config = settings.bus_config().map_err(|error| error.to_string())?;
    tracing::info!(bus = %config.url_shown(), "connecting");
    for warning in settings.guard.warnings() {
        tracing::warn!("{warning}");
    }
    if settings.fleet_key_file.is_none() && config.mode() != Mode::Memory {
        tracing::warn!("WEFT_FLEET_KEY_FILE is not set: no other gateway goes on with sessions of Socket.IO that began here");
    }
    let control = settings.guard.control().map_err(|error| error.to_string())?;
    let bus = tokio::select! {
        bus = Bus::connect_patiently(config) => bus.map_err(|error| format!("the bus could not be connected: {error}"))?,
        () = drain.announced() => return Ok(()),
    };
    let listener = listen("WEFT_LISTEN", settings.listen)?;
    let guard = Guard::open(&settings.guard, bus.is_durable()).map_err(|error| error.to_string())?;
    let control = match control {
        Some((address, token)) => Some((bind("WEFT_CONTROL_LISTEN", address).await?, token)),
        None => None,
    };
    let peer_listener = settings.peer_listen.map(|address| listen("WEFT_PEER_LISTEN", address)).transpose()?;
    let tls = settings.tls.open().map_err(|error| error.to_string())?;
    let listeners = Listeners { clients: listener, peers: peer_listener, control, tls };
    run(settings, (fleet_key, guard), listeners, bus, &drain, &readiness).await;
    admin_token.cancel();
    let _ = admin_task.await;
    Ok(())
}

/// After a deploy or the death of a sibling thousands connect at once; whoever finds the queue full tries again only
/// after a second. The kernel takes no more than `net.core.somaxconn` of these.
const CONNECTS_WAITING_MAX: u32 = 4096;

/// Where clients connect, or other gateways.
fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, String> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(CONNECTS_WAITING_MAX)
    };
    listening().map_err(|error| format!("{setting}: cannot listen on {address}: {error}"))
}

async fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{setting}: cannot listen on {address}: {error}"))
}

/// Before there is a log.
fn fail(code: u8, reason: &str) -> ExitCode {
    // Who reads this may have gone; the exit code must come out all the same.
    let _ = writeln!(std::io::stderr(), "gateway: {reason}");
    ExitCode::from(code)
}
