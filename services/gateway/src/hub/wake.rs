//! The handle by which rooms, timers and the hub wake a session.

use futures_util::task::AtomicWaker;
use std::task::Waker;

/// Wakes one session's task; spurious wakes are harmless, the session looks at what there is.
#[derive(Default)]
pub struct SessionCell {
    waker: AtomicWaker,
}

impl SessionCell {
    /// Wakes the session.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Says which task to wake from now on.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}
