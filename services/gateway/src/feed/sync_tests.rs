//! A simulated broker with every fault of the live path, over many seeds: what the readers get is complete, in
//! order and without repeats, or a gap is told. Leaving out any guard makes it fail.

use super::*;
use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::HashMap;
use weft_event::{Room, fingerprint};

/// One stored event of the simulated broker.
#[derive(Clone)]
struct Stored {
    seq: u64,
    prev: u64,
    content: u64,
}

struct Broker {
    epoch: u64,
    epochs_made: u64,
    seq: u64,
    events: Vec<Stored>,
    contents: u64,
    /// Sequence numbers are the stream's, so they have holes in one room.
    holes: bool,
    recreated: bool,
}

fn payload(content: u64) -> Bytes {
    Bytes::from(format!("{{\"type\":\"log\",\"executionId\":\"e\",\"n\":{content}}}"))
}

impl Broker {
    fn new(holes: bool) -> Self {
        Self { epoch: 1, epochs_made: 1, seq: 0, events: Vec::new(), contents: 0, holes, recreated: false }
    }

    fn position(&self, stored: &Stored) -> Position {
        Position { epoch: Epoch(self.epoch), seq: stored.seq, check: fingerprint(&payload(stored.content)) }
    }

    fn delivery(&self, stored: &Stored) -> Delivery {
        Delivery {
            room: Room::execution("e").expect("room"),
            stamp: Stamp::Stored { at: self.position(stored), prev: stored.prev },
            payload: payload(stored.content),
            first: None,
            stored_ms: None,
            traceparent: None,
        }
    }

    fn publish(&mut self, random: &mut StdRng) -> Delivery {
        let prev = self.events.last().map_or(0, |last| last.seq);
        self.seq += if self.holes { random.random_range(1..4) } else { 1 };
        self.contents += 1;
        self.events.push(Stored { seq: self.seq, prev, content: self.contents });
        self.delivery(self.events.last().expect("just pushed"))
    }

    fn tail(&self) -> Tail {
        let at =
            self.events.last().map_or(Position { epoch: Epoch(self.epoch), seq: self.seq, check: 0 }, |last| self.position(last));
        Tail { at, first_seq: None }
    }

    fn read(&self, from: Option<Position>, limit: usize) -> Page {
        let epoch = Epoch(self.epoch);
        let page = |anchor, start: usize| {
            let events: Vec<_> = self.events[start..].iter().take(limit).map(|stored| self.delivery(stored)).collect();
            let more = self.events.len() > start + limit;
            Page { epoch, anchor, events, more }
        };
        let Some(at) = from else { return page(Anchor::Held, 0) };
        let changed = Page { epoch, anchor: Anchor::Changed, events: Vec::new(), more: false };
        if at.epoch != epoch || at.seq > self.seq {
            return changed;
        }
        match self.events.iter().position(|stored| stored.seq >= at.seq) {
            Some(index) if self.events[index].seq == at.seq => {
                if self.position(&self.events[index]) == at || at.check == 0 {
                    page(Anchor::Held, index + 1)
                } else {
                    changed
                }
            }
            // Nothing stood at this number: it can only be the place before the room's first event.
            Some(index) if at.check == 0 => page(Anchor::Held, index),
            Some(index) => page(Anchor::Trimmed, index),
            None if at.check == 0 => page(Anchor::Held, self.events.len()),
            None => page(Anchor::Trimmed, self.events.len()),
        }
    }

    /// A failover to a replica that lacks the last `back` events; their numbers are used again.
    fn rewind(&mut self, back: usize) {
        for _ in 0..back.min(self.events.len()) {
            self.events.pop();
            self.seq = self.events.last().map_or(0, |last| last.seq);
        }
    }

    /// The stream is deleted and made anew.
    fn recreate(&mut self) {
        self.recreated = true;
        self.events.clear();
        self.seq = 0;
        self.epochs_made += 1;
        self.epoch = self.epochs_made * 1000;
    }

    fn renew(&mut self, old: Epoch) -> Epoch {
        if old.0 == self.epoch {
            self.epochs_made += 1;
            self.epoch = self.epochs_made * 1000;
        }
        Epoch(self.epoch)
    }
}

