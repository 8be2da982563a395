//! Each kind of fault, planted into an otherwise perfect record, is found, and only that one.

use super::*;
use crate::record::{Entry, Follow, Mark, Wishes};
use std::time::Duration;

const ROOM: &str = "execution:e";
const USER: &str = "user:u";

/// Ten events of one source, which reach the execution's and the user's room.
fn published(now: Instant) -> Vec<Published> {
    let rooms: Arc<[Arc<str>]> = [ROOM.into(), USER.into()].into();
    let event = |counter: u64| Published {
        id: format!("id-{counter}").into(),
        rooms: Arc::clone(&rooms),
        source: "p".into(),
        kind: Some("log".into()),
        counter,
        began: now + Duration::from_millis(counter),
        acked: true,
    };
    (1..=10).map(event).collect()
}

fn seen(now: Instant, room: &str, counter: u64) -> Entry {
    let event = SeenEvent {
        room: room.into(),
        id: Some(format!("id-{counter}").into()),
        kind: "log".into(),
        offset: None,
        mark: Some(Mark { source: "p".into(), counter }),
        skipped: 0,
        body: None,
    };
    Entry { at: now + Duration::from_millis(100 + counter), seen: Seen::Event(event) }
}

fn gap(now: Instant, room: &str) -> Entry {
    Entry { at: now + Duration::from_secs(1), seen: Seen::Gap { room: room.into(), body: serde_json::Value::Null } }
}

fn record(client: &str, follows: &[Follow], entries: Vec<Entry>) -> Record {
    Record { client: client.into(), follows: follows.to_vec(), entries, ..Record::default() }
}

/// The verdict on one client that follows the execution from its start and saw these numbers.
fn verdict(numbers: &[u64]) -> Verdict {
    let now = Instant::now();
    verdict_of(now, numbers.iter().map(|&number| seen(now, ROOM, number)).collect())
}

fn verdict_of(now: Instant, entries: Vec<Entry>) -> Verdict {
    let mut history = History::new();
    history.published(published(now));
    history.record(record("c", &[Follow::start(ROOM)], entries));
    history.check()
}

const ALL: [u64; 10] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

#[test]
fn a_perfect_record_is_whole() {
    let verdict = verdict(&ALL);
    assert!(verdict.is_whole(), "{verdict}");
    assert_eq!((verdict.clients.expected, verdict.clients.received), (10, 10));
}

#[test]
fn losses_are_found_in_the_middle_and_at_both_ends() {
    for (numbers, lost, gaps) in [
        (&[1, 2, 3, 4, 6, 7, 8, 9, 10][..], 1, 1),
        (&[1, 2, 5, 6, 7, 9, 10], 3, 2),
        (&[1, 2, 3, 4, 5, 6, 7], 3, 1),
        (&[4, 5, 6, 7, 8, 9, 10], 3, 1),
        (&[], 10, 1),
    ] {
        let verdict = verdict(numbers);
        assert_eq!((verdict.clients.lost, verdict.clients.gaps_silent), (lost, gaps), "{numbers:?}: {verdict}");
        assert!(!verdict.is_sound() && !verdict.samples.is_empty());
        assert_eq!((verdict.clients.duplicated, verdict.clients.misordered, verdict.clients.unexpected), (0, 0, 0));
    }
}

#[test]
fn repeats_are_found_at_once_and_much_later() {
    for numbers in [&[1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 2]] {
        let verdict = verdict(numbers);
        let Tally { lost, duplicated, misordered, .. } = verdict.clients;
        assert_eq!((lost, duplicated, misordered), (0, 1, 0), "{verdict}");
        assert!(!verdict.is_sound());
    }
}

#[test]
fn a_swap_is_found() {
    let verdict = verdict(&[1, 2, 4, 3, 5, 6, 7, 8, 9, 10]);
    let Tally { lost, duplicated, misordered, .. } = verdict.clients;
    assert_eq!((lost, duplicated, misordered), (0, 0, 1), "{verdict}");
    assert!(!verdict.is_sound());
}

