//! Whether all clients saw each room in one order.

use super::Verdict;
use crate::record::Record;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Compares every client's order in each room with the stored order, or where that was not read, with the order of
/// the client that saw most of the room.
pub(super) fn agree(records: &[Record], stored: &FxHashMap<Arc<str>, Vec<Arc<str>>>, verdict: &mut Verdict) {
    let seen: Vec<_> = records.iter().map(by_room).collect();
    let mut reference: FxHashMap<&str, &Vec<&str>> = FxHashMap::default();
    for (room, ids) in seen.iter().flatten() {
        let longest = reference.entry(room).or_insert(ids);
        if ids.len() > longest.len() {
            *longest = ids;
        }
    }
    let order: FxHashMap<&str, FxHashMap<&str, usize>> = reference
        .into_iter()
        .map(|(room, ids)| match stored.get(room) {
            Some(ids) => (room, places(ids.iter().map(|id| &**id))),
            None => (room, places(ids.iter().copied())),
        })
        .collect();
    for (record, rooms) in records.iter().zip(&seen) {
        for (room, ids) in rooms {
            let mut highest = 0;
            for id in ids {
                let Some(&place) = order[room].get(id) else { continue };
                if place < highest {
                    verdict.disagreed += 1;
                    verdict.sample(|| format!("{}: {id} in {room} stands elsewhere for others", record.client));
                }
                highest = highest.max(place);
            }
        }
    }
}

fn by_room(record: &Record) -> FxHashMap<&str, Vec<&str>> {
    let mut rooms: FxHashMap<&str, Vec<&str>> = FxHashMap::default();
    for event in record.events() {
        if let Some(id) = &event.id {
            rooms.entry(&event.room).or_default().push(id);
        }
    }
    rooms
}

/// The first place of each id; repeats are another fault.
fn places<'a>(ids: impl Iterator<Item = &'a str>) -> FxHashMap<&'a str, usize> {
    let mut places = FxHashMap::default();
    for (place, id) in ids.enumerate() {
        places.entry(id).or_insert(place);
    }
    places
}
