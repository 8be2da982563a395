//! Watching the connections: pings, the canary, and restoring the live path after a loss.

use super::{connection::bus_error, live::Live};
use crate::{BusError, Health, Signal, meters};
use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientInterface, ClientLike, ClusterInterface, EventInterface, PubsubInterface},
    types::{ClusterStateChange, Message, config::Server},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::broadcast,
    time::{MissedTickBehavior, interval},
};

/// Between two pings on each connection. Without them a stopped server is not noticed on an idle subscription.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// A canary flies every so many pings.
const CANARY_PINGS: u64 = 2;

/// Registrations of served addresses are renewed, and slots that moved looked for, every so many pings.
const RENEWAL_PINGS: u64 = 5;

/// Canaries lost in a row before the subscriber connection is thrown away.
const CANARIES_MAX: u32 = 2;

/// Checks failed in a row before it is thrown away; the crate reconnects by itself where it sees a connection end.
const FAILURES_MAX: u32 = 10;

/// What the subscriber connection reports.
pub(super) struct Events {
    messages: Option<broadcast::Receiver<Message>>,
    reconnects: broadcast::Receiver<Server>,
    errors: broadcast::Receiver<(Error, Option<Server>)>,
    changes: broadcast::Receiver<Vec<ClusterStateChange>>,
}

impl Events {
    pub(super) fn of(subscriber: &Client) -> Self {
        Self {
            messages: Some(subscriber.message_rx()),
            reconnects: subscriber.reconnect_rx(),
            errors: subscriber.error_rx(),
            changes: subscriber.cluster_change_rx(),
        }
    }

    /// The messages, for the reader task.
    pub(super) fn take_messages(&mut self) -> broadcast::Receiver<Message> {
        self.messages.take().unwrap_or_else(|| broadcast::channel(1).1)
    }

    /// Forgets what has been reported so far.
    pub(super) fn forget(&mut self) {
        self.reconnects = self.reconnects.resubscribe();
        self.errors = self.errors.resubscribe();
        self.changes = self.changes.resubscribe();
    }
}

async fn release_canary(live: &Live) -> Result<u64, BusError> {
    let number = live.canary.release();
    let channel = live.link.names.canary(&live.link.process);
    let published: Result<i64, Error> = live.link.data.publish(channel, number.to_string()).await;
    published.map(|_| number).map_err(|error| bus_error(&error))
}

/// Subscribes to everything, and proves that it works.
pub(super) async fn restore(live: &Live) -> Result<(), BusError> {
    live.subscribe_all().await?;
    let number = release_canary(live).await?;
    if !live.canary.returns(number).await {
        return Err(BusError::Unavailable("the canary did not come back".into()));
    }
    live.commands.renew(&live.link).await;
    if !live.link.is_cluster()
        && let Err(error) = live.link.data.client_setname(live.link.client_name.as_str()).await
    {
        // For the operator's eyes only; the right to it may be missing.
        tracing::debug!(%error, "the connection has no name");
    }
    Ok(())
}

/// Runs for the life of the bus.
pub(super) async fn supervise(live: Arc<Live>, mut events: Events) {
    let slots = live.slots();
    let mut watch = Watch { live, failures: 0, canaries_lost: 0, slots };
    let mut ticks = interval(PING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pings: u64 = 0;
    let cancel = watch.live.link.cancel.clone();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            reconnect = events.reconnects.recv() => match reconnect {
                Err(broadcast::error::RecvError::Closed) => return,
                _ => watch.lost("reconnected"),
            },
            change = events.changes.recv() => match change {
                Err(broadcast::error::RecvError::Closed) => return,
                _ => watch.check_slots(),
            },
            error = events.errors.recv() => match error {
                Err(broadcast::error::RecvError::Closed) => return,
                Ok((error, _)) => tracing::debug!(%error, "the subscriber connection reports an error"),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
            },
            _ = ticks.tick() => {
                pings += 1;
                if pings.is_multiple_of(CANARY_PINGS) {
                    watch.fly_canary().await;
                }
                if pings.is_multiple_of(RENEWAL_PINGS) && watch.live.is_up() {
                    watch.live.commands.renew(&watch.live.link).await;
                    watch.look_for_moves().await;
                }
            }
        }
        if !watch.live.is_up() {
            // What was reported before the restoration begins is no reason to lose it again.
            events.forget();
        }
        watch.check().await;
    }
}

struct Watch {
    live: Arc<Live>,
    failures: u32,
    canaries_lost: u32,
    /// Which node owns which slots, as of the last restoration.
    slots: u64,
}

impl Watch {
    /// Asks a cluster who owns what: a connection that only subscribes is never told.
    async fn look_for_moves(&self) {
        if self.live.link.is_cluster()
            && let Err(error) = self.live.subscriber.sync_cluster().await
        {
            tracing::debug!(%error, "the cluster does not tell its slots");
        }
    }

    /// A slot that moved took its sharded subscriptions with it, and the crate does not say so.
    fn check_slots(&self) {
        if self.live.slots() != self.slots {
            self.lost("slots have moved");
        }
    }

    fn lost(&self, reason: &str) {
        if self.live.is_up() {
            tracing::warn!(reason, "Redis is away");
            self.live.health.send_replace(Health::Down);
            meters::up(false);
            self.live.signal(Signal::Lost);
        }
    }

    /// Pings both connections; restores the live path if it was lost and both answer.
    async fn check(&mut self) {
        let data: Result<(), _> = self.live.link.data.ping(None).await;
        let result = match data.map_err(|error| bus_error(&error)) {
            Ok(()) => self.live.barrier().await,
            Err(error) => Err(error),
        };
        let result = match result {
            Ok(()) if self.live.is_up() => Ok(()),
            Ok(()) => {
                self.slots = self.live.slots();
                restore(&self.live).await.map(|()| self.restored())
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.lost(&error.to_string());
                self.failures += 1;
                if self.failures.is_multiple_of(FAILURES_MAX) {
                    self.reconnect().await;
                }
            }
        }
    }

    fn restored(&mut self) {
        self.canaries_lost = 0;
        tracing::info!("Redis is back");
        meters::reconnected();
        meters::up(true);
        self.live.health.send_replace(Health::Up);
        self.live.signal(Signal::Restored);
    }

    async fn fly_canary(&mut self) {
        if !self.live.is_up() {
            return;
        }
        self.canaries_lost = if self.live.canary.is_home() { 0 } else { self.canaries_lost + 1 };
        if self.canaries_lost >= CANARIES_MAX {
            meters::dropped("canary", 1);
            self.lost("canaries do not come back");
            self.reconnect().await;
        } else if let Err(error) = release_canary(&self.live).await {
            tracing::debug!(%error, "no canary");
        }
    }

    async fn reconnect(&self) {
        let forced: Result<(), _> = self.live.subscriber.force_reconnection().await;
        if let Err(error) = forced {
            tracing::debug!(%error, "could not force a reconnect");
        }
    }
}
