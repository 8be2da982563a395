//! Who sees what: two tenants with rooms and users of the same names, every kind of room, every kind of right, every transport,
//! every way to ask.
//! What is permitted is delivered, and nothing else is ever told.

use crate::{
    auth_rig::{self, Polling, Ws, ask, pid, publish, token},
    auth_watch::Watched,
    support::{Broker, Kind},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use weft_testkit::process::Process;

/// Whoever is told what it may see has been told by then.
const PATIENCE: Duration = Duration::from_secs(25);
/// Questions that are being asked.
const AT_ONCE: usize = 400;
/// What has not come so long after everything was refused does not come.
const QUIET: Duration = Duration::from_millis(3500);

const TENANTS: [&str; 2] = ["acme", "umbra"];
const ROOMS: [&str; 4] = ["execution:e", "user:ada", "agent:a:e", "kb:k"];
const WAYS: [(Transport, &[Op]); 8] = [
    (Transport::Native, &[Op::Subscribe, Op::Resume, Op::History, Op::Snapshot, Op::Upstream]),
    (Transport::C, &[Op::Subscribe, Op::Resume, Op::Snapshot]),
    (Transport::E, &[Op::Subscribe, Op::History]),
    (Transport::Sse, &[Op::Subscribe, Op::Resume, Op::Snapshot]),
    (Transport::SocketIo, &[Op::Subscribe, Op::Resume, Op::Snapshot, Op::Upstream]),
    // The same packets in A's namespace, whose clients follow executions and ask for nothing else.
    (Transport::Executions, &[Op::Subscribe, Op::Resume]),
    (Transport::Polling, &[Op::Subscribe, Op::Resume, Op::Snapshot, Op::Upstream]),
    (Transport::Rest, &[Op::History, Op::Resume, Op::Snapshot, Op::Upstream]),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Native,
    C,
    E,
    Sse,
    SocketIo,
    Executions,
    Polling,
    Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Subscribe,
    Resume,
    History,
    Snapshot,
    Upstream,
}

/// By what somebody may see, or may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    /// All that there is belongs to her, in either tenant.
    Owner,
    /// Has nothing, and may see nothing.
    Stranger,
    /// Its token names the very room.
    Claim,
    /// Its token names families of rooms.
    Pattern,
    /// Its token names rooms and families that are not these, by a hair.
    OtherClaims,
    /// As by a pattern, and may act.
    Actor,
    Admin,
}

const USERS: [User; 7] = [User::Owner, User::Stranger, User::Claim, User::Pattern, User::OtherClaims, User::Actor, User::Admin];
const FAMILIES: [&str; 4] = ["execution:*", "user:*", "agent:*", "kb:*"];
const OTHERS: [&str; 8] =
    ["execution:e2", "execution:ee*", "user:ada2", "user:ad", "agent:aa:*", "agent:a:e2", "kb:k*x", "kb:kk*"];

/// One question of the matrix.
#[derive(Clone, Copy, Debug)]
struct Cell {
    tenant: &'static str,
    user: User,
    room: &'static str,
    transport: Transport,
    op: Op,
}

impl Cell {
    fn token(self) -> String {
        let (rooms, scope) = match self.user {
            User::Owner | User::Stranger => (json!([]), ""),
            User::Claim => (json!([self.room]), ""),
            User::Pattern => (json!(FAMILIES), ""),
            User::OtherClaims => (json!(OTHERS), "executions:act"),
            User::Actor => (json!(FAMILIES), "executions:act"),
            User::Admin => (json!([]), "admin"),
        };
        let subject = if self.user == User::Owner { "ada" } else { "bob" };
        token(json!({"sub": subject, "tenant": self.tenant, "rooms": rooms, "scope": scope}))
    }

    fn is_permitted(self) -> bool {
        if self.op == Op::Upstream {
            // Nobody owns an execution that there is not, but who may act on any may find that out.
            let is_hers = self.execution() == "e" && self.user == User::Owner;
            return is_hers || matches!(self.user, User::Actor | User::Admin);
        }
        // A session of Socket.IO is gone on with by the user that began it, whoever else may see its rooms.
        let is_session =
            self.op == Op::Resume && matches!(self.transport, Transport::SocketIo | Transport::Executions | Transport::Polling);
        match self.user {
            User::Owner => true,
            User::Stranger | User::OtherClaims => false,
            User::Claim | User::Pattern | User::Actor | User::Admin => !is_session,
        }
    }