/// What a reader of the room's log got.
#[derive(Default)]
struct Reader {
    got: Vec<u64>,
    /// How much had been got at each gap.
    gaps: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Faults {
    lose: f64,
    repeat: f64,
    reorder: f64,
    read_fails: f64,
    rewinds: bool,
}

/// Runs one seed; answers the counters, or what is wrong.
fn run(seed: u64, faults: Faults, without: Mutant) -> Result<(Counts, u64), String> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut broker = Broker::new(random.random_bool(0.5));
    let (mut sync, mut reader) = (RoomSync { without, ..RoomSync::default() }, Reader::default());
    let mut todo: Vec<Step> = Vec::new();
    let mut air: Vec<Delivery> = Vec::new();
    let before = random.random_range(0..5);
    (0..before).for_each(|_| drop(broker.publish(&mut random)));
    // Events between the follow and the tail: live, and part of the tail as well.
    for _ in 0..random.random_range(0..4) {
        let delivery = broker.publish(&mut random);
        todo.extend(sync.live(delivery));
    }
    let tail = broker.tail();
    let began_after = broker.contents;
    // Events after the tail was read but before it was known here.
    for _ in 0..random.random_range(0..4) {
        let delivery = broker.publish(&mut random);
        todo.extend(sync.live(delivery));
    }
    todo.extend(sync.opened(tail.at));
    let mut reset_happened = false;
    for _ in 0..random.random_range(20..200) {
        match random.random_range(0..10) {
            0..6 => {
                let delivery = broker.publish(&mut random);
                if random.random_bool(faults.repeat) {
                    air.push(delivery.clone());
                }
                if !random.random_bool(faults.lose) {
                    air.push(delivery);
                }
            }
            6 if faults.rewinds && random.random_bool(0.2) => {
                reset_happened = true;
                // Whatever loses stored events also breaks the connection that live ones come by.
                air.clear();
                sync.interrupted();
                if random.random_bool(0.5) { broker.rewind(random.random_range(1..6)) } else { broker.recreate() }
            }
            6 if random.random_bool(0.1) => sync.interrupted(),
            7 => {
                let asked = sync.last();
                let tail = broker.tail();
                if let Some(asked) = asked {
                    todo.extend(sync.verify(tail, asked));
                }
            }
            _ => {}
        }
        if random.random_bool(faults.reorder) && air.len() > 1 {
            let (a, b) = (random.random_range(0..air.len()), random.random_range(0..air.len()));
            air.swap(a, b);
        }
        while !air.is_empty() && random.random_bool(0.7) {
            let delivery = air.remove(0);
            todo.extend(sync.live(delivery));
        }
        if random.random_bool(0.6) {
            work(&mut sync, &mut broker, &mut reader, &mut todo, &mut random, faults.read_fails);
        } else {
            take_appends(&mut reader, &mut todo);
        }
    }
    finish(&mut sync, &mut broker, &mut reader, &mut todo, &mut random, air)?;
    check(&broker, &reader, began_after, reset_happened)?;
    Ok((sync.counts, reader.got.len() as u64))
}

/// Carries out appends and gaps at once, as the room does under its lock; leaves the rest.
fn take_appends(reader: &mut Reader, todo: &mut Vec<Step>) {
    todo.retain(|step| match step {
        Step::Append(delivery) => {
            let text = std::str::from_utf8(&delivery.payload).expect("payload");
            let number = text.rsplit(':').next().and_then(|tail| tail.trim_end_matches('}').parse().ok()).expect("number");
            reader.got.push(number);
            false
        }
        Step::Gap { .. } => {
            reader.gaps.push(reader.got.len());
            false
        }
        _ => true,
    });
}

