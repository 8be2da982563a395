//! What is under way and what was lost, counted for [`crate::Publisher::flush`], `losses` and the metrics.

use crate::{PublishError, meters, pace::LogPace};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};
use tokio::sync::{Notify, watch};

/// Events that this publisher could not keep, by reason. Grows only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Not stored within the retry age.
    pub expired: u64,
    /// Refused for good by the broker or the gateway, or for a wrong owner; those lacking in a further room too.
    pub refused: u64,
    /// Refused at the door because the buffer was full. The caller was told and may have offered them again.
    pub full: u64,
    /// Still unsent when the publisher was closed or its process ended.
    pub abandoned: u64,
}

impl Losses {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.expired + self.refused + self.full + self.abandoned
    }
}

#[derive(Debug)]
pub(crate) struct Ledger {
    pending: AtomicU64,
    idle: Notify,
    losses: watch::Sender<Losses>,
    log_pace: LogPace,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            pending: AtomicU64::new(0),
            idle: Notify::new(),
            losses: watch::channel(Losses::default()).0,
            log_pace: LogPace::default(),
        }
    }

    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    pub(crate) fn losses(&self) -> watch::Receiver<Losses> {
        self.losses.subscribe()
    }

    /// Returns when nothing is under way.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.pending() == 0 {
                return;
            }
            notified.await;
        }
    }

    pub(crate) fn began(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
        meters::enqueued();
    }

    /// An event is through, one way or the other.
    pub(crate) fn ended(&self, enqueued: Instant, kind: &str, failure: Option<&PublishError>) {
        match failure {
            None => meters::stored(enqueued.elapsed()),
            Some(failure) => self.lost(kind, failure),
        }
        meters::ended();
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.idle.notify_waiters();
        }
    }

    /// Counts and reports one event that could not be kept.
    pub(crate) fn lost(&self, kind: &str, failure: &PublishError) {
        let reason = match failure {
            PublishError::Full => "full",
            PublishError::Expired { .. } => "expired",
            PublishError::Closed => "abandoned",
            PublishError::Invalid(_)
            | PublishError::OwnerMismatch
            | PublishError::TooLarge(_)
            | PublishError::Refused(_)
            | PublishError::Incomplete { .. } => "refused",
        };
        meters::lost(reason);
        self.losses.send_modify(|losses| match reason {
            "full" => losses.full += 1,
            "expired" => losses.expired += 1,
            "abandoned" => losses.abandoned += 1,
            _ => losses.refused += 1,
        });
        if self.log_pace.is_due() {
            let so_far = self.losses.borrow().total();
            tracing::error!(kind, %failure, lost_so_far = so_far, "an event could not be published");
        }
    }
}
