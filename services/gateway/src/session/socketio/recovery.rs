//! Connection state recovery: what the bus keeps of a client's rooms, and how the client gets them back from whichever
//! gateway it comes to (wire contract, section 8).
//!
//! The record says what is followed, and is written before a subscribe is answered; how far the client has read stands in
//! the offset that it holds. A gateway that dies needs to have written nothing more.

use super::{Seat, Session, Space, plain};
use crate::session::{Done, Shared, begin::Begun};
use bytes::Bytes;
use std::{ops::ControlFlow, time::Duration};
use weft_bus::{BusError, Record};
use weft_dialect::{
    native::{Outcome, RoomRequest},
    socketio::{Auth, FleetKey, Namespace, Purpose, Recovery, SessionId, SessionOffset},
};
use weft_event::{Offset, Resume, Room};

/// Pause before a broker that is away is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// Reads of a record until its client is let in without it.
const READS_MAX: u32 = 25;
/// How long the removal of a record may take; what is not removed expires.
const REMOVAL: Duration = Duration::from_secs(10);

/// What lets a client come back: its secret, and what the bus keeps under it.
pub(super) struct Kept {
    pid: SessionId,
    record: Recovery,
    /// Changes of the record so far, and how many of them are stored.
    changes: u32,
    stored: u32,
    is_writing: bool,
    /// The second in which it is written again, before it expires.
    renew_at: u32,
    /// What waits for a change to be stored, in order.
    waiting: Vec<Waiting>,
}

/// An answer that is due once a change is stored, and the subscription that is read from then on.
struct Waiting {
    change: u32,
    key: Option<u32>,
    answer: Option<Vec<u8>>,
}

/// What a client brings that wants to be recovered.
pub(super) struct Recalling {
    pid: SessionId,
    offset: Option<SessionOffset>,
}

/// A recovery that waits for its rooms.
pub(super) struct Recovering {
    rooms_left: usize,
    /// Whether every event after the client's offset is to be had.
    is_whole: bool,
}

/// What the bus has of a client that wants to be recovered.
pub struct Recalled {
    space: Space,
    recalling: Recalling,
    found: Option<Bytes>,
}

/// A write of a record has ended.
pub struct Stored {
    space: Space,
    pid: SessionId,
    written: Written,
}

/// What became of a write.
enum Written {
    /// This change is stored.
    Change(u32),
    /// The broker refuses records.
    Refused,
    /// Another is there: the client has gone on elsewhere, and this end of it has not been told yet.
    Replaced,
}

impl Kept {
    pub(super) fn answers_waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn pid(&self) -> &str {
        self.pid.as_str()
    }
}

impl Recalling {
    /// What a client's CONNECT says of an earlier session, if that was one of this fleet.
    pub(super) fn wanted(auth: &Auth, key: &FleetKey) -> Option<Self> {
        let pid = SessionId::verify(key, Purpose::Recovery, auth.pid.as_deref()?)?;
        Some(Self { pid, offset: auth.offset.as_deref().and_then(|offset| offset.parse().ok()) })
    }
}

impl Session {
    /// Whether this client's sessions can be recovered at all.
    pub(super) fn can_recover(&self) -> bool {
        self.socketio.as_ref().is_some_and(|socketio| socketio.bears_recovery) && self.shared.hub.bus.is_durable()
    }

    /// Looks for what the bus keeps of an earlier session.
    pub(super) fn recall(&mut self, space: Space, recalling: Recalling) {
        let name = recalling.pid.record_name(&self.shared.fleet_key);
        let shared = self.shared.clone();
        self.operate(async move {
            let mut found = None;
            for _ in 0..READS_MAX {
                match load(&shared, &name).await {
                    Ok(record) => {
                        found = record;
                        break;
                    }
                    Err(BusError::Unavailable(_)) => tokio::time::sleep(PAUSE).await,
                    Err(error) => {
                        tracing::debug!(%error, "a record of a session could not be read");
                        break;
                    }
                }
            }
            Done::Recalled(Box::new(Recalled { space, recalling, found }))
        });
    }

