//! Moving one head forward: gathered, tried again, given up for a while.

use super::{Execution, Keeper, now_ms};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use weft_bus::{BusError, heads};

/// After so long without success an advance is given up until the next event of its room asks again.
const GIVE_UP: Duration = Duration::from_secs(60);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Counts a task as long as it lives.
pub(super) struct Working(pub(super) Arc<Keeper>);

impl Drop for Working {
    fn drop(&mut self) {
        if self.0.working.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.settled.notify_waiters();
        }
    }
}

/// Moves one head forward until nothing more is wanted.
pub(super) async fn advance(working: Working, execution: Arc<Execution>) {
    let keeper = &working.0;
    let (mut retry, mut failing_since) = (RETRY_MIN, None::<Instant>);
    loop {
        let pause = if failing_since.is_some() { retry } else { keeper.config.debounce };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // A failing bus is not asked more often because more is wanted of it.
            () = execution.urgent.notified(), if failing_since.is_none() => {}
        }
        let Ok(_permit) = keeper.permits.acquire().await else { return };
        let (events, bytes) = {
            let mut duty = execution.duty.lock();
            duty.wanted = false;
            (duty.events, duty.bytes)
        };
        match heads::advance(&keeper.bus, &execution.room, &keeper.config.limits, now_ms()).await {
            Ok(head) => {
                crate::meters::head_advanced("moved");
                failing_since = None;
                if head.is_none() {
                    // It has expired or was lost; the next event makes it again.
                    keeper.forget(&execution.room);
                }
                if has_caught_up(&execution, events, bytes) {
                    return;
                }
            }
            Err(error) => {
                keeper.failed(&execution.room, &error);
                retry = if failing_since.is_some() { (retry * 2).min(RETRY_MAX) } else { RETRY_MIN };
                let since = *failing_since.get_or_insert_with(Instant::now);
                if has_given_up(&execution, since, &error) {
                    return;
                }
            }
        }
    }
}

/// Notes an advance over what was stored before it began; whether nothing more is wanted.
fn has_caught_up(execution: &Execution, events: u64, bytes: u64) -> bool {
    let mut duty = execution.duty.lock();
    duty.events -= events;
    duty.bytes -= bytes;
    duty.tasked = duty.wanted;
    execution.failing.store(false, Ordering::Relaxed);
    execution.moved.notify_waiters();
    !duty.tasked
}

fn has_given_up(execution: &Execution, since: Instant, error: &BusError) -> bool {
    let mut duty = execution.duty.lock();
    duty.wanted = true;
    execution.failing.store(true, Ordering::Relaxed);
    execution.moved.notify_waiters();
    if since.elapsed() < GIVE_UP {
        return false;
    }
    duty.tasked = false;
    tracing::error!(room = %execution.room, %error, "an execution's head stays behind until its next event");
    true
}
