//! What this gateway tells the fleet of itself.

use crate::hub::Hub;
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use weft_bus::{PRESENCE_LIFETIME, Presence};

/// Announces this gateway until `token` is cancelled.
pub async fn announce(hub: Arc<Hub>, instance: String, address: String, token: CancellationToken) {
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
