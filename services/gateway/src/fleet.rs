//! What this gateway tells the fleet of itself, and knows of the others.

use crate::hub::Hub;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use weft_bus::{Bus, PRESENCE_LIFETIME, Presence};

/// What others are told of this gateway.
pub struct Own {
    /// Its name.
    pub instance: String,
    /// Where clients reach it.
    pub address: String,
    /// Where gateways reach it.
    pub peer: Option<SocketAddr>,
}

/// Announces this gateway until `token` is cancelled.
pub async fn announce(hub: Arc<Hub>, own: Own, token: CancellationToken) {
    let Own { instance, address, peer } = own;
    let started = weft_bus::heads::rfc3339(crate::feed::heads::now_ms());
    let mut every = tokio::time::interval(PRESENCE_LIFETIME / 3);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = (Instant::now(), hub.metrics.done.counts());
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = token.cancelled() => break,
        }
        let [events, deliveries] = rates(&mut last, hub.metrics.done.counts());
        let value = json!({
            "id": instance,
            "address": address,
            "peer": peer,
            "version": env!("CARGO_PKG_VERSION"),
            "startedAt": started,
            "connections": hub.session_count(),
            "rooms": hub.room_count(),
            "eventsPerSecond": events,
            "deliveriesPerSecond": deliveries,
            "draining": hub.is_draining(),
        });
        if let Err(error) = hub.bus.announce(Presence::Gateway, &instance, value.to_string().into()).await {
            tracing::debug!(%error, "this gateway could not be announced; trying again");
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), hub.bus.withdraw(Presence::Gateway, &instance)).await;
}

/// How much a second since the last look, to a tenth.
fn rates(last: &mut (Instant, [u64; 2]), now: [u64; 2]) -> [f64; 2] {
    let (at, before) = std::mem::replace(last, (Instant::now(), now));
    let seconds = at.elapsed().as_secs_f64().max(0.001);
    [0, 1].map(|index| ((now[index] - before[index]) as f64 / seconds * 10.0).round() / 10.0)
}

/// How long what the bus has said of the fleet is relied on.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// Between two questions for a gateway that is not known: it may have just come.
const ASKED_AGAIN: Duration = Duration::from_millis(200);
/// Requests that are passed on at once, and WebSockets; each costs two descriptors. Past this a client that polls begins
/// anew, and one that would upgrade goes on polling.
const PASSED_ON_MAX: usize = 8192;

/// The other gateways, from their announcements on the bus: nobody else is passed anything.
pub struct Peers {
    bus: Bus,
    known: Mutex<Known>,
    /// One question at a time; who waits for it may find its answer.
    asking: tokio::sync::Mutex<()>,
    /// One for each request that is passed on.
    pub permits: Arc<Semaphore>,
}

#[derive(Default)]
struct Known {
    addresses: FxHashMap<String, SocketAddr>,
    /// When the last question that was answered began, or one that failed ended.
    asked: Option<Instant>,
    /// Who was not among them, and when that was asked.
    missing: FxHashMap<String, Instant>,
}

/// Most gateways that are remembered as missing; they are forgotten together.
const MISSING_MAX: usize = 1024;

impl Known {
    /// What is known of a gateway and need not be asked again.
    fn of(&self, instance: &str) -> Option<Option<SocketAddr>> {
        let is_within = |asked: Option<Instant>, time| asked.is_some_and(|asked| asked.elapsed() < time);
        match self.addresses.get(instance) {
            Some(address) => is_within(self.asked, KNOWN_FOR).then_some(Some(*address)),
            None => is_within(self.missing.get(instance).copied(), ASKED_AGAIN).then_some(None),
        }
    }

    fn miss(&mut self, instance: &str) {
        if self.missing.len() >= MISSING_MAX {
            self.missing.clear();
        }
        self.missing.insert(instance.to_owned(), Instant::now());
    }
}

impl Peers {
    /// Nobody is known so far.
    #[must_use]
    pub fn new(bus: Bus) -> Self {
        Self { bus, known: Mutex::default(), asking: Default::default(), permits: Arc::new(Semaphore::new(PASSED_ON_MAX)) }
    }

    /// Where the gateway of this name is reached by others; `None` if it is not alive, or not to be reached.
    pub async fn address_of(&self, instance: &str) -> Option<SocketAddr> {
        let came = Instant::now();
        if let Some(known) = self.known.lock().of(instance) {
            return known;
        }
        let _one = self.asking.lock().await;
        // Others may have asked meanwhile; only a question that began after this gateway announced itself can know it.
        if self.known.lock().asked.is_none_or(|asked| asked < came) {
            self.ask().await;
        }
        let mut known = self.known.lock();
        let address = known.addresses.get(instance).copied();
        if address.is_none() {
            known.miss(instance);
        }
        address
    }

    async fn ask(&self) {
        #[derive(Deserialize)]
        struct Announced {
            peer: Option<SocketAddr>,
        }
        let began = Instant::now();
        match self.bus.present(Presence::Gateway).await {
            Ok(present) => {
                let address = |(instance, value): (String, bytes::Bytes)| {
                    let announced: Announced = serde_json::from_slice(&value).ok()?;
                    Some((instance, announced.peer?))
                };
                let addresses = present.into_iter().filter_map(address).collect();
                *self.known.lock() = Known { addresses, asked: Some(began), missing: FxHashMap::default() };
            }
            // While the broker is away the fleet is what it was, for all who have waited to hear this.
            Err(error) => {
                self.known.lock().asked = Some(Instant::now());
                tracing::debug!(%error, "the fleet could not be looked up");
            }
        }
    }
}