fn work(
    sync: &mut RoomSync,
    broker: &mut Broker,
    reader: &mut Reader,
    todo: &mut Vec<Step>,
    random: &mut StdRng,
    read_fails: f64,
) {
    take_appends(reader, todo);
    for step in std::mem::take(todo) {
        let next = match step {
            _ if random.random_bool(read_fails) && !matches!(step, Step::RenewEpoch(_)) => sync.read_failed(),
            Step::Read(at) | Step::ReadLater(at) => sync.page(broker.read(Some(at), random.random_range(1..8))),
            Step::ReadAll => sync.page(broker.read(None, random.random_range(1..8))),
            Step::RenewEpoch(old) => sync.renewed(broker.renew(old)),
            Step::Append(_) | Step::Gap { .. } => Vec::new(),
        };
        todo.extend(next);
        take_appends(reader, todo);
    }
}

fn finish(
    sync: &mut RoomSync,
    broker: &mut Broker,
    reader: &mut Reader,
    todo: &mut Vec<Step>,
    random: &mut StdRng,
    air: Vec<Delivery>,
) -> Result<(), String> {
    for delivery in air {
        todo.extend(sync.live(delivery));
        take_appends(reader, todo);
    }
    for _ in 0..500 {
        work(sync, broker, reader, todo, random, 0.0);
        if todo.is_empty() {
            let asked = sync.last().ok_or("never opened")?;
            todo.extend(sync.verify(broker.tail(), asked));
            if todo.is_empty() {
                return Ok(());
            }
        }
    }
    let first = todo.first().map(|step| format!("{step:?}"));
    Err(format!("never settles: last {:?}, tail {:?}, next {first:?}", sync.last(), broker.tail()))
}

fn check(broker: &Broker, reader: &Reader, began_after: u64, reset_happened: bool) -> Result<(), String> {
    let mut times: HashMap<u64, usize> = HashMap::new();
    reader.got.iter().for_each(|content| *times.entry(*content).or_default() += 1);
    if let Some((content, _)) = times.iter().find(|(_, times)| **times > 1) {
        return Err(format!("event {content} came twice"));
    }
    let mut pieces = reader.gaps.clone();
    pieces.push(reader.got.len());
    let mut start = 0;
    for end in pieces {
        if !reader.got[start..end].is_sorted() {
            return Err(format!("out of order: {:?}", &reader.got[start..end]));
        }
        start = end;
    }
    let missing: Vec<u64> = (began_after + 1..=broker.contents).filter(|content| !times.contains_key(content)).collect();
    let still_there = |content: &u64| broker.events.iter().any(|stored| stored.content == *content);
    // A gap speaks for everything before the event that follows it.
    let excused =
        |content: &u64| reset_happened && reader.gaps.iter().any(|gap| reader.got.get(*gap).is_none_or(|next| next > content));
    if let Some(content) = missing.iter().find(|content| still_there(content) && !excused(content)) {
        return Err(format!("event {content} is stored and never came"));
    }
    // What the broker lost before this reader ever heard of it leaves no trace to find; a new stream does.
    if broker.recreated && reader.gaps.is_empty() {
        return Err(format!("the stream was made anew without a word; missing: {missing:?}"));
    }
    if !reset_happened && !reader.gaps.is_empty() {
        return Err("a gap was told where nothing was lost".into());
    }
    Ok(())
}

const WILD: Faults = Faults { lose: 0.2, repeat: 0.1, reorder: 0.2, read_fails: 0.1, rewinds: false };

#[test]
fn delivery_is_complete_ordered_and_once_over_every_seed() {
    let (mut events, mut repairs) = (0, 0);
    for seed in 0..4000 {
        let faults = Faults { rewinds: seed % 2 == 1, ..WILD };
        let (counts, got) = run(seed, faults, Mutant::Nothing).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        events += got;
        repairs += counts.link_repairs + counts.tail_repairs;
    }
    assert!(
        events > 100_000 && repairs > 10_000,
        "the simulation must exercise what it checks: {events} events, {repairs} repairs"
    );
}

#[test]
fn leaving_out_any_guard_is_noticed() {
    for mutant in [Mutant::Dedup, Mutant::GapCheck, Mutant::SeamMerge] {
        let failures = (0..200).filter(|seed| run(*seed, WILD, mutant).is_err()).count();
        assert!(failures > 20, "{mutant:?} was noticed in {failures} of 200 seeds");
    }
}
