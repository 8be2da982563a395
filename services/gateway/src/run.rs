//! The life of a gateway, from a connected bus to the last goodbye.

use crate::{
    config::Settings,
    feed, fleet,
    http::{self, App, Executors, Intake, Tls, serve::Terms},
    hub::Hub,
    metrics::{Metrics, SUMMARY_EVERY},
    session::{self, Orders, Shared},
    transport::Mailboxes,
};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use weft_bus::Bus;
use weft_dialect::socketio::FleetKey;
use weft_drain::Drain;
use weft_guard::{Guard, Limits, control::ControlToken};
use weft_publisher::{HeadConfig, HeadKeeper};
use weft_telemetry::Readiness;

/// How long sessions may take to end after their window.
const LAST_GOODBYES: Duration = Duration::from_secs(3);
/// How long everything else may take then: last answers, heads, the bus. A process is gone within ten seconds of its
/// window's end, also without its broker.
const LAST_WORDS: Duration = Duration::from_secs(7);

/// Where this process is connected to.
pub struct Listeners {
    /// By clients.
    pub clients: TcpListener,
    /// By other gateways, where requests are passed on.
    pub peers: Option<TcpListener>,
    /// By operators, who show this token.
    pub control: Option<(TcpListener, ControlToken)>,
    /// How clients and operators are spoken to; none: in plain.
    pub tls: Option<Tls>,
}

/// Serves until the process is told to leave, then leaves politely.
pub async fn run(
    settings: &Settings,
    (fleet_key, guard): (FleetKey, Guard),
    listeners: Listeners,
    bus: Bus,
    drain: &Drain,
    readiness: &Readiness,
) {
    let (hub, to_open, due_heads) = Hub::new(bus.clone(), settings.hub_limits(), Metrics::new());
    let feed = feed::start(&hub, to_open);
    let executors = Executors::new(bus.clone(), hub.metrics.replies_awaited.clone());
    let Listeners { clients: listener, peers: peer_listener, control, tls } = listeners;
    let guard = Arc::new(guard);
    let peer_address = peer_listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let address = listener.local_addr().map_or_else(|_| settings.listen.to_string(), |address| address.to_string());
    let stopped = CancellationToken::new();
    let _tasks = [
        spawn(feed::heads::keep(hub.clone(), due_heads)),
        spawn(executors.clone().forget_silent()),
        spawn(turn(hub.clone())),
        spawn(sweep(hub.clone())),
        spawn(gather(hub.clone())),
        spawn(summarize(hub.clone())),
    ];
    let own = fleet::Own { instance: settings.instance.clone(), address: address.clone(), peer: peer_address };
    let announced = tokio::spawn(fleet::announce(hub.clone(), own, stopped.clone()));
    let peers = peer_address.map(|_| Arc::new(fleet::Peers::new(bus.clone())));
    let heads = HeadKeeper::new(bus.clone(), HeadConfig::for_retention(&settings.bus.retention()));
    let limits = settings.http_limits();
    let app = App {
        shared: Arc::new(Shared {
            hub: hub.clone(),
            feed,
            limits: settings.session_limits(),
            instance: settings.instance.clone(),
            fleet_key,
            guard: guard.clone(),
            bounds: Arc::new(Limits::new(settings.guard.bounds())),
            orders: Orders::default(),
        }),
        heads: heads.clone(),
        executors,
        door: Arc::new(settings.door()),
        admissions: Arc::new(settings.admissions()),
        drain: drain.clone(),
        limits,
        ingress: Arc::new(Semaphore::new(limits.ingress_bytes_at_once / 1024 + 1)),
        polls: Arc::new(Semaphore::new(settings.polls_bytes_at_once() / 1024 + 1)),
        sockets: Arc::new(settings.sockets()),
        begin_packets: http::engine::begin,
        mailboxes: Mailboxes::default(),
        peers,
    };
    let _guarding = [
        spawn(keep_guard(guard.clone(), bus.clone())),
        spawn(session::heed_revocations(app.shared.clone())),
        spawn(tell_when_ready(guard, readiness.clone())),
    ];
    let sockets_max = settings.limits.sockets_max;
    let intake = Intake::of_clients(sockets_max, app.shared.bounds.clone());
    let terms = Terms { times: app.sockets.times, heads: settings.requests.heads(), tls, intake };
    let _reading = terms.tls.clone().map(|tls| spawn(async move { tls.keep().await }));
    let serve =
        |listener, router, terms: &Terms| tokio::spawn(http::serve::serve(listener, router, terms.clone(), stopped.clone()));
    let controlled = control.map(|(listener, token)| {
        let router = http::router_of_control(app.clone(), token);
        serve(listener, router, &terms.taking(Intake::of_operators()))
    });
    // Peers are known by the fleet's key, and have no names to be certified.
    let among_peers = terms.in_plain().taking(Intake::of_peers(sockets_max));
    let passing = peer_listener.map(|listener| serve(listener, http::router_of_peers(app.clone()), &among_peers));
    let serving = serve(listener, http::router(app), &terms);
    readiness.set("bus", true);
    readiness.set("listening", true);
    tracing::info!(%address, bus = bus.mode().word(), console = http::has_console(), "serving");

    leave(&hub, drain, readiness, settings.limits.drain_secs).await;
    // An operator's drain ends nothing but connections: the process waits to be told to end.
    drain.ordered().await;
    stopped.cancel();
    let last_words = async {
        let _ = heads.settle(Duration::from_secs(2)).await;
        let _ = tokio::join!(serving, announced);
        for listening in [passing, controlled].into_iter().flatten() {
            let _ = listening.await;
        }
        bus.close().await;
    };
    if tokio::time::timeout(LAST_WORDS, last_words).await.is_err() {
        tracing::warn!("left without the last words; the broker does not answer");
    }
    hub.metrics.done.summarize(hub.session_count());
    tracing::info!(sessions_left = hub.session_count(), "left");
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn keep_guard(guard: Arc<Guard>, bus: Bus) {
    guard.keep(&bus).await;
}

/// Once somebody could be let in, and for good: later outages are the same for all gateways.
async fn tell_when_ready(guard: Arc<Guard>, readiness: Readiness) {
    while !guard.is_ready() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    readiness.set("guard", true);
}

async fn turn(hub: Arc<Hub>) {
    hub.wheel.turn().await;
}

async fn gather(hub: Arc<Hub>) {
    hub.gather().await;
}

/// A line of the log for all connections of half a minute.
async fn summarize(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(SUMMARY_EVERY).await;
        hub.metrics.done.summarize(hub.session_count());
    }
}

async fn sweep(hub: Arc<Hub>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        hub.sweep();
    }
}

/// From the first word of it until nobody is left, or can be waited for.
async fn leave(hub: &Arc<Hub>, drain: &Drain, readiness: &Readiness, window_secs: u32) {
    drain.announced().await;
    readiness.draining();
    hub.metrics.draining.set(1.0);
    tracing::info!(sessions = hub.session_count(), "leaving: not ready any more");
    drain.started().await;
    hub.begin_draining(window_secs);
    let [unhinted, hinted] = hub.leaving_counts();
    tracing::info!(unhinted, hinted, window_secs, "leaving: sending clients elsewhere");
    tokio::select! {
        () = nobody_is_left(hub) => {}
        () = drain.closing() => {
            hub.close_all();
            let _ = tokio::time::timeout(LAST_GOODBYES, nobody_is_left(hub)).await;
        }
    }
}

async fn nobody_is_left(hub: &Hub) {
    while hub.session_count() + hub.passage_count() > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
