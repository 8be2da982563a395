//! WebSockets that this process only passes through, to gateways that hold their sessions. They are nobody's session here, and
//! leave with those who heed no hint.

use super::{Heeds, Hub};
use crate::metrics::Shown;
use std::sync::{Arc, atomic::Ordering};

/// A WebSocket between a client and the gateway that holds its session, for as long as this is held.
pub struct Passage {
    hub: Arc<Hub>,
    _shown: Shown,
}

impl Hub {
    /// A WebSocket is passed through.
    pub fn passage(self: &Arc<Self>) -> Passage {
        self.passages.fetch_add(1, Ordering::Relaxed);
        Passage { hub: self.clone(), _shown: Shown::on(&self.metrics.passages) }
    }

    /// How many there are.
    pub fn passage_count(&self) -> usize {
        self.passages.load(Ordering::Relaxed)
    }
}

impl Passage {
    /// When it is to end, once the process is leaving: it draws like any connection that heeds no hint.
    pub async fn ends(&self) {
        self.hub.leaving.cancelled().await;
        let Some(departure) = self.hub.departure(Heeds::Nothing) else { return };
        tokio::select! {
            // Not by a clock of its own: sessions that drew the same second go with it, and no others.
            () = self.hub.wheel.reach(departure.at) => {}
            () = self.hub.closing.cancelled() => {}
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.hub.passages.fetch_sub(1, Ordering::Relaxed);
    }
}
