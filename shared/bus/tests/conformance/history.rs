//! Pages, anchors, tails, epochs.

use crate::common::*;
use weft_bus::{Anchor, PageLimit, ReadFrom};
use weft_event::{Epoch, Position};

pub async fn pages_are_bounded_and_complete(mut world: World) {
    let bus = world.bus().await;
    let (room, other) = (room("execution:e"), room("execution:other"));
    let mut acked = Vec::new();
    for n in 0..6 {
        acked.extend(publish_numbers(&bus, &room, n * 10..(n + 1) * 10).await);
        publish_numbers(&bus, &other, 0..3).await;
    }
    let limit = PageLimit { events: 7, bytes: 1 << 20 };
    let (mut from, mut found, mut pages) = (ReadFrom::Start, Vec::new(), 0);
    loop {
        let page = bus.read(&room, from, limit).await.expect("reads");
        assert_eq!(page.anchor, Anchor::Held);
        assert!(page.events.len() <= 7);
        from = ReadFrom::After(page.last().expect("not empty"));
        (pages, found) = (pages + 1, [found, page.events].concat());
        if !page.more {
            break;
        }
    }
    assert_eq!((pages, positions(&found)), (9, acked.clone()));
    assert_linked(&found);
    let page = bus.read(&room, from, limit).await.expect("reads");
    assert_eq!((page.anchor, page.events.len(), page.more), (Anchor::Held, 0, false), "nothing after the last");
    // By bytes: `{"n":0}` is seven.
    let page = bus.read(&room, ReadFrom::Start, PageLimit { events: 100, bytes: 21 }).await.expect("reads");
    assert_eq!((page.events.len(), page.more), (3, true));
    let page = bus.read(&room, ReadFrom::Start, PageLimit { events: 100, bytes: 1 }).await.expect("reads");
    assert_eq!((page.events.len(), page.more), (1, true), "at least one");
    let all = bus.read(&room, ReadFrom::After(Position::start(page.epoch)), LARGE).await.expect("reads");
    assert_eq!((all.anchor, positions(&all.events)), (Anchor::Held, acked));
}

/// An event of the largest legal size is read whatever the page's bytes.
pub async fn large_events_are_read(mut world: World) {
    let bus = world.bus().await;
    let room = room("execution:large");
    let mut acked = Vec::new();
    for n in 0..3 {
        let payload = format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(960 * 1024 - 20));
        acked.push(publish(&bus, &room, payload).await.position.expect("a position"));
    }
    let mut from = ReadFrom::Start;
    for (index, at) in acked.iter().enumerate() {
        let page = bus.read(&room, from, PageLimit { events: 10, bytes: 1 }).await.expect("reads");
        assert_eq!((page.anchor, positions(&page.events), page.more), (Anchor::Held, vec![*at], index < 2));
        from = ReadFrom::After(*at);
    }
    assert_eq!(positions(&read_all(&bus, &room).await), acked);
    assert_eq!(bus.tails(std::slice::from_ref(&room)).await.expect("tails")[0].at, acked[2]);
}

pub async fn an_anchor_is_verified(mut world: World) {
    let bus = world.bus().await;
    let (room, other) = (room("execution:e"), room("execution:other"));
    let acked = publish_numbers(&bus, &room, 0..10).await;
    let theirs = publish_numbers(&bus, &other, 0..10).await;
    let read = async |at| bus.read(&room, ReadFrom::After(at), STEP).await.expect("reads");
    let page = read(acked[4]).await;
    assert_eq!((page.anchor, positions(&page.events)), (Anchor::Held, acked[5..].to_vec()));
    let last = theirs[9].seq.max(acked[9].seq);
    for (at, what) in [
        (Position { check: acked[4].check ^ 1, ..acked[4] }, "another event under the number"),
        (Position { check: acked[9].check ^ 1, ..acked[9] }, "another last event"),
        (Position { epoch: Epoch(acked[4].epoch.0 ^ 1), ..acked[4] }, "another epoch"),
        (Position { seq: last + 1, ..acked[9] }, "a number not reached yet"),
    ] {
        let page = read(at).await;
        assert_eq!((page.anchor, page.events.len(), page.more), (Anchor::Changed, 0, false), "{what}");
        assert_eq!(page.epoch, acked[0].epoch, "{what}");
    }
}

