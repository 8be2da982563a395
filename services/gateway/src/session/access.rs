//! Whether somebody may follow a room: the one place where every dialect asks, on every subscribe, resume and recovery, and
//! again when a token takes the place of another; and how fast it may read there.

use super::Shared;
use std::time::Duration;
use weft_bus::BusError;
use weft_event::Room;
use weft_guard::{Caller, Verdict, guard::Unanswered, limits::Full};

/// Pause before a broker that is away is asked again: who subscribes waits for it, as for the room itself.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two questions about a room in which something has happened: whose it is, is written a moment after.
const AGAIN_AFTER: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(1000)];

/// What is known at once; `None` must be asked for.
pub(super) fn at_once(shared: &Shared, caller: &Caller, room: &Room) -> Option<Verdict> {
    shared.guard.follow_at_once(caller, room)
}

/// Asks, and waits while the broker is away.
pub(super) async fn ask(shared: &Shared, caller: &Caller, room: &Room) -> Result<Verdict, Unanswered> {
    loop {
        match shared.guard.follow(&shared.hub.bus, caller, room).await {
            Err(Unanswered::Bus(BusError::Unavailable(_))) => tokio::time::sleep(PAUSE).await,
            answered => return answered,
        }
    }
}

/// Waits until this user may read a further page of what is stored.
pub(super) async fn paced(shared: &Shared, caller: &Caller) {
    while let Err(Full::Rate { retry_ms }) = shared.bounds.page(caller) {
        tokio::time::sleep(Duration::from_millis(retry_ms)).await;
    }
}

/// Asks about a room in which something has just happened.
pub(super) async fn ask_again(shared: &Shared, caller: &Caller, room: &Room) -> Result<Verdict, Unanswered> {
    for pause in AGAIN_AFTER {
        tokio::time::sleep(pause).await;
        match ask(shared, caller, room).await {
            Ok(Verdict::Pending) => {}
            answered => return answered,
        }
    }
    Ok(Verdict::Pending)
}
