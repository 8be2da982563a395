//! Whose an execution or a knowledge base is. The bus knows; the answer is remembered for its owner alone, so that
//! somebody else's and nobody's take the same way and the same time.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use weft_bus::{Bus, BusError};
use weft_event::{Room, RoomKind};

/// How long an answer is remembered. An owner never changes, but an execution's record may expire and its id be used
/// again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Most answers remembered; when full, the oldest half is forgotten and asked for again.
const REMEMBERED_MAX: usize = 20_000;
/// Refusals are answered at multiples of this, so that their time tells nothing about what was found.
pub const BEAT: Duration = Duration::from_millis(50);

/// Who owns what.
#[derive(Default)]
pub struct Owners {
    known: Mutex<HashMap<Room, (Box<str>, Instant)>>,
}

impl Owners {
    /// Whether `subject` owns `room` (an `execution:` or `kb:` room). In a mode that stores nothing nobody owns anything.
    pub async fn owns(&self, bus: &Bus, subject: &str, room: &Room) -> Result<bool, BusError> {
        if self.is_known(subject, room) {
            return Ok(true);
        }
        let found = match room.kind() {
            RoomKind::Execution => bus.load_head(room).await.map(|found| found.and_then(|(head, _)| head.owner)),
            RoomKind::Kb => bus.owner(room).await.map(Option::flatten),
            RoomKind::User | RoomKind::Agent => Ok(None),
        };
        let owner = match found {
            Err(BusError::NotDurable) => None,
            found => found?,
        };
        let is_owner = owner.as_deref() == Some(subject);
        if is_owner {
            self.remember(subject, room);
        }
        Ok(is_owner)
    }

    fn is_known(&self, subject: &str, room: &Room) -> bool {
        self.known.lock().get(room).is_some_and(|(owner, at)| **owner == *subject && at.elapsed() < REMEMBERED)
    }

    fn remember(&self, subject: &str, room: &Room) {
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_MAX {
            known.retain(|_, (_, at)| at.elapsed() < REMEMBERED / 2);
        }
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(room.clone(), (subject.into(), Instant::now()));
    }
}

/// Waits for the next beat after `began`: call it before a refusal of a request that asked the bus.
pub async fn evenly(began: tokio::time::Instant) {
    let beats = began.elapsed().as_millis() / BEAT.as_millis() + 1;
    let until = BEAT * u32::try_from(beats).unwrap_or(u32::MAX);
    tokio::time::sleep_until(began + until).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_bus::{BusConfig, Expect};
    use weft_event::Head;

    #[tokio::test]
    async fn an_owner_is_found_and_others_are_nobody() {
        let bus = Bus::connect(BusConfig::parse("memory:").expect("a bus")).await.expect("connected");
        let room = |tenant: Option<&str>, name| Room::parse(name).and_then(|room| room.in_tenant(tenant)).expect(name);
        for (tenant, id, owner) in [(None, "mine", Some("u")), (None, "nobodys", None), (Some("acme"), "theirs", Some("u"))] {
            bus.store_head(&Head::new(tenant, id, owner, 1), Expect::Absent).await.expect("stored");
        }
        bus.claim(&room(None, "kb:k"), Some("u")).await.expect("claimed");
        let owners = Owners::default();
        for _ in 0..2 {
            for (tenant, name, subject, expected) in [
                (None, "execution:mine", "u", true),
                (None, "execution:mine", "v", false),
                (None, "execution:nobodys", "u", false),
                (None, "execution:unseen", "u", false),
                (None, "execution:theirs", "u", false),
                (Some("acme"), "execution:theirs", "u", true),
                (Some("acme"), "execution:mine", "u", false),
                (None, "kb:k", "u", true),
                (None, "kb:k", "v", false),
                (Some("acme"), "kb:k", "u", false),
                (None, "user:u", "u", false),
            ] {
                let owns = owners.owns(&bus, subject, &room(tenant, name)).await.expect("answered");
                assert_eq!(owns, expected, "{tenant:?} {name} {subject}");
            }
        }
        assert_eq!(owners.known.lock().len(), 3, "only owners are remembered");
    }

    #[tokio::test]
    async fn memory_of_owners_is_bounded() {
        let owners = Owners::default();
        for n in 0..REMEMBERED_MAX + 10 {
            owners.remember("u", &Room::execution(&n.to_string()).expect("a room"));
        }
        assert!(owners.known.lock().len() <= REMEMBERED_MAX);
    }

    #[tokio::test]
    async fn refusals_come_at_a_beat() {
        let began = tokio::time::Instant::now();
        evenly(began).await;
        assert!(began.elapsed() >= BEAT);
        evenly(began).await;
        assert!(began.elapsed() >= BEAT * 2);
    }
}