    /// What the bus had. A client that cannot be recovered begins anew, and is told so by another `pid`.
    pub(in crate::session) fn recalled(&mut self, recalled: Recalled) {
        let Recalled { space, recalling, found } = recalled;
        let record = found.and_then(|bytes| match Recovery::decode(&bytes, Namespace::ALL) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::debug!(%error, "a record of a session was not read");
                None
            }
        });
        let Some(seat) = self.seat(space) else { return };
        let caller = &seat.badge.caller;
        let is_theirs = |record: &Recovery| record.is_of(caller.tenant(), caller.subject(), space.namespace());
        // Its rooms are asked about again, each as it is subscribed to: a secret is not authority.
        let Some(record) = record.filter(is_theirs) else { return self.let_in_anew(space) };
        let rooms = record.resume(recalling.offset.as_ref());
        // It is on the bus, and to be removed from there if it is of no use.
        seat.kept = Some(Kept { changes: 1, stored: 1, ..Kept::new(recalling.pid, record) });
        seat.recovering = Some(Recovering { rooms_left: rooms.len(), is_whole: true });
        for (room, resume) in rooms {
            self.recover_room(space, room, resume);
        }
        self.settle_recovery(space);
    }

    fn recover_room(&mut self, space: Space, room: Room, resume: Resume) {
        let room = self.at_home(space, room);
        let request = RoomRequest { room, resume: Some(resume), as_execution: false };
        self.subscribe_one(space, &request, &plain(&request, false, None));
    }

    /// A room that was to be recovered has begun, or cannot; whether there was a recovery.
    pub(super) fn recovered_room(&mut self, space: Space, is_whole: bool) -> bool {
        let Some(recovering) = self.seat(space).and_then(|seat| seat.recovering.as_mut()) else { return false };
        recovering.rooms_left = recovering.rooms_left.saturating_sub(1);
        recovering.is_whole &= is_whole;
        true
    }

    /// Answers the CONNECT once it is known of every room whether anything was missed.
    pub(in crate::session) fn settle_recovery(&mut self, space: Space) {
        let Some(seat) = self.seat(space) else { return };
        let Some(Recovering { is_whole, .. }) = seat.recovering.take_if(|recovering| recovering.rooms_left == 0) else { return };
        self.shared.hub.metrics.recovery(is_whole);
        if is_whole {
            self.let_in(space);
            self.subscriptions.iter_mut().filter(|of| of.space == space).for_each(|of| of.held = false);
            // Its life begins again.
            return self.store_record(space);
        }
        self.subscriptions.retain(|subscription| subscription.space != space);
        self.forget_record(space);
        self.let_in_anew(space);
    }

    /// Lets a client in that has nothing to go on with.
    pub(super) fn let_in_anew(&mut self, space: Space) {
        let can_recover = self.can_recover();
        let pid = can_recover
            .then(|| SessionId::make(&self.shared.fleet_key, Purpose::Recovery, &self.shared.instance, rand::random()));
        if let Some(seat) = self.seat(space) {
            let caller = &seat.badge.caller;
            let record = Recovery::new(caller.tenant(), caller.subject(), space.namespace());
            seat.kept = pid.map(|pid| Kept::new(pid, record));
        }
        self.let_in(space);
    }

    /// A subscription has begun at `at`: `answer` goes out when a gateway that knows nothing of it could go on with it.
    pub(super) fn keep_begun(&mut self, index: usize, begun: &Begun, at: Option<Offset>, answer: Option<Vec<u8>>) {
        let subscription = &self.subscriptions[index];
        let (space, key, room) = (subscription.space, subscription.key, subscription.follower.room.name.clone());
        // Until the state is told, nothing is: cut off before it, the client needs all that it stands for.
        let start = if begun.outcome == Outcome::Snapshot { None } else { at };
        match self.kept(space).map(|kept| kept.record.add(&room, start)) {
            Some(Ok(())) => {
                self.subscriptions[index].held = true;
                self.answer_when_stored(space, Some(key), answer);
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a session goes on without recovery");
                self.forget_record(space);
                answer.into_iter().for_each(|answer| self.reply(answer));
            }
            None => answer.into_iter().for_each(|answer| self.reply(answer)),
        }
    }

    /// A room was left: `answer` goes out when it would not come back by a recovery.
    pub(super) fn keep_left(&mut self, space: Space, room: &Room, answer: Option<Vec<u8>>) {
        let removed = self.kept(space).is_some_and(|kept| kept.record.remove(room));
        if removed {
            self.answer_when_stored(space, None, answer);
        } else {
            answer.into_iter().for_each(|answer| self.reply(answer));
        }
    }

    /// Answers what has changed nothing, but not before what it rests on is stored.
    pub(super) fn answer_when_current(&mut self, space: Space, answer: Vec<u8>) {
        match self.kept(space).filter(|kept| kept.stored < kept.changes) {
            Some(kept) => kept.waiting.push(Waiting { change: kept.changes, key: None, answer: Some(answer) }),
            None => self.reply(answer),
        }
    }

    fn answer_when_stored(&mut self, space: Space, key: Option<u32>, answer: Option<Vec<u8>>) {
        if let Some(kept) = self.kept(space) {
            kept.waiting.push(Waiting { change: kept.changes + 1, key, answer });
        }
        self.store_record(space);
    }

    /// The record has changed. One write at a time, or an older one might come to lie on a newer.
    fn store_record(&mut self, space: Space) {
        let (now, renew_secs) = (self.now(), self.shared.limits.recovery_renew_secs);
        if let Some(kept) = self.kept(space) {
            kept.changes += 1;
            kept.renew_at = now + renew_secs;
            self.write_record(space);
        }
    }

    fn write_record(&mut self, space: Space) {
        let (shared, key) = (self.shared.clone(), self.shared.fleet_key.clone());
        let Some(kept) = self.kept(space).filter(|kept| !kept.is_writing && kept.stored < kept.changes) else { return };
        kept.is_writing = true;
        let (pid, change, value) = (kept.pid.clone(), kept.changes, Bytes::from(kept.record.encode()));
        let name = pid.record_name(&key);
        self.operate(async move {
            let stored = store_patiently(&shared, &name, &value).await;
            let written = if stored.is_some() { Written::Change(change) } else { Written::Refused };
            Done::Stored(Box::new(Stored { space, pid, written }))
        });
    }

    /// Writes a record that has not changed, so that it does not expire; unless the client, cut off from here and not yet
    /// known to be gone, has changed it elsewhere.
    fn renew_record(&mut self, space: Space) {
        let (now, renew_secs) = (self.now(), self.shared.limits.recovery_renew_secs);
        let (shared, key) = (self.shared.clone(), self.shared.fleet_key.clone());
        let Some(kept) = self.kept(space).filter(|kept| !kept.is_writing && kept.stored == kept.changes) else { return };
        kept.is_writing = true;
        kept.renew_at = now + renew_secs;
        let (pid, change, value) = (kept.pid.clone(), kept.changes, Bytes::from(kept.record.encode()));
        let name = pid.record_name(&key);
        self.operate(async move {
            let written = match load_patiently(&shared, &name).await {
                Some(Some(found)) if found != value => Written::Replaced,
                _ => match store_patiently(&shared, &name, &value).await {
                    Some(()) => Written::Change(change),
                    None => Written::Refused,
                },
            };
            Done::Stored(Box::new(Stored { space, pid, written }))
        });
    }

    /// A write has ended.
    pub(in crate::session) fn stored(&mut self, stored: &Stored) {
        let Some(kept) = self.kept(stored.space).filter(|kept| kept.pid == stored.pid) else { return };
        kept.is_writing = false;
        let change = match stored.written {
            Written::Change(change) => change,
            Written::Refused => return self.forget_record(stored.space),
            Written::Replaced => return self.leave_record(stored.space),
        };
        kept.stored = change;
        let due = kept.waiting.iter().take_while(|waiting| waiting.change <= change).count();
        let due: Vec<_> = kept.waiting.drain(..due).collect();
        if kept.waiting.is_empty() {
            kept.waiting = Vec::new();
        }
        self.release(due);
        self.write_record(stored.space);
    }

    fn release(&mut self, due: Vec<Waiting>) {
        for Waiting { key, answer, .. } in due {
            if let Some(subscription) = self.subscriptions.iter_mut().find(|of| Some(of.key) == key) {
                subscription.held = false;
            }
            answer.into_iter().for_each(|answer| self.reply(answer));
        }
    }

    /// The same, but what the bus has is another's by now.
    fn leave_record(&mut self, space: Space) {
        if let Some(kept) = self.seat(space).and_then(|seat| seat.kept.take()) {
            self.release(kept.waiting);
        }
    }

    /// The session goes on without recovery, and without an offset in what it tells.
    pub(super) fn forget_record(&mut self, space: Space) {
        let Some(kept) = self.seat(space).and_then(|seat: &mut Seat| seat.kept.take()) else { return };
        self.release(kept.waiting);
        if kept.changes == 0 {
            return;
        }
        let (shared, name) = (self.shared.clone(), kept.pid.record_name(&self.shared.fleet_key));
        // On its own: who says goodbye is gone at once.
        tokio::spawn(tokio::time::timeout(REMOVAL, async move {
            let _permit = shared.hub.records.acquire().await;
            if let Err(error) = shared.hub.bus.remove_record(Record::Recovery, &name).await {
                tracing::debug!(%error, "a record of a session could not be removed; it expires");
            }
        }));
    }

    /// Writes again what would expire.
    pub(in crate::session) fn renew_records(&mut self, now: u32) {
        for space in Space::ALL {
            if self.kept(space).is_some_and(|kept| now >= kept.renew_at) {
                self.renew_record(space);
            }
        }
    }
}

