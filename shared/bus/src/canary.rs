//! A number published to a private subject or channel and expected back on the subscription: measures the path from
//! end to end, and finds a subscription that has silently died.

use crate::meters;
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::{sync::watch, time::timeout};

/// A canary that is not back after this long is lost.
const TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Canary {
    sent: Mutex<(u64, Instant)>,
    heard: watch::Sender<u64>,
}

impl Default for Canary {
    fn default() -> Self {
        Self { sent: Mutex::new((0, Instant::now())), heard: watch::channel(0).0 }
    }
}

impl Canary {
    /// The number to publish now.
    pub(crate) fn release(&self) -> u64 {
        let mut sent = self.sent.lock();
        *sent = (sent.0 + 1, Instant::now());
        sent.0
    }

    /// One came back.
    pub(crate) fn heard(&self, payload: &[u8]) {
        let Some(number) = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok()) else { return };
        let (last, at) = *self.sent.lock();
        if number == last {
            meters::probed(at.elapsed());
        }
        self.heard.send_if_modified(|heard| {
            let is_newer = number > *heard;
            *heard = (*heard).max(number);
            is_newer
        });
    }

    /// Whether the last one came back.
    pub(crate) fn is_home(&self) -> bool {
        *self.heard.borrow() >= self.sent.lock().0
    }

    /// Waits for one that was published; false if it does not come back.
    pub(crate) async fn returns(&self, number: u64) -> bool {
        let mut heard = self.heard.subscribe();
        matches!(timeout(TIMEOUT, heard.wait_for(|last| *last >= number)).await, Ok(Ok(_)))
    }
}