#[test]
fn strangers_are_found() {
    let now = Instant::now();
    let strange = |change: &dyn Fn(&mut SeenEvent)| {
        let mut entries: Vec<Entry> = ALL.iter().map(|&number| seen(now, ROOM, number)).collect();
        if let Seen::Event(event) = &mut entries[4].seen {
            change(event);
        }
        verdict_of(now, entries)
    };
    type Change<'a> = &'a dyn Fn(&mut SeenEvent);
    let cases: [(&str, Change<'_>); 5] = [
        ("nobody published it", &|event| event.id = Some("id-99".into())),
        ("it has no id", &|event| event.id = None),
        ("not followed", &|event| event.room = "execution:other".into()),
        ("another one's", &|event| event.mark = Some(Mark { source: "p".into(), counter: 7 })),
        ("lost its number", &|event| event.mark = None),
    ];
    for (word, change) in cases {
        let verdict = strange(change);
        assert_eq!(verdict.clients.unexpected, 1, "{word}: {verdict}");
        assert!(verdict.samples.iter().any(|sample| sample.contains(word)), "{word}: {verdict}");
    }
    let malformed = Entry { at: now, seen: Seen::Malformed { text: "{".into() } };
    assert_eq!(verdict_of(now, vec![malformed]).clients.unexpected, 1);
}

#[test]
fn a_declared_gap_excuses_its_own_place_only() {
    let now = Instant::now();
    let with_gap_at = |place: usize, room: &str| {
        let mut entries: Vec<Entry> = [1, 2, 6, 7, 8, 9, 10].iter().map(|&number| seen(now, ROOM, number)).collect();
        entries.insert(place, gap(now, room));
        verdict_of(now, entries)
    };
    let verdict = with_gap_at(2, ROOM);
    assert_eq!((verdict.clients.lost, verdict.clients.excused), (0, 3), "{verdict}");
    assert!(verdict.is_sound() && !verdict.is_whole());
    for (place, room) in [(0, ROOM), (1, ROOM), (3, ROOM), (7, ROOM), (2, USER)] {
        let verdict = with_gap_at(place, room);
        assert_eq!((verdict.clients.lost, verdict.clients.excused), (3, 0), "gap at {place} of {room}: {verdict}");
    }
}

#[test]
fn a_gap_at_the_end_excuses_only_what_began_before_it() {
    let now = Instant::now();
    let mut entries: Vec<Entry> = [1, 2, 3].iter().map(|&number| seen(now, ROOM, number)).collect();
    entries.push(Entry { at: now + Duration::from_micros(6500), ..gap(now, ROOM) });
    let verdict = verdict_of(now, entries);
    assert_eq!((verdict.clients.excused, verdict.clients.lost), (3, 4), "{verdict}");
}

#[test]
fn a_follower_of_two_rooms_is_owed_each_event_once() {
    let now = Instant::now();
    let check = |entries: Vec<Entry>| {
        let mut history = History::new();
        history.published(published(now));
        history.record(record("c", &[Follow::start(USER), Follow::start(ROOM)], entries));
        history.check()
    };
    let once: Vec<Entry> = ALL.iter().map(|&number| seen(now, ROOM, number)).collect();
    let verdict = check(once.clone());
    assert!(verdict.is_whole(), "{verdict}");
    assert_eq!(verdict.clients.expected, 10);

    let mut twice = once;
    twice.push(seen(now, USER, 10));
    assert_eq!(check(twice).clients.duplicated, 1);
}

#[test]
fn a_live_follower_is_owed_what_began_after_its_answer_or_its_first_event() {
    let now = Instant::now();
    let check = |live_at: u64, numbers: &[u64]| {
        let answered =
            Seen::Subscribed { room: ROOM.into(), outcome: "live".into(), offset: None, again: false, refreshed: Vec::new() };
        let mut entries = vec![Entry { at: now + Duration::from_micros(live_at), seen: answered }];
        entries.extend(numbers.iter().map(|&number| seen(now, ROOM, number)));
        let mut history = History::new();
        history.published(published(now));
        history.record(record("c", &[Follow::live(ROOM)], entries));
        history.check()
    };
    assert!(check(4500, &[5, 6, 7, 8, 9, 10]).is_whole());
    assert!(check(4500, &[4, 5, 6, 7, 8, 9, 10]).is_whole(), "one in flight may come");
    assert_eq!(check(4500, &[6, 7, 8, 9, 10]).clients.lost, 1);
    assert_eq!(check(4500, &[3, 5, 6, 7, 8, 9, 10]).clients.lost, 1, "3 came, so 4 had to");
}

#[test]
fn unacknowledged_events_may_come_or_not() {
    let now = Instant::now();
    for numbers in [&ALL[..], &[1, 2, 3, 5, 6, 7, 8, 9, 10]] {
        let mut events = published(now);
        events[3].acked = false;
        let mut history = History::new();
        history.published(events);
        history.record(record("c", &[Follow::start(ROOM)], numbers.iter().map(|&number| seen(now, ROOM, number)).collect()));
        let verdict = history.check();
        assert!(verdict.is_whole(), "{verdict}");
        assert_eq!(verdict.clients.expected, 9);
    }
}

/// Two sources, one event each: every order is allowed, but the same one for all.
#[test]
fn clients_that_disagree_are_found() {
    let now = Instant::now();
    let check = |stored: Option<[&str; 2]>, orders: &[[usize; 2]]| {
        let mut events = published(now);
        events.truncate(2);
        events[1].source = "q".into();
        events[1].counter = 1;
        let mut history = History::new();
        history.published(events.clone());
        if let Some(ids) = stored {
            history.stored(ROOM, ids.map(str::to_owned));
        }
        for (client, order) in orders.iter().enumerate() {
            let entries = order.map(|index| {
                let mut entry = seen(now, ROOM, index as u64 + 1);
                if let Seen::Event(event) = &mut entry.seen {
                    event.mark = Some(Mark { source: Arc::clone(&events[index].source), counter: 1 });
                }
                entry
            });
            history.record(record(&client.to_string(), &[Follow::start(ROOM)], entries.into()));
        }
        history.check()
    };
    assert!(check(None, &[[1, 0], [1, 0]]).is_whole());
    let verdict = check(None, &[[0, 1], [1, 0]]);
    assert_eq!((verdict.disagreed, verdict.is_sound()), (1, false), "{verdict}");
    assert!(check(Some(["id-2", "id-1"]), &[[1, 0]]).is_whole());
    assert_eq!(check(Some(["id-1", "id-2"]), &[[1, 0]]).disagreed, 1);
}

#[test]
fn a_false_acknowledgement_and_a_double_store_are_found() {
    let now = Instant::now();
    let mut history = History::new();
    history.published(published(now));
    let mut ids: Vec<String> = ALL.iter().map(|number| format!("id-{number}")).collect();
    ids[3] = "id-3".into();
    history.stored(ROOM, ids);
    let verdict = history.check();
    assert_eq!((verdict.store.lost, verdict.store.duplicated, verdict.is_sound()), (1, 1, false), "{verdict}");
}

/// What a real executor published is known from the store alone.
#[test]
fn events_known_from_the_store_only_are_owed_too() {
    let now = Instant::now();
    let check = |numbers: &[u64]| {
        let mut history = History::new();
        let ids = || ALL.map(|number| format!("id-{number}"));
        history.stored(USER, ids());
        history.stored(ROOM, ids());
        let follows = [Follow::start(ROOM), Follow::start(USER)];
        history.record(record("c", &follows, numbers.iter().map(|&number| seen(now, ROOM, number)).collect()));
        history.check()
    };
    let verdict = check(&ALL);
    assert!(verdict.is_whole(), "{verdict}");
    assert_eq!(verdict.clients.expected, 10);
    let Tally { lost, duplicated, misordered, unexpected, .. } = check(&[1, 2, 4, 3, 5, 6, 6, 7, 8, 11]).clients;
    assert_eq!((lost, duplicated, misordered, unexpected), (2, 1, 1, 1));
}

#[test]
fn a_room_left_owes_nothing_but_the_other_still_does() {
    let now = Instant::now();
    let check = |by_user: &[u64]| {
        let mut entries: Vec<Entry> = [1, 2, 3].iter().map(|&number| seen(now, ROOM, number)).collect();
        entries.push(Entry { at: now, seen: Seen::Unsubscribed { room: ROOM.into() } });
        entries.extend(by_user.iter().map(|&number| seen(now, USER, number)));
        let mut history = History::new();
        history.published(published(now));
        history.record(record("c", &[Follow::start(ROOM), Follow::start(USER)], entries));
        history.check()
    };
    assert!(check(&[4, 5, 6, 7, 8, 9, 10]).is_whole());
    assert_eq!(check(&[5, 6, 7, 8, 9, 10]).clients.lost, 1);
    assert_eq!(check(&[3, 4, 5, 6, 7, 8, 9, 10]).clients.duplicated, 1);
}

/// The verdict on a client with these wishes, to whom ten events of one type were due: it got `number+skipped` of each.
fn wishful(wishes: &Wishes, kind: &str, got: &[(u64, u64)], was_cut: bool) -> Verdict {
    let now = Instant::now();
    let mut history = History::new();
    history.published(published(now).into_iter().map(|event| Published { kind: Some(kind.into()), ..event }));
    let mut entries: Vec<Entry> = got.iter().map(|(number, _)| seen(now, ROOM, *number)).collect();
    for (entry, (_, skipped)) in entries.iter_mut().zip(got) {
        let Seen::Event(event) = &mut entry.seen else { panic!("an event") };
        (event.kind, event.skipped) = (kind.into(), *skipped);
    }
    let record = record("c", &[Follow::start(ROOM)], entries);
    history.record(Record { wishes: wishes.clone(), disconnects: u32::from(was_cut), ..record });
    history.check()
}

#[test]
fn what_frames_stand_for_is_not_lost_to_who_asked_for_it() {
    let conflate = Wishes { conflate: true, ..Wishes::default() };
    let nine = [(1, 0), (10, 8)];
    for (wishes, kind, got, was_cut, [lost, spared, unexpected]) in [
        (&conflate, "node:progress", &nine[..], false, [0, 8, 0]),
        (&conflate, "agent:token", &nine, false, [0, 8, 0]),
        // Nobody asked, or it must not be.
        (&Wishes::default(), "node:progress", &nine, false, [8, 0, 1]),
        (&conflate, "log", &nine, false, [8, 0, 1]),
        // Fewer than are missing, which a cut explains of progress only.
        (&conflate, "node:progress", &[(1, 0), (10, 5)], false, [3, 5, 0]),
        (&conflate, "node:progress", &[(1, 0), (10, 5)], true, [0, 8, 0]),
        (&conflate, "agent:token", &[(1, 0), (10, 5)], true, [3, 5, 0]),
        (&conflate, "agent:token", &[], true, [10, 0, 0]),
    ] {
        let verdict = wishful(wishes, kind, got, was_cut);
        let tally = verdict.clients;
        assert_eq!([tally.lost, tally.spared, tally.unexpected], [lost, spared, unexpected], "{kind} {got:?}: {verdict}");
    }
}

#[test]
fn other_types_than_those_asked_for_are_neither_owed_nor_welcome() {
    let logs = Wishes { types: vec!["log".into()], ..Wishes::default() };
    let verdict = wishful(&logs, "node:started", &[], false);
    assert!(verdict.is_whole() && verdict.clients.expected == 0, "{verdict}");
    let verdict = wishful(&logs, "node:started", &[(1, 0)], false);
    assert_eq!(verdict.clients.unexpected, 1, "{verdict}");
    let verdict = wishful(&logs, "log", &[(1, 0)], false);
    assert_eq!(verdict.clients.lost, 9, "{verdict}");
}
