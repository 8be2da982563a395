//! The handle by which rooms, timers and the hub wake a session.

use std::{sync::OnceLock, task::Waker};

/// Wakes one session's task; spurious wakes are harmless, the session looks at what there is.
///
/// The same task polls a session from its beginning to its end, so that its waker is kept once and waking takes no lock.
#[derive(Default)]
pub struct SessionCell {
    waker: OnceLock<Waker>,
}

impl SessionCell {
    /// Wakes the session.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// Says which task to wake; the first word counts.
    pub fn register(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }
}