    /// The execution that an action names: the room's, or one that is called like what the room is about.
    fn execution(self) -> &'static str {
        self.room.rsplit(':').next().unwrap_or(self.room)
    }

    /// The namespace of Socket.IO, as packets name it.
    fn namespace(self) -> &'static str {
        if self.transport == Transport::Executions { "/executions," } else { "" }
    }

    /// What its clients subscribe to the room by.
    fn channel(self) -> &'static str {
        if self.transport == Transport::Executions { self.execution() } else { self.room }
    }

    /// Whether there is such a question at all.
    fn makes_sense(self) -> bool {
        let is_of_executions = self.room.starts_with("execution:");
        // Their address is an execution's, as is that of a snapshot by request.
        let of_executions_only = matches!(self.transport, Transport::C | Transport::E | Transport::Executions)
            || (self.transport == Transport::Rest && self.op == Op::Snapshot);
        // Logs are the history that a subscription may ask for; rooms of a knowledge base have none.
        let is_barren = self.transport == Transport::Native
            && self.op == Op::History
            && self.room != "execution:e"
            && self.room != "user:ada";
        !is_barren && (is_of_executions || !of_executions_only)
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for tenant in TENANTS {
        for user in USERS {
            for room in ROOMS {
                for (transport, ops) in WAYS {
                    cells.extend(ops.iter().map(|op| Cell { tenant, user, room, transport, op: *op }));
                }
            }
        }
    }
    cells.retain(|cell| cell.makes_sense());
    cells
}

/// What every event of a tenant holds, and nothing of another.
fn mark(tenant: &str) -> String {
    format!("mark-of-{tenant}")
}

/// Events that reach all four rooms.
fn events(tenant: &str) -> Value {
    let mark = mark(tenant);
    json!([
        {"type": "node:completed", "executionId": "e", "userId": "ada", "nodeId": "n", "data": {"output": {"x": mark}}},
        {"type": "log", "executionId": "e", "userId": "ada", "data": {"level": "info", "message": mark}},
        {"type": "agent:completed", "executionId": "e", "userId": "ada", "agentId": "a", "data": {"result": mark}},
        {"type": "kb:processing", "knowledgeBaseId": "k", "userId": "ada", "data": {"step": mark}},
    ])
}

/// What a cell was told.
async fn told(gateway: Arc<Watched>, cell: Cell) -> String {
    match cell.transport {
        Transport::Native => native(&gateway, cell).await,
        Transport::C | Transport::E => one_room(&gateway, cell).await,
        Transport::Sse => stream(&gateway, cell).await,
        Transport::SocketIo | Transport::Executions => socketio(&gateway, cell).await,
        Transport::Polling => polling(&gateway, cell).await,
        Transport::Rest => rest(&gateway, cell).await,
    }
}

/// Whether a permitted cell has been told what it was there for.
fn is_enough(cell: Cell, told: &str) -> bool {
    // Nobody runs the execution: who may act hears of that, who may not hears something else.
    if cell.op == Op::Upstream { told.contains("no_executor") } else { told.contains(&mark(cell.tenant)) }
}

async fn gather(cell: Cell, socket: &mut Ws) -> String {
    let mut told = String::new();
    let patience = if cell.is_permitted() { PATIENCE } else { QUIET };
    let end = tokio::time::Instant::now() + patience;
    while !is_enough(cell, &told) || !cell.is_permitted() {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let Some(text) = socket.next_within(left).await else { break };
        if text == "2" {
            socket.text("3".into()).await;
        }
        told.push_str(&text);
    }
    told
}

async fn native(gateway: &Process, cell: Cell) -> String {
    let mut socket = Ws::bearing(gateway, "/api/ws", &cell.token()).await;
    let room = cell.room;
    socket
        .say(match cell.op {
            Op::Subscribe => json!({"type": "subscribe", "room": room}),
            Op::Resume => json!({"type": "subscribe", "room": room, "offset": "0"}),
            Op::History => json!({"type": "subscribe", "room": room, "history": "logs"}),
            Op::Snapshot => json!({"type": "subscribe", "room": room, "snapshot": true}),
            Op::Upstream => json!({"type": "cancel", "executionId": cell.execution(), "ref": "r"}),
        })
        .await;
    gather(cell, &mut socket).await
}

async fn one_room(gateway: &Process, cell: Cell) -> String {
    let path = match (cell.transport, cell.op) {
        (Transport::C, Op::Resume) => "/api/ws/executions/e?offset=0",
        (Transport::C, _) => "/api/ws/executions/e",
        _ => "/ws/executions/e/logs",
    };
    gather(cell, &mut Ws::bearing(gateway, path, &cell.token()).await).await
}

