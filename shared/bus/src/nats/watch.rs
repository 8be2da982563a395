//! Watching the connections, the stream and the live path.

use super::{Link, connection::Report, live::Live, stream};
use crate::{BusError, Health, Signal, meters};
use async_nats::Event;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

/// Between two rounds of barriers on both connections.
const ROUND: Duration = Duration::from_secs(1);

/// A canary flies every so many rounds.
const CANARY_ROUNDS: u64 = 2;

/// The stream's identity and leader are asked for every so many rounds.
const IDENTITY_ROUNDS: u64 = 4;

/// Canaries lost in a row before the live connection is thrown away.
const CANARIES_MAX: u32 = 2;

/// Rounds failed in a row before both connections are thrown away.
const FAILURES_MAX: u32 = 5;

/// Proves that the live path works; in JetStream mode the streams too.
pub(super) async fn restore(live: &Live) -> Result<(), BusError> {
    let link = &live.link;
    if link.mode.is_durable() {
        stream::ensure_all(link).await.map_err(|error| BusError::Unavailable(error.to_string()))?;
        stream::refresh(link).await?;
    }
    link.live.barrier().await.map_err(BusError::Unavailable)?;
    let number = release_canary(live).await?;
    if live.canary.returns(number).await {
        Ok(())
    } else {
        Err(BusError::Unavailable("what is published on the live subjects does not come back".into()))
    }
}

async fn release_canary(live: &Live) -> Result<u64, BusError> {
    let link = &live.link;
    let number = live.canary.release();
    let subject = link.names.canary(&link.process);
    let sent = link.data.client.publish(subject, number.to_string().into()).await;
    sent.map(|()| number).map_err(|error| BusError::Unavailable(error.to_string()))
}

/// Runs for the life of the bus.
pub(super) async fn supervise(live: Arc<Live>, mut reports: mpsc::Receiver<Report>) {
    let link = live.link.clone();
    let mut watch = Watch { live, failures: 0, canaries_lost: 0, has_begun: false };
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count: u64 = 0;
    loop {
        tokio::select! {
            () = link.cancel.cancelled() => return,
            report = reports.recv() => match report {
                Some(report) => watch.heard(report),
                None => return,
            },
            () = link.changed.notified() => {
                // Another history or another leader: what the old one stored last may never have been repeated.
                if link.is_up() {
                    watch.live.signal(Signal::Restored);
                }
                continue;
            }
            () = link.suspect.notified() => watch.check_stream().await,
            _ = rounds.tick() => {
                count += 1;
                if count.is_multiple_of(CANARY_ROUNDS) {
                    watch.fly_canary().await;
                }
                if count.is_multiple_of(IDENTITY_ROUNDS) {
                    watch.check_stream().await;
                }
            }
        }
        watch.check(&mut reports).await;
    }
}

struct Watch {
    live: Arc<Live>,
    failures: u32,
    canaries_lost: u32,
    has_begun: bool,
}

impl Watch {
    fn link(&self) -> &Arc<Link> {
        &self.live.link
    }

    fn heard(&mut self, report: Report) {
        match report.event {
            // The first one tells of the connection that the bus began with.
            Event::Connected if report.is_live && self.has_begun => self.lost("reconnected"),
            Event::Connected => self.has_begun |= report.is_live,
            Event::Disconnected | Event::Closed => self.lost("disconnected"),
            Event::LameDuckMode => leave_lame_duck(self.link(), report.is_live),
            Event::SlowConsumer(_) => tracing::warn!("replies came faster than they were taken"),
            Event::ServerError(error) => tracing::warn!(%error, "NATS reports an error"),
            Event::ClientError(error) => tracing::warn!(%error, "the NATS connection reports an error"),
            Event::Draining => {}
        }
    }

    fn lost(&self, reason: &str) {
        if self.link().is_up() {
            tracing::warn!(reason, "NATS is away");
            self.link().health.send_replace(Health::Down);
            meters::up(false);
            self.live.signal(Signal::Lost);
        }
    }

    async fn check_stream(&self) {
        if self.link().mode.is_durable()
            && self.link().is_up()
            && let Err(error) = stream::refresh(self.link()).await
        {
            // Nothing is stored, so nothing is repeated: the live path is as good as gone.
            self.lost(&error.to_string());
        }
    }

    /// A barrier on both connections; restores the live path if it was lost and both answer.
    async fn check(&mut self, reports: &mut mpsc::Receiver<Report>) {
        let link = self.link().clone();
        if !link.is_up() {
            // What was reported before the restoration begins is no reason to lose it again.
            while let Ok(report) = reports.try_recv() {
                self.heard(report);
            }
        }
        let both = async {
            link.data.barrier(link.void()).await?;
            link.live.barrier().await
        };
        let result = match both.await.map_err(BusError::Unavailable) {
            Ok(()) if link.is_up() => Ok(()),
            Ok(()) => restore(&self.live).await.map(|()| self.restored()),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.lost(&error.to_string());
                self.failures += 1;
                tracing::debug!(%error, failures = self.failures, "NATS does not answer");
                if self.failures.is_multiple_of(FAILURES_MAX) {
                    if link.live.is_connected() {
                        link.live.reconnect();
                    }
                    if link.data.is_connected() {
                        force_reconnect(&link.data.client).await;
                    }
                }
            }
        }
    }

    fn restored(&mut self) {
        self.canaries_lost = 0;
        tracing::info!("NATS is back");
        meters::reconnected();
        meters::up(true);
        self.link().health.send_replace(Health::Up);
        self.live.signal(Signal::Restored);
    }

    async fn fly_canary(&mut self) {
        if !self.link().is_up() {
            return;
        }
        self.canaries_lost = if self.live.canary.is_home() { 0 } else { self.canaries_lost + 1 };
        if self.canaries_lost >= CANARIES_MAX {
            meters::dropped("canary", 1);
            self.lost("canaries do not come back");
            self.link().live.reconnect();
        } else if let Err(error) = release_canary(&self.live).await {
            tracing::debug!(%error, "no canary");
        }
    }
}

async fn force_reconnect(client: &async_nats::Client) {
    if let Err(error) = client.force_reconnect().await {
        tracing::debug!(%error, "could not force a reconnect");
    }
}

/// A server that is about to leave closes its connections at a moment of its own; leaves before, and not with
/// everybody else at once.
fn leave_lame_duck(link: &Arc<Link>, is_live: bool) {
    let link = link.clone();
    let jitter = Duration::from_millis(rand::random_range(0..5_000));
    tokio::spawn(async move {
        tokio::select! {
            () = link.cancel.cancelled() => return,
            () = sleep(jitter) => {}
        }
        if is_live { link.live.reconnect() } else { force_reconnect(&link.data.client).await }
    });
}