/// What the broker answered, or a pause while it is away: the client waits, as every subscribe does. `None` if it refuses.
async fn bear<T>(answered: Result<T, BusError>) -> ControlFlow<Option<T>> {
    match answered {
        Ok(done) => ControlFlow::Break(Some(done)),
        Err(BusError::Unavailable(_)) => {
            tokio::time::sleep(PAUSE).await;
            ControlFlow::Continue(())
        }
        Err(error) => {
            tracing::warn!(%error, "the broker keeps no records of sessions: these go on without recovery");
            ControlFlow::Break(None)
        }
    }
}

/// Reads a record, however long that takes; `None` if the broker refuses.
async fn load_patiently(shared: &Shared, name: &str) -> Option<Option<Bytes>> {
    loop {
        if let ControlFlow::Break(found) = bear(load(shared, name).await).await {
            return found;
        }
    }
}

/// Writes a record, however long that takes; `None` if the broker refuses.
async fn store_patiently(shared: &Shared, name: &str, value: &Bytes) -> Option<()> {
    loop {
        if let ControlFlow::Break(stored) = bear(store(shared, name, value.clone()).await).await {
            return stored;
        }
    }
}

/// Reads a record, when it is its turn. Boxed, so that the thousands that wait for theirs have no place for it yet.
async fn load(shared: &Shared, name: &str) -> Result<Option<Bytes>, BusError> {
    let _permit = shared.hub.records.acquire().await;
    Box::pin(shared.hub.bus.record(Record::Recovery, name)).await
}

/// Writes a record, when it is its turn. Boxed likewise.
async fn store(shared: &Shared, name: &str, value: Bytes) -> Result<(), BusError> {
    let _permit = shared.hub.records.acquire().await;
    Box::pin(shared.hub.bus.put_record(Record::Recovery, name, value)).await
}

impl Kept {
    /// Nothing is written until something is followed.
    fn new(pid: SessionId, record: Recovery) -> Self {
        Self { pid, record, changes: 0, stored: 0, is_writing: false, renew_at: u32::MAX, waiting: Vec::new() }
    }
}
