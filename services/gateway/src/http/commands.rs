//! Executors without a broker: they take commands by HTTP, and this gateway serves their addresses on the bus.

use super::{
    App,
    answer::Refusal,
    extract::{Json, Path, Query},
    who::{self, Visitor},
};
use axum::{
    extract::State,
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use metrics::Gauge;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};
use weft_bus::{Address, Bus, BusError, Incoming, PRESENCE_LIFETIME, Presence, Reply, Serving};
use weft_dialect::told;
use weft_event::{Room, id};
use weft_guard::{
    Caller,
    limits::{AddressShare, UserShare},
};

/// Commands waiting for one executor; past this the sender is told that it is busy.
const INBOX: usize = 64;
/// Executors at once.
const EXECUTORS_MAX: usize = 1000;
/// How long an executor may take to open its stream again.
const COME_BACK_TIME: Duration = Duration::from_secs(3);
/// Executions that one executor may run.
const EXECUTIONS_MAX: usize = 10_000;
/// Commands waiting for a reply; past this the oldest is forgotten, and its sender told a timeout.
const PENDING_MAX: usize = 4096;

/// Executors connected to this gateway.
pub struct Executors {
    bus: Bus,
    executors: Mutex<HashMap<String, Executor>>,
    replies: Mutex<Replies>,
    streams: AtomicU64,
    awaited: Gauge,
}

struct Executor {
    inbox: mpsc::Sender<Incoming>,
    outbox: Arc<tokio::sync::Mutex<mpsc::Receiver<Incoming>>>,
    /// The number of the newest stream; older ones end.
    newest: watch::Sender<u64>,
    serving: HashMap<String, Serving>,
    renewed: Instant,
    /// When its stream ended, if it has no other since.
    lost_at: Option<Instant>,
}

impl Executor {
    fn is_gone(&self) -> bool {
        self.renewed.elapsed() > PRESENCE_LIFETIME || self.lost_at.is_some_and(|at| at.elapsed() > COME_BACK_TIME)
    }
}

/// One stream of commands, for as long as somebody reads it.
struct Listening {
    executors: Arc<Executors>,
    id: String,
    tenant: Option<Box<str>>,
    number: u64,
    /// It is a connection like another.
    _shares: (AddressShare, UserShare),
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut executors = self.executors.executors.lock();
        if let Some(executor) = executors.get_mut(&self.id)
            && *executor.newest.borrow() == self.number
        {
            executor.lost_at = Some(Instant::now());
        }
    }
}

/// A reply that is waited for.
struct Awaited {
    /// Of the executor that got the command; others' replies are for commands that are not known.
    tenant: Option<Box<str>>,
    /// `None` where the reply was given already.
    reply: Option<oneshot::Sender<Reply>>,
}

/// By the `ref` of their commands.
#[derive(Default)]
struct Replies {
    by_reference: HashMap<String, Awaited>,
    by_age: VecDeque<String>,
}

impl Replies {
    fn expect(&mut self, reference: &str, awaited: Awaited) {
        if self.by_reference.insert(reference.to_owned(), awaited).is_none() {
            self.by_age.push_back(reference.to_owned());
        }
        while self.by_age.len() > PENDING_MAX {
            if let Some(oldest) = self.by_age.pop_front() {
                self.by_reference.remove(&oldest);
            }
        }
    }

    /// Where a reply goes that somebody of this tenant gives.
    fn take(&mut self, reference: &str, tenant: Option<&str>) -> Result<oneshot::Sender<Reply>, Refusal> {
        let awaited = self.by_reference.get_mut(reference).filter(|awaited| awaited.tenant.as_deref() == tenant);
        let awaited = awaited.ok_or_else(|| Refusal::plain(told::NOT_FOUND))?;
        awaited.reply.take().ok_or_else(|| Refusal::new(told::CONFLICT, "the command has its reply already"))
    }
}

impl Executors {
    /// Nobody yet.
    pub fn new(bus: Bus, awaited: Gauge) -> Arc<Self> {
        Arc::new(Self { bus, executors: Mutex::default(), replies: Mutex::default(), streams: AtomicU64::new(0), awaited })
    }

    /// Forgets executors that have not renewed for the lifetime of an announcement, and those whose stream has ended
    /// and not come back: nobody would read what is given to them.
    pub async fn forget_silent(self: Arc<Self>) {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        loop {
            every.tick().await;
            let silent: Vec<(String, Executor)> = self.executors.lock().extract_if(|_, executor| executor.is_gone()).collect();
            for (id, _) in silent {
                tracing::info!(executor = %id, "an executor has gone silent; its executions are served no more");
                let _ = self.bus.withdraw(Presence::Executor, &id).await;
            }
        }
    }

