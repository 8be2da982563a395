//! The bus inside one process: the same semantics as the durable brokers, for one gateway and its executor.

mod history;

use crate::*;
use history::{Budget, History};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use weft_event::fingerprint;

pub(crate) struct MemoryBus {
    state: Arc<Mutex<State>>,
    /// Apart from the state, which is held while the inlet is called: whoever stops following may hold what the
    /// inlet needs.
    followed: Mutex<HashSet<Room>>,
    retention: Retention,
    dedup_window: Duration,
    record_age: Duration,
    journal_age: Duration,
    journal_lines: usize,
    health: watch::Sender<Health>,
}

struct State {
    rooms: FxHashMap<Room, History>,
    budget: Budget,
    inlet: Option<Arc<dyn Inlet>>,
    heads: FxHashMap<Room, (Head, u64)>,
    owners: FxHashMap<Room, (Owner, Instant)>,
    revision: u64,
    present: BTreeMap<(&'static str, String), (bytes::Bytes, Instant)>,
    records: FxHashMap<(&'static str, String), (bytes::Bytes, Instant)>,
    records_swept_at: usize,
    journals: FxHashMap<&'static str, VecDeque<(u64, bytes::Bytes, Instant)>>,
    served: FxHashMap<String, (u64, mpsc::Sender<Incoming>)>,
    swept: Option<Instant>,
}

/// Most heads. Beyond it the eighth that was changed longest ago is forgotten.
const HEADS_MAX: usize = 50_000;

impl State {
    fn new(bytes_max: u64) -> Self {
        Self {
            rooms: FxHashMap::default(),
            budget: Budget::new(bytes_max),
            inlet: None,
            heads: FxHashMap::default(),
            owners: FxHashMap::default(),
            revision: 0,
            present: BTreeMap::new(),
            records: FxHashMap::default(),
            records_swept_at: 0,
            journals: FxHashMap::default(),
            served: FxHashMap::default(),
            swept: None,
        }
    }

    fn history(&mut self, room: &Room) -> (&mut History, &mut Budget) {
        (self.rooms.entry(room.clone()).or_insert_with(History::new), &mut self.budget)
    }

    fn forget_heads(&mut self) {
        if self.heads.len() < HEADS_MAX {
            return;
        }
        let mut ages: Vec<u64> = self.heads.values().map(|(head, _)| head.updated_ms).collect();
        let (_, limit, _) = ages.select_nth_unstable(HEADS_MAX / 8);
        let limit = *limit;
        self.heads.retain(|_, (head, _)| head.updated_ms > limit);
        tracing::warn!(left = self.heads.len(), "the in-process bus holds no more heads; the oldest are forgotten");
    }
}

impl MemoryBus {
    pub(crate) fn new(config: &BusConfig) -> Self {
        meters::describe();
        Self {
            state: Arc::new(Mutex::new(State::new(config.memory_bytes))),
            followed: Mutex::default(),
            retention: config.retention,
            dedup_window: config.dedup_window,
            record_age: config.record_age,
            journal_age: config.journal_age,
            journal_lines: config.journal_lines,
            health: watch::channel(Health::Up).0,
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        Mode::Memory
    }

    pub(crate) fn attach(&self, inlet: Arc<dyn Inlet>) {
        self.state.lock().inlet = Some(inlet);
    }

    pub(crate) async fn follow(&self, rooms: &[Room]) -> Result<(), BusError> {
        self.followed.lock().extend(rooms.iter().cloned());
        Ok(())
    }

    pub(crate) fn unfollow(&self, room: &Room) {
        self.followed.lock().remove(room);
    }

    pub(crate) async fn read(&self, room: &Room, from: ReadFrom, limit: PageLimit) -> Result<Page, BusError> {
        let mut state = self.state.lock();
        let (history, budget) = state.history(room);
        history.expire(Instant::now(), &self.retention, self.dedup_window, budget);
        let (start, anchor) = history.locate(from);
        let (mut events, mut bytes) = (Vec::new(), 0);
        for delivery in history.events.range(start..).map(|held| &held.delivery) {
            if !events.is_empty() && (events.len() >= limit.events || bytes + delivery.payload.len() > limit.bytes) {
                break;
            }
            bytes += delivery.payload.len();
            events.push(delivery.clone());
        }
        let more = start + events.len() < history.events.len();
        Ok(Page { epoch: history.epoch, anchor, events, more })
    }

    pub(crate) async fn tails(&self, rooms: &[Room]) -> Result<Vec<Tail>, BusError> {
        let mut state = self.state.lock();
        Ok(rooms
            .iter()
            .map(|room| {
                let (history, _) = state.history(room);
                Tail { at: history.last, first_seq: history.first_seq() }
            })
            .collect())
    }

    pub(crate) async fn renew_epoch(&self, room: &Room, old: Epoch) -> Result<Epoch, BusError> {
        let mut state = self.state.lock();
        let (history, budget) = state.history(room);
        if history.epoch == old {
            history.renew(budget);
        }
        Ok(history.epoch)
    }

    pub(crate) async fn publish(&self, publication: Publication) -> Result<Ack, PublishError> {
        let now = Instant::now();
        let mut state = self.state.lock();
        sweep(&mut state, &self.followed.lock(), now, &self.retention, self.dedup_window);
        let (history, budget) = state.history(&publication.room);
        history.expire(now, &self.retention, self.dedup_window, budget);
        if let Some(at) = publication.id.as_ref().and_then(|id| history.ids.get(id)) {
            return Ok(Ack { position: Some(*at), duplicate: true });
        }
        let prev = history.seq;
        history.seq += 1;
        let at = Position { epoch: history.epoch, seq: history.seq, check: fingerprint(&publication.payload) };
        if let Some(id) = publication.id {
            history.remember(id, at, now);
        }
        let delivery = Delivery {
            room: publication.room.clone(),
            stamp: Stamp::Stored { at, prev },
            payload: publication.payload,
            first: publication.first,
            stored_ms: Some(now_ms()),
            traceparent: publication.traceparent,
        };
        history.last = at;
        history.push(delivery.clone(), now, budget);
        history.expire(now, &self.retention, self.dedup_window, budget);
        let State { rooms, budget, .. } = &mut *state;
        budget.enforce(rooms);
        // Handed over under the lock: that is what keeps a room's live events in the order they were stored.
        let is_followed = self.followed.lock().contains(&publication.room);
        if is_followed && let Some(inlet) = &state.inlet {
            inlet.event(delivery);
        }
        Ok(Ack { position: Some(at), duplicate: false })
    }

    pub(crate) async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<Ack, PublishError>> {
        let mut acks = Vec::with_capacity(publications.len());
        for publication in publications {
            acks.push(self.publish(publication).await);
        }
        acks
    }

    pub(crate) async fn load_head(&self, room: &Room) -> Result<Option<(Head, Revision)>, BusError> {
        Ok(self.state.lock().heads.get(room).map(|(head, revision)| (head.clone(), Revision(*revision))))
    }

    pub(crate) async fn store_head(&self, head: &Head, expect: Expect) -> Result<Revision, StoreError> {
        let room = Room::execution(&head.execution_id)
            .and_then(|room| room.in_tenant(head.tenant.as_deref()))
            .map_err(|invalid| BusError::Refused(invalid.to_string()))?;
        let mut state = self.state.lock();
        let current = state.heads.get(&room).map(|(_, revision)| Revision(*revision));
        let matches = match expect {
            Expect::Absent => current.is_none(),
            Expect::At(revision) => current == Some(revision),
        };
        if !matches {
            return Err(StoreError::Conflict);
        }
        state.forget_heads();
        state.revision += 1;
        let revision = state.revision;
        state.heads.insert(room, (head.clone(), revision));
        Ok(Revision(revision))
    }

    pub(crate) async fn claim(&self, room: &Room, owner: &Owner) -> Result<Owner, BusError> {
        let mut state = self.state.lock();
        let (held, claimed_at) = state.owners.entry(room.clone()).or_insert_with(|| (owner.clone(), Instant::now()));
        if claimed_at.elapsed() >= self.retention.head_age {
            *held = owner.clone();
        }
        *claimed_at = Instant::now();
        Ok(held.clone())
    }

    pub(crate) async fn owner(&self, room: &Room) -> Result<Option<Owner>, BusError> {
        let state = self.state.lock();
        let found = state.owners.get(room).filter(|(_, at)| at.elapsed() < self.retention.head_age);
        Ok(found.map(|(owner, _)| owner.clone()))
    }

    pub(crate) async fn list_heads(&self, query: &HeadQuery) -> Result<Vec<Head>, BusError> {
        let state = self.state.lock();
        let mut found: Vec<&Head> = state
            .heads
            .values()
            .map(|(head, _)| head)
            .filter(|head| head.tenant == query.tenant && (query.owner.is_none() || head.owner == query.owner))
            .filter(|head| {
                query.after.as_ref().is_none_or(|(created, id)| (head.created_ms, &head.execution_id) < (*created, id))
            })
            .collect();
        found.sort_by(|a, b| (b.created_ms, &b.execution_id).cmp(&(a.created_ms, &a.execution_id)));
        Ok(found.into_iter().take(query.limit).cloned().collect())
    }

    pub(crate) async fn announce(&self, kind: Presence, id: &str, value: bytes::Bytes) -> Result<(), BusError> {
        self.state.lock().present.insert((kind.word(), id.to_owned()), (value, Instant::now()));
        Ok(())
    }

    pub(crate) async fn withdraw(&self, kind: Presence, id: &str) -> Result<(), BusError> {
        self.state.lock().present.remove(&(kind.word(), id.to_owned()));
        Ok(())
    }

    pub(crate) async fn present(&self, kind: Presence) -> Result<Vec<(String, bytes::Bytes)>, BusError> {
        let mut state = self.state.lock();
        state.present.retain(|_, (_, at)| at.elapsed() < PRESENCE_LIFETIME);
        Ok(state
            .present
            .iter()
            .filter(|((word, _), _)| *word == kind.word())
            .map(|((_, id), (value, _))| (id.clone(), value.clone()))
            .collect())
    }

    pub(crate) async fn put_record(&self, kind: Record, id: &str, value: bytes::Bytes) -> Result<(), BusError> {
        let mut state = self.state.lock();
        // Half of them expired is the time to forget those: each is then looked at twice in its life.
        if state.records.len() >= state.records_swept_at {
            state.records.retain(|_, (_, at)| at.elapsed() < self.record_age);
            state.records_swept_at = 1024.max(state.records.len() * 2);
        }
        state.records.insert((kind.word(), id.to_owned()), (value, Instant::now()));
        Ok(())
    }

    pub(crate) async fn record(&self, kind: Record, id: &str) -> Result<Option<bytes::Bytes>, BusError> {
        let state = self.state.lock();
        let found = state.records.get(&(kind.word(), id.to_owned()));
        Ok(found.filter(|(_, at)| at.elapsed() < self.record_age).map(|(value, _)| value.clone()))
    }

    pub(crate) async fn remove_record(&self, kind: Record, id: &str) -> Result<(), BusError> {
        self.state.lock().records.remove(&(kind.word(), id.to_owned()));
        Ok(())
    }

    pub(crate) async fn write_line(&self, journal: Journal, line: bytes::Bytes) -> Result<(), PublishError> {
        let mut state = self.state.lock();
        state.revision += 1;
        let number = state.revision;
        let lines = state.journals.entry(journal.word()).or_default();
        while lines.front().is_some_and(|(_, _, at)| at.elapsed() >= self.journal_age) {
            lines.pop_front();
        }
        if lines.len() >= self.journal_lines {
            return Err(PublishError::Full(format!("the journal holds {} lines", self.journal_lines)));
        }
        lines.push_back((number, line, Instant::now()));
        Ok(())
    }

    pub(crate) async fn lines(&self, journal: Journal, after: Mark, limit: usize) -> Result<Lines, BusError> {
        let state = self.state.lock();
        let (mut lines, mut mark, mut more) = (Vec::new(), after, false);
        for (number, line, at) in state.journals.get(journal.word()).into_iter().flatten() {
            if *number <= after.line.0 || at.elapsed() >= self.journal_age {
                continue;
            }
            if lines.len() == limit {
                more = true;
                break;
            }
            mark.line.0 = *number;
            lines.push(line.clone());
        }
        Ok(Lines { lines, mark, more })
    }

    pub(crate) async fn serve(&self, address: &Address, inbox: mpsc::Sender<Incoming>) -> Result<Serving, BusError> {
        let name = address.name();
        let mut state = self.state.lock();
        state.revision += 1;
        let ticket = state.revision;
        state.served.insert(name.clone(), (ticket, inbox));
        let shared = self.state.clone();
        let undo = move || {
            let mut state = shared.lock();
            if state.served.get(&name).is_some_and(|(current, _)| *current == ticket) {
                state.served.remove(&name);
            }
        };
        Ok(Serving { undo: Some(Box::new(undo)) })
    }

    pub(crate) async fn request(&self, address: &Address, command: Command, timeout: Duration) -> Result<Reply, RequestError> {
        let inbox = self.state.lock().served.get(&address.name()).map(|(_, inbox)| inbox.clone());
        let inbox = inbox.ok_or(RequestError::NoExecutor)?;
        let (reply, answer) = tokio::sync::oneshot::channel();
        inbox.try_send(Incoming { command, address: address.clone(), reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RequestError::Busy,
            mpsc::error::TrySendError::Closed(_) => RequestError::NoExecutor,
        })?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) | Err(_) => Err(RequestError::Timeout),
        }
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(crate) async fn probe(&self) -> Result<Duration, BusError> {
        Ok(Duration::ZERO)
    }

    pub(crate) async fn close(&self) {}
}

/// Every minute, forgets rooms and heads that have outlived their retention.
fn sweep(state: &mut State, followed: &HashSet<Room>, now: Instant, retention: &Retention, dedup_window: Duration) {
    if state.swept.is_some_and(|swept| now.duration_since(swept) < Duration::from_secs(60)) {
        return;
    }
    state.swept = Some(now);
    for history in state.rooms.values_mut() {
        history.expire(now, retention, dedup_window, &mut state.budget);
    }
    state.rooms.retain(|room, history| !history.is_empty() || followed.contains(room));
    let oldest_ms = now_ms().saturating_sub(u64::try_from(retention.head_age.as_millis()).unwrap_or(u64::MAX));
    state.heads.retain(|_, (head, _)| head.updated_ms >= oldest_ms);
    state.owners.retain(|_, (_, at)| at.elapsed() < retention.head_age);
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
