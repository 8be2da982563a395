//! Where events go: to gateways by HTTP, or straight to a bus.

use crate::{
    exit::{Exit, Failure},
    gateway::{Answer, Body, Gateways},
};
use bytes::Bytes;
use rand::Rng as _;
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use weft_bus::{Bus, BusSettings, Mode};
use weft_event::Prepared;
use weft_publisher::{HeadConfig, HeadKeeper, StoreEventError, Stored, store_all};

/// The pause after a first failed attempt; doubled up to the last.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Longest pause that a gateway's `Retry-After` can ask for.
const AFTER_MAX: Duration = Duration::from_secs(15);
/// How long the records of executions may take to be written at the end.
const SETTLE: Duration = Duration::from_secs(10);

/// Where events go.
pub enum Target {
    /// `POST /api/events` of any of several gateways.
    Gateways {
        /// The gateways.
        gateways: Gateways,
        /// How long an event is tried.
        patience: Duration,
    },
    /// A bus.
    Bus {
        /// The bus.
        bus: Bus,
        /// Keeps the records of executions.
        heads: HeadKeeper,
        /// Whose rooms the events reach.
        tenant: Option<String>,
        /// How long an event is tried.
        patience: Duration,
    },
}

/// What became of an event.
pub enum Fate {
    /// Every room has it.
    Stored(Stored),
    /// It breaks a rule, and the others may go on.
    Refused(String),
    /// It could not be stored in time, nor can those after it.
    Lost(Failure),
}

impl Target {
    /// Connects to a bus.
    ///
    /// # Errors
    /// A setting that cannot be used, or a broker that is not there.
    pub async fn bus(settings: &BusSettings, tenant: Option<&str>, patience: Duration) -> Result<Self, Failure> {
        if let Some(tenant) = tenant {
            weft_event::id::check_tenant(tenant).map_err(|invalid| Failure::usage(format!("WEFT_TENANT: {}", invalid.rule)))?;
        }
        let config = settings.config("weft").map_err(|error| Failure::usage(error.to_string()))?;
        if config.mode() == Mode::Memory {
            return Err(Failure::usage("WEFT_BUS: memory: is the bus within a gateway; publish through the gateway"));
        }
        let (shown, retention) = (config.url_shown(), settings.retention());
        let connected = timeout(patience, Bus::connect(config)).await;
        let bus = match connected {
            Ok(Ok(bus)) => bus,
            Ok(Err(error)) => return Err(Failure::away(format!("{shown}: {error}"))),
            Err(_) => return Err(Failure::away(format!("{shown}: no answer within {} s", patience.as_secs()))),
        };
        let heads = HeadKeeper::new(bus.clone(), HeadConfig::for_retention(&retention));
        Ok(Self::Bus { bus, heads, tenant: tenant.map(str::to_owned), patience })
    }

    /// Stores events, in order. Each has an id, under which it is tried again.
    ///
    /// # Errors
    /// A setting that cannot be used. What became of each event is in the fates, one for each.
    pub async fn store(&self, events: &[Prepared]) -> Result<Vec<Fate>, Failure> {
        match self {
            Self::Gateways { gateways, patience } => {
                Post { gateways, deadline: Instant::now() + *patience, pause: PAUSE_MIN, at: 0 }.all(events).await
            }
            Self::Bus { bus, heads, tenant, patience } => Ok(over_bus(bus, heads, tenant.as_deref(), *patience, events).await),
        }
    }

    /// Waits for what is under way: the records of executions, which lists and late clients read.
    ///
    /// # Errors
    /// Some were not written.
    pub async fn close(self) -> Result<(), Failure> {
        let Self::Bus { bus, heads, .. } = self else { return Ok(()) };
        let unfinished = heads.settle(SETTLE).await;
        bus.close().await;
        match unfinished {
            0 => Ok(()),
            n => Err(Failure::away(format!("all events are stored, but the records of {n} executions are behind"))),
        }
    }
}