    fn with<R>(&self, id: &str, run: impl FnOnce(&mut Executor) -> R) -> Result<R, Refusal> {
        let mut executors = self.executors.lock();
        if !executors.contains_key(id) && executors.len() >= EXECUTORS_MAX {
            return Err(Refusal::plain(told::OVERLOADED).retry_after(5));
        }
        let executor = executors.entry(id.to_owned()).or_insert_with(|| {
            let (inbox, outbox) = mpsc::channel(INBOX);
            Executor {
                inbox,
                outbox: Arc::new(tokio::sync::Mutex::new(outbox)),
                newest: watch::channel(0).0,
                serving: HashMap::new(),
                renewed: Instant::now(),
                lost_at: None,
            }
        });
        executor.renewed = Instant::now();
        Ok(run(executor))
    }

    /// Serves exactly these addresses for an executor.
    async fn serve(&self, id: &str, addresses: Vec<Address>) -> Result<(), Refusal> {
        let wanted: HashMap<String, Address> = addresses.into_iter().map(|address| (address.name(), address)).collect();
        let (inbox, missing) = self.with(id, |executor| {
            executor.serving.retain(|name, _| wanted.contains_key(name));
            let missing: Vec<Address> = wanted
                .iter()
                .filter(|(name, _)| !executor.serving.contains_key(*name))
                .map(|(_, address)| address.clone())
                .collect();
            (executor.inbox.clone(), missing)
        })?;
        for address in missing {
            let serving = self.bus.serve(&address, inbox.clone()).await?;
            self.with(id, |executor| executor.serving.insert(address.name(), serving))?;
        }
        Ok(())
    }
}

/// `?executor=<id>`
#[derive(Debug, Deserialize)]
pub struct Which {
    executor: String,
}

/// The name of an executor among those of all tenants, so that none can take another's commands. No tenant holds a colon, and
/// none is empty: what stands before the first colon is the tenant, nothing where there is none. Executors that reach the bus
/// themselves have names of their own choice, and its trust.
fn own_name(caller: &Caller, executor: &str) -> String {
    match caller {
        Caller::Everyone => executor.to_owned(),
        _ => format!("{}:{executor}", caller.tenant().unwrap_or_default()),
    }
}

/// Ends when the token that a stream was opened with has expired or was taken back.
async fn no_longer_admitted(app: App, caller: Caller) {
    let guard = &app.shared.guard;
    let expired = async {
        match caller.time_left() {
            Some(left) => tokio::time::sleep(left).await,
            None => std::future::pending().await,
        }
    };
    let revoked = async {
        let mut changes = guard.revoked().changes();
        while !guard.is_revoked(&caller) {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    tokio::select! {
        () = expired => {}
        () = revoked => {}
    }
}

/// `GET /api/commands?executor=<id>`: commands as they come. The newest stream of an executor is the one that counts.
pub async fn stream(
    State(app): State<App>,
    visitor: Visitor,
    Query(which): Query<Which>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    visitor.runs()?;
    id::check("executor", &which.executor)?;
    let shares = (who::arrive(&app, visitor.address)?, app.shared.bounds.join(&visitor.caller)?);
    let executor = own_name(&visitor.caller, &which.executor);
    let number = app.executors.streams.fetch_add(1, Ordering::Relaxed) + 1;
    let (outbox, newest) = app.executors.with(&executor, |executor| {
        executor.newest.send_replace(number);
        executor.lost_at = None;
        (executor.outbox.clone(), executor.newest.subscribe())
    })?;
    app.executors.serve_own_address(&executor).await?;
    let tenant = visitor.caller.tenant().map(Into::into);
    let listening = Listening { executors: app.executors.clone(), id: executor, tenant, number, _shares: shares };
    let commands = stream::unfold((outbox, newest, listening), move |(outbox, mut newest, listening)| async move {
        let replaced = async {
            let _ = newest.wait_for(|newest| *newest != number).await;
        };
        let next = async { outbox.lock().await.recv().await };
        // Replaced first: a command given to a stream that nobody reads any more would be lost.
        let incoming = tokio::select! {
            biased;
            () = replaced => return None,
            incoming = next => incoming?,
        };
        let event = told(&listening, incoming);
        Some((Ok(event), (outbox, newest, listening)))
    });
    let commands = commands.take_until(no_longer_admitted(app.clone(), visitor.caller));
    Ok(Sse::new(commands).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))))
}

