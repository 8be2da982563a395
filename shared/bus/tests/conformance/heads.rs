//! Execution heads and announcements.

use crate::common::*;
use bytes::Bytes;
use weft_bus::{Expect, HeadQuery, Presence, Retention, StoreError, heads};
use weft_event::{Head, Limits, Position, Snapshot, Status, prepare};

pub async fn a_head_is_written_by_compare_and_set(mut world: World) {
    let (one, two) = (world.bus().await, world.bus().await);
    let room = room("execution:e.1");
    assert!(one.load_head(&room).await.expect("loads").is_none());
    let head = Head::new(None, "e.1", Some("u"), 1_700_000_000_000);
    let (a, b) = tokio::join!(one.store_head(&head, Expect::Absent), two.store_head(&head, Expect::Absent));
    let stored = match (a, b) {
        (Ok(revision), Err(StoreError::Conflict)) | (Err(StoreError::Conflict), Ok(revision)) => revision,
        other => panic!("exactly one must win: {other:?}"),
    };
    let (loaded, revision) = two.load_head(&room).await.expect("loads").expect("is there");
    assert_eq!((loaded.owner.as_deref(), loaded.created_ms, revision), (Some("u"), head.created_ms, stored));
    let next = one.store_head(&loaded, Expect::At(revision)).await.expect("stored");
    assert_ne!(next, revision);
    assert_eq!(two.store_head(&loaded, Expect::At(revision)).await, Err(StoreError::Conflict));
    assert_eq!(two.store_head(&loaded, Expect::Absent).await, Err(StoreError::Conflict));
    two.store_head(&loaded, Expect::At(next)).await.expect("stored");
    let tenant = room.in_tenant(Some("acme")).expect("tenant");
    assert!(one.load_head(&tenant).await.expect("loads").is_none(), "another tenant's");
}

pub async fn lists_are_newest_first_by_owner_and_tenant(mut world: World) {
    let bus = world.bus().await;
    let now = 1_760_000_000_000;
    for n in 0..12_u64 {
        let owner = if n % 2 == 0 { Some("even.1") } else { Some("odd") };
        // Two are made in the same millisecond: the id decides.
        let head = Head::new(None, &format!("e{n:02}"), owner, now + n / 2);
        bus.store_head(&head, Expect::Absent).await.expect("stored");
    }
    bus.store_head(&Head::new(None, "orphan", None, now - 1), Expect::Absent).await.expect("stored");
    bus.store_head(&Head::new(Some("acme"), "e00", Some("odd"), now), Expect::Absent).await.expect("stored");
    let list = async |tenant: Option<&str>, owner: Option<&str>, after, limit| {
        let query = HeadQuery { tenant: tenant.map(Into::into), owner: owner.map(Into::into), after, limit };
        let found = bus.list_heads(&query).await.expect("lists");
        found.into_iter().map(|head| head.execution_id).collect::<Vec<_>>()
    };
    let all: Vec<String> = (0..12).rev().map(|n| format!("e{n:02}")).chain(["orphan".to_owned()]).collect();
    assert_eq!(list(None, None, None, 100).await, all);
    assert_eq!(list(None, Some("even.1"), None, 3).await, ["e10", "e08", "e06"]);
    assert_eq!(list(None, Some("even.1"), Some((now + 3, "e06".into())), 100).await, ["e04", "e02", "e00"]);
    assert_eq!(list(None, None, Some((now + 5, "e11".into())), 2).await, ["e10", "e09"]);
    assert_eq!(list(Some("acme"), None, None, 100).await, ["e00"]);
    assert_eq!(list(Some("acme"), Some("even.1"), None, 100).await, [""; 0]);
    assert_eq!(list(None, Some("odd"), None, 0).await, [""; 0]);
    // A head that is written again stays one entry.
    let (head, revision) = bus.load_head(&room("execution:e03")).await.expect("loads").expect("is there");
    bus.store_head(&head, Expect::At(revision)).await.expect("stored");
    assert_eq!(list(None, None, None, 100).await, all);
}

pub async fn a_head_follows_a_long_room(mut world: World) {
    world.keep(Retention { events: 1_000, ..Retention::default() });
    let bus = world.bus().await;
    let (room, limits) = (room("execution:long"), Limits::default());
    let event =
        |kind: &str, data: String| format!("{{\"type\":\"{kind}\",\"executionId\":\"long\",\"userId\":\"u\",\"data\":{data}}}");
    let first = prepare(event("execution:started", "{}".into()).into(), None, &limits).expect("valid");
    bus.publish(publication(&room, text(&first.body))).await.expect("stored");
    let (head, _) = heads::ensure(&bus, &first, None, 5).await.expect("ensures").expect("durable");
    assert_eq!((head.owner.as_deref(), head.created_ms), (Some("u"), 5));
    let again = heads::ensure(&bus, &first, None, 9).await.expect("ensures").expect("durable");
    assert_eq!(again.0.created_ms, 5, "made once");
    for chunk in 0..40 {
        let numbers = chunk * 500..(chunk + 1) * 500;
        let batch =
            numbers.map(|n| publication(&room, event("execution:progress", format!("{{\"progress\":{}}}", n / 200)))).collect();
        for ack in bus.publish_batch(batch).await {
            ack.expect("stored");
        }
        heads::advance(&bus, &room, &limits, 10).await.expect("advances");
    }
    let last = publish(&bus, &room, event("execution:completed", "{\"result\":1}".into())).await.position;
    let other = world.bus().await;
    let head = heads::advance(&other, &room, &limits, 11).await.expect("advances").expect("is there");
    assert_eq!((head.status(), head.position()), (Status::Completed, last));
    assert!(!head.incomplete, "it was moved often enough to see everything");
    assert!(read_all(&other, &room).await.len() <= 1_000);
    // A head that fell behind retention says so.
    let (mut stale, revision) = other.load_head(&room).await.expect("loads").expect("is there");
    let old = weft_event::Position { seq: 1, check: 1, ..last.expect("a position") };
    stale.advance(stale.snapshot.clone(), old, 12);
    other.store_head(&stale, Expect::At(revision)).await.expect("stored");
    let head = heads::advance(&other, &room, &limits, 13).await.expect("advances").expect("is there");
    assert!(head.incomplete && head.position() == last);
}

