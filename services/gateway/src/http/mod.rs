//! Everything the gateway answers over HTTP: one noun a file, one state for all.

pub mod admission;
mod answer;
mod catch_up;
mod certificate;
mod commands;
mod control;
mod door;
pub mod engine;
mod executions;
mod extract;
mod first;
mod ingress;
mod input;
pub mod intake;
mod leave;
mod linger;
mod page;
mod peer;
mod poll;
mod requests;
pub mod serve;
mod stream;
mod takeover;
mod tls;
mod tunnel;
mod upgrade;
mod who;
mod workflows;

pub use admission::Admissions;
pub use commands::Executors;
pub use control::router_of_control;
pub use door::Door;
pub use engine::EngineLimits;
pub use intake::Intake;
pub use page::has_console;
pub use requests::{RequestSettings, begin_counting as begin_counting_requests};
pub use tls::{Tls, TlsSettings, begin_counting as begin_counting_tls};

use crate::{
    fleet::Peers,
    hub::Place,
    session,
    transport::{Engine, Mailboxes, SocketTimes, WebSocketLimits},
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    middleware,
    routing::{any, get, post, put},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use weft_bus::Presence;
use weft_drain::Drain;
use weft_publisher::HeadKeeper;

/// Bounds of requests.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Largest body in bytes, but for those of `POST /api/events` and of Socket.IO, which have bounds of their own.
    pub body_bytes: usize,
    /// Largest body of `POST /api/events` in bytes.
    pub ingress_bytes: usize,
    /// Bytes of bodies of `POST /api/events` that may be under way at once.
    pub ingress_bytes_at_once: usize,
    /// Most events in one `POST /api/events`.
    pub ingress_events: usize,
    /// Bounds of each event.
    pub event: weft_event::Limits,
    /// How long a body may take to come.
    pub body_time: Duration,
    /// Seconds that a refused client is told to wait.
    pub retry_after_secs: u64,
    /// Seconds over which closes are spread.
    pub drain_secs: u32,
}

/// How sockets are taken over.
#[derive(Debug)]
pub struct Sockets {
    /// Bounds of what clients send.
    pub limits: Arc<WebSocketLimits>,
    /// The same before they have shown a token, where they must.
    pub first_limits: Option<Arc<WebSocketLimits>>,
    /// Whether offers to compress are taken.
    pub compression: bool,
    /// How long the kernel may try.
    pub times: SocketTimes,
    /// Times and bounds of Engine.IO.
    pub engine: EngineLimits,
    /// Permits for telling clients that there is no place for them.
    pub turned_away: Arc<Semaphore>,
}

/// What is known of a client of Socket.IO that opens a connection.
pub struct Opened {
    /// Whether it can bear recovery.
    pub bears_recovery: bool,
    /// What it came in with.
    pub pass: Option<Box<session::Pass>>,
}

/// Begins the session of a client of Socket.IO.
pub type BeginPackets = fn(&App, Place, Engine, Opened);

/// What every request can reach.
#[derive(Clone)]
pub struct App {
    /// Rooms, sessions, the bus.
    pub shared: Arc<session::Shared>,
    /// Heads of the executions published through this process.
    pub heads: HeadKeeper,
    /// Executors that are connected by HTTP.
    pub executors: Arc<Executors>,
    /// Who may come in.
    pub door: Arc<Door>,
    /// How fast clients are let in.
    pub admissions: Arc<Admissions>,
    /// How this process leaves.
    pub drain: Drain,
    /// Bounds.
    pub limits: HttpLimits,
    /// How sockets are taken over.
    pub sockets: Arc<Sockets>,
    /// Sessions of Engine.IO that are polled.
    pub mailboxes: Mailboxes,
    /// Begins a session of Socket.IO; protocol suites put another in its place.
    pub begin_packets: BeginPackets,
    /// The other gateways, if requests are passed on to them.
    pub peers: Option<Arc<Peers>>,
    /// Permits for bodies under way, one for each KiB.
    pub ingress: Arc<Semaphore>,
    /// Kibibytes of what polling clients post that may be under way at once.
    pub polls: Arc<Semaphore>,
}

/// All routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/assets/{file}", get(page::asset))
        .route("/page", get(page::small))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
        .route("/api/ws", get(upgrade::native))
        .route("/api/ws/executions/{execution_id}", get(upgrade::c))
        .route("/ws/executions/{execution_id}/logs", get(upgrade::e))
        .route("/executions/{execution_id}/start-streaming", post(workflows::start_streaming))
        .route("/socket.io/", any(engine::serve))
        .route("/socket.io", any(engine::serve))
        .route("/api/ws/health", get(health))
        .route("/api/events", post(ingress::publish))
        .route("/api/executions", get(executions::list))
        .route("/api/executions/{id}", get(executions::read))
        .route("/api/executions/{id}/events", get(catch_up::of_execution))
        .route("/api/executions/{id}/cancel", post(workflows::cancel))
        .route("/api/executions/{id}/input", post(input::provide))
        .route("/api/rooms/{room}/events", get(catch_up::of_room))
        .route("/api/workflows", get(workflows::list).post(workflows::run))
        .route("/api/workflows/{name}/execute", post(workflows::execute))
        .route("/api/commands", get(commands::stream))
        .route("/api/commands/{executor}", put(commands::register))
        .route("/api/commands/{ref}/reply", post(commands::reply))
        .route("/api/fleet", get(fleet))
        .fallback(answer::no_such_route)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(DefaultBodyLimit::max(app.limits.body_bytes))
        .layer(middleware::from_fn_with_state(app.door.clone(), door::check))
        .with_state(app)
}

/// What other gateways may ask: requests of sessions that this one holds.
pub fn router_of_peers(app: App) -> Router {
    Router::new().route("/socket.io/", any(peer::serve)).fallback(answer::no_such_route).with_state(app)
}

/// `GET /api/ws/health`, as system B asks it.
async fn health(State(app): State<App>) -> axum::Json<Value> {
    let now = answer::timestamp();
    axum::Json(json!({ "status": "ok", "connections": app.shared.hub.session_count(), "timestamp": now }))
}

/// `GET /api/fleet`: the gateways that are alive, from their announcements.
async fn fleet(State(app): State<App>, visitor: who::Visitor) -> Result<axum::Json<Value>, answer::Refusal> {
    visitor.sees_all()?;
    let present = app.shared.hub.bus.present(Presence::Gateway).await?;
    let gateways: Vec<Value> = present.iter().filter_map(|(_, value)| serde_json::from_slice(value).ok()).collect();
    Ok(axum::Json(json!({ "gateways": gateways })))
}
