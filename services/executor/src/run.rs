//! Puts an executor together, serves until the process leaves, and leaves in order.

use crate::{
    commands,
    config::Config,
    executions::Executions,
    executor::{Executor, Parts},
    gateway::{self, Line, Registration},
    http,
    reach::Reach,
    steps::Tools,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use weft_bus::{Address, Bus, Incoming, Presence};
use weft_drain::Drain;
use weft_publisher::Publisher;
use weft_telemetry::Readiness;

/// An announcement lives 30 s.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(10);
/// Time kept back from the drain's window for storing what the executions told last.
const FLUSH_SHARE: u32 = 2;

/// How events leave and commands come, connected.
pub enum Way {
    /// Over a bus.
    Bus(Bus),
    /// Through a gateway.
    Gateway(Line),
}

/// Runs an executor until `drain` has begun and everything has ended.
///
/// # Errors
/// The HTTP client of http steps cannot be built.
pub async fn run(
    config: Config,
    listener: TcpListener,
    way: Way,
    publisher: Publisher,
    drain: &Drain,
    readiness: &Readiness,
) -> Result<(), reqwest::Error> {
    crate::metrics::begin(config.limits.executions_max);
    let tools = tools(&config)?;
    let (inbox, incoming) = mpsc::channel(commands::INBOX_MAX);
    let summaries: Vec<Value> = config.workflows.values().map(|workflow| workflow.summary()).collect();
    let reach = match way {
        Way::Bus(bus) => Reach::Bus { bus, inbox: inbox.clone() },
        Way::Gateway(line) => Reach::Gateway(Arc::new(Registration::new(line, summaries.clone()))),
    };
    let executor = Executor::new(Parts {
        executions: Executions::new(config.limits.executions_max, config.limits.executions_remembered),
        workflows: config.workflows,
        tools,
        publisher: publisher.clone(),
        tenant: config.tenant,
        reach,
    });
    // Cancelled only when all executions have ended: until then they take commands.
    let (ended, tasks) = (CancellationToken::new(), TaskTracker::new());
    tasks.spawn(ended.clone().run_until_cancelled_owned(commands::answer_all(executor.clone(), incoming)));
    tasks.spawn(stay_reachable(executor.clone(), config.id.clone(), summaries, inbox, ended.clone()));
    let served = CancellationToken::new();
    if let Ok(address) = listener.local_addr() {
        info!(%address, id = config.id, workflows = executor.workflows().count(), "the executor listens");
    }
    tasks.spawn(http::serve(listener, http::router(executor.clone(), config.door), served.clone()));
    readiness.set("listening", true);

    drain.started().await;
    readiness.draining();
    let finish_by = drain.finish_by().unwrap_or_else(Instant::now);
    let window = finish_by.saturating_duration_since(Instant::now());
    // A second signal ends the window at once.
    let unfinished = tokio::select! {
        unfinished = executor.leave(window / FLUSH_SHARE) => unfinished,
        () = drain.closing() => executor.executions().running(),
    };
    if unfinished > 0 {
        warn!(unfinished, "executions had not ended when the time for it was over");
    }
    served.cancel();
    ended.cancel();
    tasks.close();
    if let Err(lost) = publisher.close_within(finish_by.saturating_duration_since(Instant::now())).await {
        warn!(%lost, "the executor leaves with events that are not stored");
    }
    let _ = timeout(ANNOUNCE_EVERY, tasks.wait()).await;
    drain.close();
    info!("the executor has stopped");
    Ok(())
}

fn tools(config: &Config) -> Result<Tools, reqwest::Error> {
    let http = crate::client::builder().build()?;
    let limits = &config.limits;
    Ok(Tools {
        dir: config.dir.clone(),
        http,
        http_hosts: config.http_hosts.clone(),
        environment: config.environment.clone(),
        grace: Duration::from_millis(limits.kill_grace_ms),
        output_bytes_max: limits.output_bytes_max,
        output_lines_max: limits.output_lines_max,
        nodes_at_once: limits.nodes_max,
    })
}

/// Keeps this executor itself reachable and known.
async fn stay_reachable(
    executor: Executor,
    id: String,
    summaries: Vec<Value>,
    inbox: mpsc::Sender<Incoming>,
    ended: CancellationToken,
) {
    match executor.reach() {
        Reach::Gateway(registration) => {
            let commands = gateway::take_commands(registration.clone(), inbox, ended.clone());
            tokio::join!(registration.keep(ended), commands);
        }
        Reach::Bus { bus, .. } => {
            let announcement = json!({"id": id, "tenant": executor.tenant(), "workflows": summaries});
            stay_on_bus(bus, &id, announcement.to_string().into(), inbox, ended).await;
        }
    }
}

async fn stay_on_bus(bus: &Bus, id: &str, announcement: bytes::Bytes, inbox: mpsc::Sender<Incoming>, ended: CancellationToken) {
    let mut serving = None;
    loop {
        if serving.is_none() {
            match bus.serve(&Address::Executor(id.to_owned()), inbox.clone()).await {
                Ok(begun) => serving = Some(begun),
                Err(error) => warn!(%error, "orders cannot reach this executor"),
            }
        }
        if let Err(error) = bus.announce(Presence::Executor, id, announcement.clone()).await {
            warn!(%error, "this executor is not announced");
        }
        if ended.run_until_cancelled(tokio::time::sleep(ANNOUNCE_EVERY)).await.is_none() {
            break;
        }
    }
    drop(serving);
    if let Err(error) = bus.withdraw(Presence::Executor, id).await {
        warn!(%error, "the announcement of this executor outlives it");
    }
}
