//! What this gateway tells the fleet of itself.

use crate::hub::Hub;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use weft_bus::{PRESENCE_LIFETIME, Presence};

/// Announces this gateway until `token` is cancelled.
pub async fn announce(hub: Arc<Hub>, instance: String, address: String, token: CancellationToken) {
    let started = weft_bus::heads::rfc3339(crate::feed::heads::now_ms());
    let mut every = tokio::time::interval(PRESENCE_LIFETIME / 3);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = token.cancelled() => break,
        }
        let value = json!({
            "id": instance,
            "address": address,
            "version": env!("CARGO_PKG_VERSION"),
            "startedAt": started,
            "connections": hub.session_count(),
            "rooms": hub.room_count(),
            "draining": hub.is_draining(),
        });
        if let Err(error) = hub.bus.announce(Presence::Gateway, &instance, value.to_string().into()).await {
            tracing::debug!(%error, "this gateway could not be announced; trying again");
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), hub.bus.withdraw(Presence::Gateway, &instance)).await;
}