async fn stream(gateway: &Process, cell: Cell) -> String {
    let query = match cell.op {
        Op::Resume => "?offset=0",
        Op::Snapshot => "?snapshot=true",
        _ => "",
    };
    let url = format!("{}/api/rooms/{}/events{query}", gateway.url(), cell.room);
    let request = weft_testkit::http::client().get(url).header("accept", "text/event-stream").bearer_auth(cell.token());
    let mut answer = request.timeout(PATIENCE).send().await.expect("an answer");
    let mut told = String::new();
    let patience = if cell.is_permitted() { PATIENCE } else { QUIET };
    let end = tokio::time::Instant::now() + patience;
    while !is_enough(cell, &told) || !cell.is_permitted() {
        let Ok(Ok(Some(bytes))) = tokio::time::timeout_at(end, answer.chunk()).await else { break };
        told.push_str(&String::from_utf8_lossy(&bytes));
    }
    told
}

/// A session of ada's, as her gateway keeps it, and an offset in it: stolen, or her own.
async fn earlier_session(gateway: &Process, cell: Cell) -> (String, String) {
    let owner = Cell { user: User::Owner, ..cell };
    let namespace = cell.namespace();
    let (mut socket, answer) = Ws::socketio_in(gateway, namespace, &json!({"token": owner.token()})).await;
    socket.text(format!("42{namespace}0{}", json!(["subscribe", cell.channel()]))).await;
    socket.hear(&format!("43{namespace}0[")).await;
    let offset = loop {
        let text = socket.next().await.expect("an event");
        if text == "2" {
            socket.text("3".into()).await;
        }
        let Some(event) = text.strip_prefix(&format!("42{namespace}")) else { continue };
        let args: Value = serde_json::from_str(event).expect("JSON");
        // Of several packets of A's state all but the last have none.
        if let (true, Some(offset)) = (event.contains("mark-of") && args[0] != "snapshot", args[2].as_str()) {
            break offset.to_owned();
        }
    };
    (pid(&answer), offset)
}

async fn connect_of(gateway: &Process, cell: Cell) -> Value {
    if cell.op != Op::Resume {
        return json!({"token": cell.token()});
    }
    let (pid, offset) = earlier_session(gateway, cell).await;
    json!({"token": cell.token(), "pid": pid, "offset": offset})
}

fn emit(cell: Cell) -> Option<String> {
    match cell.op {
        Op::Resume => None,
        Op::Upstream => Some(format!("420{}", json!(["cancel", {"executionId": cell.execution()}]))),
        _ => Some(format!("42{}0{}", cell.namespace(), json!(["subscribe", cell.channel()]))),
    }
}

async fn socketio(gateway: &Process, cell: Cell) -> String {
    let auth = connect_of(gateway, cell).await;
    let (mut socket, _) = Ws::socketio_in(gateway, cell.namespace(), &auth).await;
    if let Some(packet) = emit(cell) {
        socket.text(packet).await;
    }
    gather(cell, &mut socket).await
}

async fn polling(gateway: &Process, cell: Cell) -> String {
    let auth = connect_of(gateway, cell).await;
    let session = Polling::open(gateway).await;
    session.say(format!("40{auth}")).await;
    let mut told = session.poll(PATIENCE).await.unwrap_or_default();
    if let Some(packet) = emit(cell) {
        session.say(packet).await;
    }
    let patience = if cell.is_permitted() { PATIENCE } else { QUIET };
    let end = tokio::time::Instant::now() + patience;
    while !is_enough(cell, &told) || !cell.is_permitted() {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        let Some(text) = session.poll(left).await else { break };
        told.push_str(&text);
    }
    told
}

async fn rest(gateway: &Process, cell: Cell) -> String {
    let (method, path) = match cell.op {
        Op::Resume => ("GET", format!("/api/rooms/{}/events?after=0", cell.room)),
        Op::Snapshot => ("GET", "/api/executions/e".to_owned()),
        Op::Upstream => ("POST", format!("/api/executions/{}/cancel", cell.execution())),
        _ => ("GET", format!("/api/rooms/{}/events", cell.room)),
    };
    let (status, body) = ask(gateway, method, &path, Some(&cell.token()), None).await;
    format!("{status} {body}")
}