async fn over_bus(bus: &Bus, heads: &HeadKeeper, tenant: Option<&str>, patience: Duration, events: &[Prepared]) -> Vec<Fate> {
    let deadline = Instant::now() + patience;
    let mut fates: Vec<Option<Fate>> = events.iter().map(|_| None).collect();
    let mut pause = PAUSE_MIN;
    loop {
        // Those that are left, in their order: after a failure the room's later events were held back.
        let left: Vec<usize> = (0..events.len()).filter(|at| fates[*at].is_none()).collect();
        if left.is_empty() {
            return fates.into_iter().flatten().collect();
        }
        let batch = left.iter().map(|at| events[*at].clone()).collect();
        let stored = store_all(bus, heads, tenant, batch).await;
        let is_late = Instant::now() >= deadline;
        for (at, result) in left.into_iter().zip(stored) {
            fates[at] = match result {
                Ok(stored) => Some(Fate::Stored(stored)),
                Err(error) if error.is_retryable() && !is_late => None,
                Err(error) => Some(fate_of(&error)),
            };
        }
        if fates.iter().any(Option::is_none) {
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn fate_of(error: &StoreEventError) -> Fate {
    match error {
        StoreEventError::Invalid(_) | StoreEventError::OwnerMismatch => Fate::Refused(error.to_string()),
        StoreEventError::Bus(weft_bus::PublishError::TooLarge(_)) => Fate::Refused(error.to_string()),
        error if error.is_retryable() => Fate::Lost(Failure::away(format!("not stored in time: {error}"))),
        error => Fate::Lost(Failure::new(Exit::Refused, format!("not stored: {error}"))),
    }
}

/// One batch on its way to a gateway.
struct Post<'a> {
    gateways: &'a Gateways,
    deadline: Instant,
    pause: Duration,
    /// Which gateway, round and round.
    at: usize,
}

/// What a request has come to.
enum Outcome {
    /// All are stored.
    All,
    /// The event at this place is refused; what became of the others is unknown, and they are sent again.
    One(usize, String),
    /// Too much at once.
    TooLarge(String),
    /// To be tried again.
    Again { reason: String, after: Option<Duration> },
    /// No use to try again.
    Never(Failure),
}

impl Post<'_> {
    async fn all(mut self, events: &[Prepared]) -> Result<Vec<Fate>, Failure> {
        let mut fates: Vec<Option<Fate>> = events.iter().map(|_| None).collect();
        let mut size = events.len();
        loop {
            let left: Vec<usize> = (0..events.len()).filter(|at| fates[*at].is_none()).take(size.max(1)).collect();
            if left.is_empty() {
                return Ok(fates.into_iter().flatten().collect());
            }
            match self.once(&left, events).await? {
                Outcome::All => left.iter().for_each(|at| fates[*at] = Some(Fate::Stored(stored(&events[*at])))),
                Outcome::One(index, reason) => fates[left[index]] = Some(Fate::Refused(reason)),
                Outcome::TooLarge(reason) if left.len() == 1 => fates[left[0]] = Some(Fate::Refused(reason)),
                Outcome::TooLarge(_) => size = left.len() / 2,
                Outcome::Never(failure) => lose(&mut fates, &failure),
                Outcome::Again { reason, .. } if Instant::now() >= self.deadline => lose(&mut fates, &Failure::away(reason)),
                Outcome::Again { after, .. } => {
                    self.at += 1;
                    sleep(after.map_or_else(|| jittered(self.pause), |after| after.min(AFTER_MAX))).await;
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn once(&self, left: &[usize], events: &[Prepared]) -> Result<Outcome, Failure> {
        let mut body = Vec::with_capacity(left.iter().map(|at| events[*at].body.len() + 1).sum());
        for at in left {
            body.extend_from_slice(&events[*at].body);
            body.push(b'\n');
        }
        let body = Body::Lines(Bytes::from(body));
        Ok(match self.gateways.once(self.at, &Method::POST, &["events"], &[], &body).await? {
            Ok(answer) => outcome(&answer, left.len()),
            Err(no_answer) => Outcome::Again { reason: no_answer.reason, after: None },
        })
    }
}

fn outcome(answer: &Answer, sent: usize) -> Outcome {
    let body: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    let (code, message) = answer.refusal();
    let again = |reason: String| Outcome::Again { reason, after: answer.after };
    match answer.status.as_u16() {
        // An acceptance of fewer events than were sent is none: the ids make sending all again harmless.
        202 if body["accepted"].as_u64() == Some(sent as u64) => Outcome::All,
        202 => again("the gateway has accepted fewer events than it was sent".into()),
        400 | 409 => match body["error"]["index"].as_u64().and_then(|index| usize::try_from(index).ok()) {
            Some(index) if index < sent => Outcome::One(index, message),
            _ if sent == 1 => Outcome::One(0, message),
            _ => Outcome::Never(Failure::told(&code, &message)),
        },
        413 => Outcome::TooLarge(message),
        401 => Outcome::Never(Failure::told("unauthenticated", &message)),
        403 => Outcome::Never(Failure::told("forbidden", &message)),
        408 | 425 | 429 | 500.. => again(if code.is_empty() { message } else { format!("{code}: {message}") }),
        _ => Outcome::Never(Failure::told(&code, &message)),
    }
}

/// Over HTTP nobody tells the position, but an accepted event is in all of its rooms.
fn stored(event: &Prepared) -> Stored {
    // The rooms of a valid event are valid.
    let rooms = event.rooms(None).unwrap_or_default();
    Stored {
        id: event.id.as_deref().unwrap_or_default().to_owned(),
        positions: rooms.into_iter().map(|room| (room, None)).collect(),
        duplicate: false,
    }
}

fn lose(fates: &mut [Option<Fate>], failure: &Failure) {
    fates.iter_mut().filter(|fate| fate.is_none()).for_each(|fate| *fate = Some(Fate::Lost(failure.clone())));
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}
