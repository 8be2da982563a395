//! When a room's followers are woken: at once, or in a hot room a few milliseconds later, so that one write carries
//! several events. One coarse timer serves all rooms.

use super::Room;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Events that must be likely to fall into one wait; for fewer the wait would only cost time.
const WORTH_WAITING_FOR: u32 = 3;
/// After a pause like this a room's past says nothing of its rate.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a room's events come, lately: a mean of the times between them, the last ones counting most.
#[derive(Default)]
pub(super) struct Rate {
    last: Option<Instant>,
    between: Option<Duration>,
}

impl Rate {
    /// An event has come; whether so many come that gathering for `wait` will find several.
    pub(super) fn is_hot(&mut self, now: Instant, wait: Duration) -> bool {
        let since = self.last.replace(now).map(|last| now.saturating_duration_since(last)).filter(|since| *since < PAUSE);
        self.between = since.map(|since| self.between.map_or(PAUSE, |mean| mean).mul_f32(0.875) + since.mul_f32(0.125));
        self.between.is_some_and(|between| between * WORTH_WAITING_FOR <= wait)
    }
}

/// Rooms whose followers wait to be woken.
#[derive(Default)]
pub(super) struct Gathering {
    rooms: Mutex<Vec<Arc<Room>>>,
    begun: Notify,
}

impl Gathering {
    /// Wakes this room's followers with the next round. A room stands here once.
    pub(super) fn add(&self, room: &Arc<Room>) {
        let mut rooms = self.rooms.lock();
        rooms.push(room.clone());
        if rooms.len() == 1 {
            self.begun.notify_one();
        }
    }

    /// Wakes rooms' followers `wait` after the first event, for as long as the process lives.
    pub(super) async fn run(&self, wait: Duration) {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(wait).await;
            let rooms = std::mem::take(&mut *self.rooms.lock());
            for room in rooms {
                room.gathered();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_hot_by_its_recent_rate() {
        let (wait, begun) = (Duration::from_millis(6), Instant::now());
        let mut rate = Rate::default();
        let mut hot_at = |events: &mut dyn Iterator<Item = u64>| {
            events.map(|ms| rate.is_hot(begun + Duration::from_millis(ms), wait)).last().unwrap_or_default()
        };
        assert!(!hot_at(&mut (0..10)), "a handful of events, however close, is a burst");
        assert!(hot_at(&mut (10..200)), "an event a millisecond");
        assert!(!hot_at(&mut (200..1000).step_by(20)), "50 a second, an agent's tokens");
        assert!(hot_at(&mut (1000..1200)));
        assert!(!hot_at(&mut [5000].into_iter()), "it was quiet for long");
    }
}