pub async fn tails_stand_at_the_last_event(mut world: World) {
    let bus = world.bus().await;
    let rooms = [room("execution:a"), room("execution:b"), room("execution:none")];
    let a = publish_numbers(&bus, &rooms[0], 0..4).await;
    let b = publish_numbers(&bus, &rooms[1], 4..6).await;
    let tails = bus.tails(&rooms).await.expect("tails");
    assert_eq!((tails[0].at, tails[1].at), (a[3], b[1]));
    assert_eq!(tails[2].at.check, 0);
    if let Some(first) = tails[0].first_seq {
        assert_eq!(first, a[0].seq);
    }
    assert_eq!(bus.tails(&[]).await.expect("none"), []);
}

pub async fn an_empty_tail_is_a_place_to_resume_from(mut world: World) {
    let bus = world.bus().await;
    let (room, other) = (room("execution:quiet"), room("execution:busy"));
    publish_numbers(&bus, &other, 0..5).await;
    let empty = bus.tails(std::slice::from_ref(&room)).await.expect("tails")[0].at;
    assert_eq!(empty.check, 0);
    let page = bus.read(&room, ReadFrom::After(empty), STEP).await.expect("reads");
    assert_eq!((page.anchor, page.events.len()), (Anchor::Held, 0));
    publish_numbers(&bus, &other, 5..10).await;
    let page = bus.read(&room, ReadFrom::After(empty), STEP).await.expect("reads");
    assert_eq!((page.anchor, page.events.len()), (Anchor::Held, 0), "others' events are none of ours");
    let acked = publish_numbers(&bus, &room, 0..3).await;
    assert_eq!(acked[0].epoch, empty.epoch, "asking for a tail fixes the epoch");
    assert!(acked[0].seq > empty.seq);
    let page = bus.read(&room, ReadFrom::After(empty), STEP).await.expect("reads");
    assert_eq!((page.anchor, positions(&page.events)), (Anchor::Held, acked));
    let beyond = Position { seq: empty.seq + 1000, ..empty };
    let page = bus.read(&room, ReadFrom::After(beyond), STEP).await.expect("reads");
    assert_eq!(page.anchor, Anchor::Changed);
}

pub async fn an_epoch_is_renewed_once(mut world: World) {
    let (one, two) = (world.bus().await, world.bus().await);
    let room = room("execution:e");
    let old = publish_numbers(&one, &room, 0..3).await[2];
    let (by_one, by_two) = tokio::join!(one.renew_epoch(&room, old.epoch), two.renew_epoch(&room, old.epoch));
    let (by_one, by_two) = (by_one.expect("renews"), by_two.expect("renews"));
    assert_eq!(by_one, by_two, "somebody else's renewal counts");
    assert_ne!(by_one, old.epoch);
    assert_eq!(one.renew_epoch(&room, old.epoch).await.expect("renews"), by_one);
    for bus in [&one, &two] {
        let page = bus.read(&room, ReadFrom::After(old), STEP).await.expect("reads");
        assert_eq!((page.anchor, page.epoch), (Anchor::Changed, by_one));
        assert_eq!(bus.tails(std::slice::from_ref(&room)).await.expect("tails")[0].at.epoch, by_one);
    }
    let next = publish_numbers(&two, &room, 3..4).await[0];
    assert_eq!(next.epoch, by_one);
    let held = positions(&read_all(&one, &room).await);
    assert_eq!(held.last(), Some(&next));
    assert!(held.iter().all(|at| at.epoch == by_one));
}

/// Follow, then read, then merge: no event is in neither.
pub async fn following_and_reading_leave_no_seam(mut world: World) {
    let (publisher, follower) = (world.bus().await, world.bus().await);
    let seen = Recorder::on(&follower);
    for round in 0..100 {
        let room = room(&format!("execution:e{round}"));
        let publishing = {
            let (publisher, room) = (publisher.clone(), room.clone());
            tokio::spawn(async move { publish_numbers(&publisher, &room, 0..20).await })
        };
        // Somewhere in the middle of it.
        tokio::time::sleep(std::time::Duration::from_micros(round * 37)).await;
        follower.follow(std::slice::from_ref(&room)).await.expect("follows");
        let mut held = positions(&read_all(&follower, &room).await);
        let acked = publishing.await.expect("publishes");
        let last = *acked.last().expect("some");
        if held.last() != Some(&last) {
            seen.until("the last event", |seen| seen.events().iter().any(|event| event.position() == Some(last))).await;
        }
        let live = seen.events();
        held.extend(live.iter().filter(|event| event.room == room).filter_map(|event| event.position()));
        held.sort_unstable_by_key(|at| at.seq);
        held.dedup();
        assert_eq!(held, acked, "round {round}");
        follower.unfollow(&room);
        seen.forget();
    }
}
