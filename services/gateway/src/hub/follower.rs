//! Who follows a room.

use super::{Room, SessionCell, cells::Cells};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The sessions that follow one room.
#[derive(Default)]
pub(super) struct Followers {
    cells: Cells,
    idle_since: Option<Instant>,
}

impl Followers {
    /// Wakes them all.
    pub(super) fn wake(&self) {
        self.cells.iter().for_each(|cell| cell.wake());
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.cells.iter().count() as u64
    }

    /// How long there has been none.
    pub(super) fn idle_for(&self) -> Duration {
        self.idle_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// A session's registration in a room; dropping it takes the session out.
pub struct Follower {
    /// The room.
    pub room: Arc<Room>,
    key: u32,
}

impl Follower {
    pub(super) fn register(room: &Arc<Room>, cell: &Arc<SessionCell>) -> Self {
        let mut followers = room.followers.lock();
        followers.idle_since = None;
        let key = followers.cells.insert(cell.clone());
        Self { room: room.clone(), key }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut followers = self.room.followers.lock();
        followers.cells.remove(self.key);
        if followers.cells.is_empty() {
            followers.idle_since = Some(Instant::now());
        }
    }
}
