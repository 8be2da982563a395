//! The check of one client.

use super::{
    Lane, Published, STORED, Tally, Truth, Verdict, View, lane,
    spared::{self, Spared},
};
use crate::record::{Begin, Follow, Record, Seen, SeenEvent};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// One client's check.
pub(super) struct Check<'a> {
    pub(super) truth: &'a Truth<'a>,
    pub(super) stored: &'a FxHashMap<Arc<str>, Vec<Arc<str>>>,
    pub(super) record: &'a Record,
    pub(super) view: View,
}

impl Check<'_> {
    pub(super) fn run(&self, verdict: &mut Verdict) {
        let mut tally = Tally::default();
        self.each_event(&mut tally, verdict);
        self.growth(&mut tally, verdict);
        self.missing(&mut tally, verdict);
        tally.gaps_declared = self.view.gaps.values().map(|gaps| gaps.len() as u64).sum();
        verdict.add(&tally, self.record);
    }

    fn each_event(&self, tally: &mut Tally, verdict: &mut Verdict) {
        let client = &self.record.client;
        let followed: FxHashSet<&str> = self.record.follows.iter().map(|follow| &*follow.room).collect();
        for entry in &self.record.entries {
            match &entry.seen {
                Seen::Event(event) => {
                    tally.received += 1;
                    if let Some(why) = self.unexpected(event, &followed) {
                        tally.unexpected += 1;
                        verdict.sample(|| format!("{client}: unexpected {:?} in {}: {why}", event.id, event.room));
                    }
                }
                Seen::Malformed { text } => {
                    tally.unexpected += 1;
                    verdict.sample(|| format!("{client}: malformed frame {text}"));
                }
                _ => {}
            }
        }
        for (id, times) in self.view.seen.iter().filter(|(_, times)| **times > 1) {
            tally.duplicated += u64::from(times - 1);
            verdict.sample(|| format!("{client}: {id} came {times} times"));
        }
    }

    fn unexpected(&self, event: &SeenEvent, followed: &FxHashSet<&str>) -> Option<&'static str> {
        let Some(id) = event.id.as_deref() else { return Some("it has no id") };
        if !followed.contains(&*event.room) {
            return Some("the room is not followed");
        }
        if !self.record.wishes.admit(&event.kind) {
            return Some("its type is not among those asked for");
        }
        if event.skipped > 0 && !(self.record.wishes.conflate && spared::may_be(&event.kind)) {
            return Some("it stands for others");
        }
        match (self.truth.by_id.get(id), &event.mark) {
            (Some(published), _) if !published.rooms.contains(&event.room) => Some("it was published to other rooms"),
            (Some(published), Some(mark)) if &*published.source != STORED && mark.counter != published.counter => {
                Some("its payload is another one's")
            }
            (Some(_), Some(_)) => None,
            (Some(published), None) if &*published.source != STORED => Some("its payload has lost its number"),
            (Some(_), None) => None,
            (None, _) => Some("nobody published it"),
        }
    }

    /// A number that does not exceed the one before came too late, or again. What came again is counted as duplicate.
    fn growth(&self, tally: &mut Tally, verdict: &mut Verdict) {
        for (lane, numbers) in &self.view.lanes {
            let (mut highest, mut before) = (0, FxHashSet::default());
            for &(_, counter) in numbers {
                if !before.insert(counter) {
                    continue;
                }
                if counter < highest {
                    tally.misordered += 1;
                    let client = &self.record.client;
                    verdict.sample(|| format!("{client}: {} of {} after {highest} in {}", counter, lane.source, lane.by));
                }
                highest = highest.max(counter);
            }
        }
    }

    fn missing(&self, tally: &mut Tally, verdict: &mut Verdict) {
        let mut spared = Spared::of(self.record, self.truth);
        let mut due: FxHashSet<&str> = FxHashSet::default();
        for follow in self.kept() {
            // One silent gap is a run of missing numbers in one lane.
            let mut last_missing: FxHashMap<Lane, u64> = FxHashMap::default();
            for event in self.truth.by_room.get(&*follow.room).into_iter().flatten() {
                let owed = self.wants(event) && self.owed(event, &follow.room, follow.begin);
                if !event.acked || !owed || !due.insert(&event.id) {
                    continue;
                }
                tally.expected += 1;
                if self.view.seen.contains_key(&*event.id) {
                    continue;
                }
                let lane = lane(self.first_followed(event), event);
                if self.excused(&lane, event) {
                    tally.excused += 1;
                    continue;
                }
                if spared.takes(&lane.by, event) {
                    tally.spared += 1;
                    continue;
                }
                tally.lost += 1;
                verdict.sample(|| format!("{}: lost {}, {}", self.record.client, event.id, self.surroundings(&lane, event)));
                let continues = last_missing.insert(lane, event.counter).is_some_and(|last| last + 1 == event.counter);
                tally.gaps_silent += u64::from(!continues);
            }
        }
    }

    /// The rooms that it still followed at the end.
    fn kept(&self) -> impl Iterator<Item = &Follow> {
        self.record.follows.iter().filter(|follow| !self.view.left.contains(&follow.room))
    }

    /// Whether it asked for events of this type.
    fn wants(&self, event: &Published) -> bool {
        let wishes = &self.record.wishes;
        match &event.kind {
            Some(kind) => wishes.admit(kind),
            None => wishes.types.is_empty() && !wishes.conflate,
        }
    }

    /// Whether the client must have got it by this room.
    fn owed(&self, event: &Published, room: &Arc<str>, begin: Begin) -> bool {
        if begin == Begin::Start {
            return true;
        }
        let live = self.view.live_at.get(room).is_some_and(|at| event.began > *at);
        let first = self.view.lanes.get(&lane(room, event)).and_then(|numbers| numbers.first());
        live || first.is_some_and(|(_, first)| event.counter > *first)
    }

    /// The room by which it must come: its own, if that is followed, because copies in others are dropped then.
    fn first_followed<'e>(&self, event: &'e Published) -> &'e Arc<str> {
        let followed = |room: &&Arc<str>| self.kept().any(|follow| follow.room == **room);
        event.rooms.iter().find(followed).unwrap_or(&event.rooms[0])
    }

    /// Where a lost event should have been, for whoever looks for the reason.
    fn surroundings(&self, lane: &Lane, event: &Published) -> String {
        let numbers = self.view.lanes.get(lane).map_or(&[][..], Vec::as_slice);
        let before = numbers.iter().rev().find(|(_, number)| *number < event.counter);
        let after = numbers.iter().find(|(_, number)| *number > event.counter);
        let from = before.map_or(0, |(place, _)| *place);
        let to = after.map_or(self.record.entries.len(), |(place, _)| *place);
        let between = self.record.entries.get(from..to).unwrap_or_default();
        let others: Vec<String> =
            between.iter().map(|entry| in_short(&entry.seen, &lane.by)).filter(|word| !word.is_empty()).collect();
        let number = |found: Option<&(usize, u64)>| found.map_or_else(|| "nothing".to_owned(), |(_, number)| number.to_string());
        let (before, after) = (number(before), number(after));
        let stored = self.stored.get(&lane.by).map_or(&[][..], Vec::as_slice);
        let place = stored.iter().position(|id| *id == event.id).unwrap_or(0);
        let beside: Vec<&str> = stored.iter().skip(place.saturating_sub(1)).take(3).map(|id| &**id).collect();
        format!("in {} between {before} and {after}, stored as {}: {}", lane.by, beside.join(" "), others.join(", "))
    }

    /// Whether a gap was declared between the last event before the missing one and the first after it.
    fn excused(&self, lane: &Lane, event: &Published) -> bool {
        let Some(gaps) = self.view.gaps.get(&lane.by) else { return false };
        let numbers = self.view.lanes.get(lane).map_or(&[][..], Vec::as_slice);
        gaps.iter().any(|&(place, at)| {
            let split = numbers.partition_point(|&(of, _)| of < place);
            let before = split == 0 || numbers[split - 1].1 < event.counter;
            let after = numbers.get(split).map_or(event.began < at, |&(_, next)| event.counter < next);
            before && after
        })
    }
}

/// One entry in a word or two; events of other rooms are left out.
fn in_short(seen: &Seen, room: &Arc<str>) -> String {
    match seen {
        Seen::Event(event) if event.room == *room => {
            format!("{}@{}", event.id.as_deref().unwrap_or("?"), event.offset.as_deref().unwrap_or("-"))
        }
        Seen::Event(_) => String::new(),
        Seen::Connected { gateway } => format!("connected to {gateway}"),
        Seen::Disconnected { .. } => "disconnected".into(),
        Seen::Subscribed { room, outcome, offset, .. } => format!("{room} {outcome} to {}", offset.as_deref().unwrap_or("-")),
        other => format!("{other:?}").chars().take(120).collect(),
    }
}