/// A log in memory: what was stored, in order.
struct Held(Vec<(Position, Bytes)>);

impl heads::Held for Held {
    fn fold_after(&self, at: Option<Position>, snapshot: &mut Snapshot) -> Option<Position> {
        let from = self.0.iter().position(|(here, _)| Some(*here) == at)? + 1;
        for (_, body) in &self.0[from..] {
            let event = prepare(body.clone(), None, &Limits::default()).expect("valid");
            heads::fold_prepared(snapshot, &event, None);
        }
        self.0.last().map(|(last, _)| *last)
    }
}

pub async fn a_head_folds_what_is_held_and_reads_the_rest(mut world: World) {
    let bus = world.bus().await;
    let (room, limits) = (room("execution:held"), Limits::default());
    let mut all = Vec::new();
    for n in 0..20 {
        let kind = if n == 0 { "execution:started" } else { "execution:progress" };
        let body =
            format!("{{\"type\":\"{kind}\",\"executionId\":\"held\",\"userId\":\"u\",\"data\":{{\"progress\":{}}}}}", n * 5);
        let at = publish(&bus, &room, body.clone()).await.position.expect("a position");
        all.push((at, Bytes::from(body)));
    }
    let first = prepare(all[0].1.clone(), None, &limits).expect("valid");
    heads::ensure(&bus, &first, None, 5).await.expect("ensures").expect("durable");
    let advance = async |held: &Held, now_ms| {
        let head = heads::advance_with(&bus, &room, held, &limits, now_ms).await.expect("advances").expect("is there");
        (head.position(), head.snapshot.progress.map(|progress| progress.get().to_owned()))
    };
    // Where the head stands is not held: it is read, to the end.
    assert_eq!(advance(&Held(all[5..8].to_vec()), 6).await, (Some(all[19].0), Some("95".to_owned())));
    // From here on it folds what is held and no further: that is how one sees that nothing was read.
    let (mut head, revision) = bus.load_head(&room).await.expect("loads").expect("is there");
    head.advance(Snapshot::new("held"), all[9].0, 7);
    bus.store_head(&head, Expect::At(revision)).await.expect("stored");
    assert_eq!(advance(&Held(all[8..15].to_vec()), 8).await, (Some(all[14].0), Some("70".to_owned())));
    assert_eq!(advance(&Held(all[14..15].to_vec()), 9).await, (Some(all[14].0), Some("70".to_owned())), "nothing new");
    assert_eq!(advance(&Held(Vec::new()), 10).await, (Some(all[19].0), Some("95".to_owned())));
}

pub async fn announcements_come_and_go(mut world: World) {
    let (one, two) = (world.bus().await, world.bus().await);
    for (id, value) in [("gw.1", "a"), ("gw-2 ü*>", "b"), ("gw.1", "c")] {
        one.announce(Presence::Gateway, id, Bytes::from_static(value.as_bytes())).await.expect("announced");
    }
    two.announce(Presence::Executor, "gw.1", Bytes::from_static(b"{}")).await.expect("announced");
    let gateways = async || {
        let mut found = two.present(Presence::Gateway).await.expect("lists");
        found.sort();
        found.into_iter().map(|(id, value)| (id, text(&value))).collect::<Vec<_>>()
    };
    assert_eq!(gateways().await, [("gw-2 ü*>".to_owned(), "b".to_owned()), ("gw.1".to_owned(), "c".to_owned())]);
    two.withdraw(Presence::Gateway, "gw.1").await.expect("withdrawn");
    assert_eq!(gateways().await, [("gw-2 ü*>".to_owned(), "b".to_owned())]);
    assert_eq!(one.present(Presence::Executor).await.expect("lists").len(), 1);
    two.withdraw(Presence::Gateway, "nobody").await.expect("withdrawing nobody is fine");
}

pub async fn a_knowledge_base_has_one_owner(mut world: World) {
    let (one, two) = (world.bus().await, world.bus().await);
    let base = room("kb:docs.v1");
    assert_eq!(one.owner(&base).await, Ok(None));
    let (a, b) = tokio::join!(one.claim(&base, Some("u")), two.claim(&base, Some("v")));
    let winner = a.expect("claimed");
    assert_eq!(b.expect("claimed"), winner, "whoever is second is told the first");
    assert!(winner.as_deref() == Some("u") || winner.as_deref() == Some("v"));
    for _ in 0..3 {
        assert_eq!(two.claim(&base, None).await, Ok(winner.clone()));
    }
    assert_eq!(two.owner(&base).await, Ok(Some(winner)));
    let orphan = room("kb:orphan");
    assert_eq!(one.claim(&orphan, None).await, Ok(None));
    assert_eq!(two.claim(&orphan, Some("late")).await, Ok(None), "no owner stays no owner");
    assert_eq!(two.owner(&orphan).await, Ok(Some(None)));
    assert_eq!(one.owner(&base.in_tenant(Some("acme")).expect("tenant")).await, Ok(None), "another tenant's");
}