impl Executors {
    async fn serve_own_address(&self, id: &str) -> Result<(), Refusal> {
        let own = Address::Executor(id.to_owned());
        let (inbox, served) = self.with(id, |executor| (executor.inbox.clone(), executor.serving.contains_key(&own.name())))?;
        if !served {
            let serving = self.bus.serve(&own, inbox).await?;
            self.with(id, |executor| executor.serving.insert(own.name(), serving))?;
        }
        Ok(())
    }
}

fn told(Listening { executors, tenant, .. }: &Listening, incoming: Incoming) -> Event {
    let Incoming { command, address, reply } = incoming;
    {
        let mut replies = executors.replies.lock();
        replies.expect(&command.reference, Awaited { tenant: tenant.clone(), reply: Some(reply) });
        executors.awaited.set(replies.by_age.len() as f64);
    }
    let body = json!({
        "ref": command.reference,
        "address": address.name(),
        "kind": command.kind,
        "subject": command.subject,
        "body": command.body,
    });
    Event::default().event("command").data(body.to_string())
}

/// What an executor runs.
#[derive(Debug, Deserialize)]
pub struct Registered {
    #[serde(default)]
    executions: Vec<String>,
    #[serde(default)]
    workflows: Vec<Value>,
}

/// `PUT /api/commands/{executor}`: what this executor runs, in full; renews it for 30 seconds.
pub async fn register(
    State(app): State<App>,
    visitor: Visitor,
    Path(executor): Path<String>,
    Json(registered): Json<Registered>,
) -> Result<StatusCode, Refusal> {
    visitor.runs()?;
    id::check("executor", &executor)?;
    let (name, executor) = (executor.clone(), own_name(&visitor.caller, &executor));
    if registered.executions.len() > EXECUTIONS_MAX {
        return Err(Refusal::new(told::TOO_LARGE, format!("executions: must be at most {EXECUTIONS_MAX}")).field("executions"));
    }
    let mut addresses = vec![Address::Executor(executor.clone())];
    for execution in &registered.executions {
        addresses.push(Address::Execution(visitor.caller.at_home(&Room::execution(execution)?)?));
    }
    app.executors.serve(&executor, addresses).await?;
    let announced = json!({ "id": name, "tenant": visitor.caller.tenant(), "workflows": registered.workflows });
    match app.shared.hub.bus.announce(Presence::Executor, &executor, announced.to_string().into()).await {
        // A bus that keeps nothing lists no workflows, but it carries commands.
        Ok(()) | Err(BusError::NotDurable) => Ok(StatusCode::NO_CONTENT),
        Err(error) => Err(error.into()),
    }
}

/// `POST /api/commands/{ref}/reply`: 404 for a command that is not known here, 409 for one that has its reply.
pub async fn reply(
    State(app): State<App>,
    visitor: Visitor,
    Path(reference): Path<String>,
    Json(reply): Json<Reply>,
) -> Result<StatusCode, Refusal> {
    visitor.runs()?;
    let sender = app.executors.replies.lock().take(&reference, visitor.caller.tenant())?;
    // The sender may have given up; the executor has done its part all the same.
    let _ = sender.send(reply);
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_given_once_and_by_the_tenant_that_was_asked() {
        let mut replies = Replies::default();
        let tenants = [None, Some("-"), Some("acme")];
        for tenant in tenants {
            let reference = format!("of {tenant:?}");
            let (reply, _gone) = oneshot::channel();
            replies.expect(&reference, Awaited { tenant: tenant.map(Into::into), reply: Some(reply) });
            let codes: Vec<_> = tenants
                .iter()
                .filter(|other| **other != tenant)
                .map(|other| replies.take(&reference, *other).err().map(|refusal| refusal.code()))
                .collect();
            assert_eq!(codes, [Some(told::NOT_FOUND); 2], "{tenant:?}: others know of nothing");
            assert!(replies.take(&reference, tenant).is_ok(), "{tenant:?}");
            assert_eq!(replies.take(&reference, tenant).err().map(|refusal| refusal.code()), Some(told::CONFLICT));
        }
    }

    #[test]
    fn what_is_waited_for_is_bounded() {
        let mut replies = Replies::default();
        for n in 0..PENDING_MAX + 10 {
            let (reply, _gone) = oneshot::channel();
            replies.expect(&n.to_string(), Awaited { tenant: None, reply: Some(reply) });
        }
        assert_eq!((replies.by_reference.len(), replies.by_age.len()), (PENDING_MAX, PENDING_MAX));
        assert!(replies.take("0", None).is_err() && replies.take(&PENDING_MAX.to_string(), None).is_ok());
    }
}
