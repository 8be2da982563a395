//! Whether a room can be read yet, and who waits for that. Smaller than a channel, for every room has one.

use parking_lot::Mutex;
use tokio::sync::Notify;
use weft_bus::BusError;

/// How the opening of a room has ended, once it has.
#[derive(Default)]
pub(super) struct Opening {
    ended: Mutex<Option<Result<(), BusError>>>,
    has_ended: Notify,
}

impl Opening {
    /// The bus has confirmed that every event from here on will be in the log, or the broker has refused, and will again.
    pub(super) fn end(&self, ended: Result<(), BusError>) {
        *self.ended.lock() = Some(ended);
        self.has_ended.notify_waiters();
    }

    /// Whether it has ended well.
    pub(super) fn is_done(&self) -> bool {
        matches!(*self.ended.lock(), Some(Ok(())))
    }

    /// Waits for its end.
    pub(super) async fn wait(&self) -> Result<(), BusError> {
        let mut ends = std::pin::pin!(self.has_ended.notified());
        // Before looking, so that an end between the look and the wait is not missed.
        ends.as_mut().enable();
        if let Some(ended) = self.ended.lock().clone() {
            return ended;
        }
        ends.await;
        // Only ever replaced, never taken back.
        self.ended.lock().clone().unwrap_or(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn all_who_wait_hear_of_the_end_and_whoever_comes_later_sees_it() {
        for end in [Ok(()), Err(BusError::NotDurable)] {
            let opening = Arc::new(Opening::default());
            let waiting: Vec<_> =
                (0..3).map(|_| opening.clone()).map(|one| tokio::spawn(async move { one.wait().await })).collect();
            tokio::task::yield_now().await;
            assert!(!opening.is_done() && waiting.iter().all(|one| !one.is_finished()));
            opening.end(end.clone());
            for one in waiting {
                assert_eq!(one.await.expect("no panic"), end);
            }
            assert_eq!((opening.wait().await, opening.is_done()), (end.clone(), end.is_ok()));
        }
    }
}
