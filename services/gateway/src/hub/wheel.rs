//! One coarse timer for all sessions: pings, deadlines, staggered closes. A second is precise enough for them, and
//! a timer of their own would cost each session hundreds of bytes and nanoseconds.

use super::SessionCell;
use parking_lot::Mutex;
use std::{
    future::poll_fn,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

/// One turn of the wheel in seconds; longer waits are cut into several.
const SLOTS: u32 = 64;

/// Wakes sessions when their second has come.
pub struct Wheel {
    now: AtomicU32,
    slots: Vec<Mutex<Vec<Weak<SessionCell>>>>,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { now: AtomicU32::new(1), slots: (0..SLOTS).map(|_| Mutex::default()).collect() }
    }
}

impl Wheel {
    /// Seconds since the process began, as this wheel counts them.
    pub fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Wakes `cell` at second `at` or before; it looks itself whether its time has come.
    pub fn wake_at(&self, at: u32, cell: &Arc<SessionCell>) {
        let wait = at.saturating_sub(self.now()).clamp(1, SLOTS - 1);
        let slot = (self.now() + wait) % SLOTS;
        self.slots[slot as usize].lock().push(Arc::downgrade(cell));
    }

    /// Waits for second `at`.
    pub async fn reach(&self, at: u32) {
        let cell = Arc::new(SessionCell::default());
        poll_fn(|context| {
            cell.register(context.waker());
            if self.now() >= at {
                return Poll::Ready(());
            }
            self.wake_at(at, &cell);
            Poll::Pending
        })
        .await;
    }

    /// One second has passed.
    fn tick(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        let due = std::mem::take(&mut *self.slots[(now % SLOTS) as usize].lock());
        for cell in due.iter().filter_map(Weak::upgrade) {
            cell.wake();
        }
    }

    /// Turns the wheel for as long as the process lives.
    pub async fn turn(&self) {
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            seconds.tick().await;
            self.tick();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::{ArcWake, waker};
    use std::sync::atomic::AtomicUsize;

    struct Count(AtomicUsize);
    impl ArcWake for Count {
        fn wake_by_ref(of: &Arc<Self>) {
            of.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_cell_is_woken_in_its_second_and_not_before() {
        let (wheel, cell, count) = (Wheel::default(), Arc::new(SessionCell::default()), Arc::new(Count(AtomicUsize::new(0))));
        cell.register(&waker(count.clone()));
        wheel.wake_at(wheel.now() + 3, &cell);
        wheel.tick();
        wheel.tick();
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        wheel.tick();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_second_is_reached_when_it_has_come_however_far_it_is() {
        let wheel = Wheel::default();
        let at = wheel.now() + 2 * SLOTS + 5;
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let mut reached = std::pin::pin!(wheel.reach(at));
        let mut is_reached = || reached.as_mut().poll(&mut std::task::Context::from_waker(&waker(count.clone()))).is_ready();
        let mut woken = 0;
        while !is_reached() {
            assert!(wheel.now() < at);
            while count.0.load(Ordering::Relaxed) == woken {
                wheel.tick();
            }
            woken = count.0.load(Ordering::Relaxed);
        }
        assert_eq!((wheel.now(), woken), (at, 3), "a long wait is cut into several");
    }
}