/// What went wrong, of how many.
#[derive(Debug, Default)]
struct Verdict {
    cells: usize,
    leaks: Vec<String>,
    undelivered: Vec<String>,
}

/// Asks all questions, many at once, while events go on.
async fn matrix(gateways: Vec<Watched>) -> Verdict {
    let gateways: Vec<Arc<Watched>> = gateways.into_iter().map(Arc::new).collect();
    for tenant in TENANTS {
        publish(&gateways[0], Some(tenant), events(tenant)).await;
    }
    let asked = cells();
    let mut verdict = Verdict { cells: asked.len(), ..Verdict::default() };
    let (mut answers, turns) = (tokio::task::JoinSet::new(), Arc::new(tokio::sync::Semaphore::new(AT_ONCE)));
    for (number, cell) in asked.into_iter().enumerate() {
        let (gateway, turns) = (gateways[number % gateways.len()].clone(), turns.clone());
        answers.spawn(async move {
            let _turn = turns.acquire_owned().await;
            (cell, told(gateway, cell).await)
        });
    }
    let publisher = gateways[0].clone();
    let publishing = tokio::spawn(async move {
        loop {
            for tenant in TENANTS {
                publish(&publisher, Some(tenant), events(tenant)).await;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    let mut delivered: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(answered) = answers.join_next().await {
        let (cell, told) = answered.expect("an answer");
        let foreign = TENANTS.iter().filter(|tenant| **tenant != cell.tenant).any(|tenant| told.contains(&mark(tenant)));
        // Socket.IO tells a user of its own room without being asked.
        let is_told = told.contains("mark-of") && cell.user != User::Owner;
        let is_leak = foreign || (!cell.is_permitted() && (is_told || is_enough(cell, &told)));
        if is_leak {
            verdict.leaks.push(format!("{cell:?}"));
        }
        if cell.is_permitted() {
            if is_enough(cell, &told) {
                *delivered.entry(format!("{:?} {:?}", cell.transport, cell.op)).or_default() += 1;
            } else {
                verdict.undelivered.push(format!("{cell:?}: {}", told.chars().take(300).collect::<String>()));
            }
        }
    }
    publishing.abort();
    eprintln!(
        "{} cells, leaks {}, undelivered {}; delivered {delivered:?}",
        verdict.cells,
        verdict.leaks.len(),
        verdict.undelivered.len()
    );
    verdict
}

const ENV: [(&str, &str); 4] = [
    ("WEFT_PENDING_TIMEOUT", "2"),
    ("WEFT_TENANT_REQUIRED", "true"),
    ("WEFT_CONNECTIONS_PER_USER_MAX", "0"),
    ("WEFT_READS_PER_USER", "0"),
];

async fn on(kind: Kind, env: &[(&str, &str)]) -> Verdict {
    let broker = Broker::start(kind).await;
    let env: Vec<(&str, &str)> = ENV.iter().chain(env).copied().collect();
    let mut gateways = vec![auth_rig::gateway(&broker, &env).await];
    if kind != Kind::Memory {
        gateways.push(auth_rig::gateway(&broker, &env).await);
    }
    matrix(gateways).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_permitted_is_delivered_and_nothing_else_is() {
    for kind in [Kind::Memory, Kind::JetStream, Kind::Redis] {
        let verdict = on(kind, &[]).await;
        assert_eq!(verdict.leaks, Vec::<String>::new(), "{kind:?}: of {} cells", verdict.cells);
        assert_eq!(verdict.undelivered, Vec::<String>::new(), "{kind:?}: of {} cells", verdict.cells);
    }
}

/// `cargo test -p weft-gateway --features mutants --test end_to_end auth_matrix`
#[cfg(feature = "mutants")]
#[tokio::test(flavor = "multi_thread")]
async fn without_the_check_of_ownership_the_matrix_finds_leaks() {
    let verdict = on(Kind::Memory, &[("WEFT_MUTANT_CHECK", "Ownership")]).await;
    assert!(!verdict.leaks.is_empty(), "of {} cells", verdict.cells);
}

/// Names of rooms begin with the tenant: no single check that is missing crosses tenants.
#[cfg(feature = "mutants")]
#[tokio::test(flavor = "multi_thread")]
async fn without_the_check_of_tenants_nothing_crosses_them_all_the_same() {
    let verdict = on(Kind::Memory, &[("WEFT_MUTANT_CHECK", "RoomTenant")]).await;
    assert_eq!(verdict.leaks, Vec::<String>::new(), "of {} cells", verdict.cells);
}
