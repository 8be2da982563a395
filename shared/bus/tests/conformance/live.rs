//! Publishing and following.

use crate::common::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use weft_bus::{Bus, BusError, Delivery, First, Inlet, PublishError, ReadFrom, Signal, Stamp};
use weft_event::{Epoch, Room, fingerprint};

pub async fn events_arrive_in_order(mut world: World) {
    let (publisher, follower) = (world.bus().await, world.bus().await);
    let seen = Recorder::on(&follower);
    let room = room("execution:e");
    follower.follow(std::slice::from_ref(&room)).await.expect("follows");
    let mut acks = Vec::new();
    for n in 0..50 {
        acks.push(publish(&publisher, &room, format!("{{\"n\":{n}}}")).await);
    }
    let batch = (50..150).map(|n| publication(&room, format!("{{\"n\":{n}}}"))).collect();
    acks.extend(publisher.publish_batch(batch).await.into_iter().map(|ack| ack.expect("stored")));
    seen.until_events(150).await;
    let expected: Vec<_> = (0..150).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(seen.payloads(&room), expected);
    let events = seen.events();
    if !world.is_durable() {
        assert!(events.iter().all(|event| event.stamp == Stamp::Volatile));
        assert!(acks.iter().all(|ack| ack.position.is_none()));
        return;
    }
    assert_linked(&events);
    let acked: Vec<_> = acks.iter().map(|ack| ack.position.expect("a position")).collect();
    assert_eq!(positions(&events), acked);
    assert!(events.iter().zip(&acked).all(|(event, at)| at.check == fingerprint(&event.payload)));
}

pub async fn only_followed_rooms_are_heard(mut world: World) {
    let (publisher, follower) = (world.bus().await, world.bus().await);
    let seen = Recorder::on(&follower);
    let (wanted, other, left) = (room("execution:wanted"), room("execution:other"), room("execution:left"));
    follower.follow(&[wanted.clone(), left.clone(), wanted.clone()]).await.expect("follows");
    publish(&publisher, &left, "{\"n\":1}").await;
    seen.until_events(1).await;
    follower.unfollow(&left);
    // What was on its way has arrived when another follow is confirmed and its event is there.
    follower.follow(std::slice::from_ref(&wanted)).await.expect("follows twice");
    publish(&publisher, &other, "{}").await;
    publish(&publisher, &wanted, "{\"n\":2}").await;
    seen.until_events(2).await;
    assert_eq!(seen.payloads(&wanted), ["{\"n\":2}"], "once, though followed twice");
    assert!(seen.payloads(&other).is_empty());
    // Followed again, it is heard again, even though it was left a moment ago.
    follower.follow(std::slice::from_ref(&left)).await.expect("follows again");
    publish(&publisher, &left, "{\"n\":3}").await;
    seen.until("the room that was followed again", |seen| seen.payloads(&left).contains(&"{\"n\":3}".to_owned())).await;
}

pub async fn the_same_id_is_stored_once_a_room(mut world: World) {
    let bus = world.bus().await;
    let seen = Recorder::on(&bus);
    let (one, two) = (room("execution:e"), room("user:u"));
    bus.follow(&[one.clone(), two.clone()]).await.expect("follows");
    let first = bus.publish(with_id(&one, "id-1", "{\"n\":1}")).await.expect("stored");
    let again = bus.publish(with_id(&one, "id-1", "{\"n\":1}")).await.expect("known");
    let elsewhere = bus.publish(with_id(&two, "id-1", "{\"n\":1}")).await.expect("stored");
    let batch = vec![with_id(&one, "id-1", "{\"n\":1}"), with_id(&one, "id-2", "{\"n\":2}"), with_id(&one, "id-2", "{\"n\":2}")];
    let batch: Vec<_> = bus.publish_batch(batch).await.into_iter().map(|ack| ack.expect("stored")).collect();
    assert!(!first.duplicate && again.duplicate && !elsewhere.duplicate);
    assert_eq!(batch.iter().map(|ack| ack.duplicate).collect::<Vec<_>>(), [true, false, true]);
    let place = |ack: &weft_bus::Ack| ack.position.map(|at| (at.epoch, at.seq));
    assert_eq!(place(&again), place(&first));
    assert_eq!(place(&batch[2]), place(&batch[1]));
    publish(&bus, &one, "{\"last\":1}").await;
    seen.until("the last event", |seen| seen.payloads(&one).contains(&"{\"last\":1}".to_owned())).await;
    assert_eq!(seen.payloads(&one), ["{\"n\":1}", "{\"n\":2}", "{\"last\":1}"]);
    assert_eq!(read_all(&bus, &one).await.len(), 3);
    assert_eq!(read_all(&bus, &two).await.len(), 1);
}

pub async fn batches_keep_the_order_of_each_room(mut world: World) {
    let (publisher, follower) = (world.bus().await, world.bus().await);
    let seen = Recorder::on(&follower);
    let rooms: Vec<Room> = (0..5).map(|n| room(&format!("execution:e{n}"))).collect();
    follower.follow(&rooms).await.expect("follows");
    let batch = (0..1000).map(|n| publication(&rooms[n % 5], format!("{{\"n\":{n}}}"))).collect();
    for ack in publisher.publish_batch(batch).await {
        ack.expect("stored");
    }
    seen.until_events(1000).await;
    for (index, room) in rooms.iter().enumerate() {
        let expected: Vec<_> = (0..1000).filter(|n| n % 5 == index).map(|n| format!("{{\"n\":{n}}}")).collect();
        assert_eq!(seen.payloads(room), expected);
    }
    assert!(publisher.publish_batch(Vec::new()).await.is_empty());
}

pub async fn first_and_trace_context_travel(mut world: World) {
    let bus = world.bus().await;
    let seen = Recorder::on(&bus);
    let user = room("user:u.1");
    bus.follow(std::slice::from_ref(&user)).await.expect("follows");
    let first = First { room: room("execution:e.1").in_tenant(Some("acme")).expect("tenant"), epoch: Epoch(0xfeed), seq: 7 };
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut copy = with_id(&user, "id", "{\"n\":1}");
    (copy.first, copy.traceparent) = (Some(first.clone()), Some(trace.into()));
    bus.publish(copy).await.expect("stored");
    let mut hostile = publication(&user, "{\"n\":2}");
    hostile.traceparent = Some("a\r\nWeft-First: execution:x 1 1\n{}".into());
    bus.publish(hostile).await.expect("stored");
    seen.until_events(2).await;
    for events in [seen.events(), read_all(&bus, &user).await] {
        assert_eq!((&events[0].first, events[0].traceparent.as_deref()), (&Some(first.clone()), Some(trace)));
        assert_eq!(events[1].first, None, "a header was smuggled in");
        assert_eq!(text(&events[1].payload), "{\"n\":2}");
    }
    let stored = read_all(&bus, &user).await;
    assert!(stored.iter().all(|event| event.stored_ms.is_some_and(|ms| ms > 1_700_000_000_000)));
}

pub async fn two_thousand_rooms(mut world: World) {
    let (publisher, follower) = (world.bus().await, world.bus().await);
    let seen = Recorder::on(&follower);
    let rooms: Vec<Room> = (0..2000).map(|n| room(&format!("execution:e{n}"))).collect();
    follower.follow(&rooms).await.expect("follows");
    let batch = rooms.iter().map(|room| publication(room, format!("{{\"room\":\"{room}\"}}"))).collect();
    for ack in publisher.publish_batch(batch).await {
        ack.expect("stored");
    }
    seen.until_events(2000).await;
    for event in seen.events() {
        assert_eq!(text(&event.payload), format!("{{\"room\":\"{}\"}}", event.room));
    }
    if world.is_durable() {
        let tails = follower.tails(&rooms).await.expect("tails");
        let mut last: Vec<_> = tails.iter().map(|tail| (tail.at.seq, tail.at.check)).collect();
        let mut heard: Vec<_> = positions(&seen.events()).iter().map(|at| (at.seq, at.check)).collect();
        last.sort_unstable();
        heard.sort_unstable();
        assert_eq!(last, heard);
    }
    rooms.iter().for_each(|room| follower.unfollow(room));
}

pub async fn names_of_all_shapes(mut world: World) {
    let (publisher, follower) = (world.bus().await, world.bus().await);
    let seen = Recorder::on(&follower);
    let id = "A-Z_a.b:c~d@e";
    let names = [format!("execution:{id}"), format!("user:{id}"), format!("agent:a.b:{id}"), format!("kb:{}", "x".repeat(128))];
    let mut rooms: Vec<Room> = names.iter().map(|name| room(name)).collect();
    rooms.extend(names.iter().map(|name| room(name).in_tenant(Some("acme-1")).expect("tenant")));
    follower.follow(&rooms).await.expect("follows");
    for room in &rooms {
        let mut event = with_id(room, "i.d:~@", format!("{{\"room\":\"{}\"}}", room.broker_name()));
        event.traceparent = None;
        publisher.publish(event).await.expect("stored");
    }
    seen.until_events(rooms.len()).await;
    for event in seen.events() {
        assert_eq!(text(&event.payload), format!("{{\"room\":\"{}\"}}", event.room.broker_name()));
    }
    if world.is_durable() {
        for room in &rooms {
            assert_eq!(read_all(&follower, room).await.len(), 1, "{room:?}");
        }
    }
}

pub async fn a_raw_publish_arrives(mut world: World) {
    let follower = world.bus().await;
    let seen = Recorder::on(&follower);
    let room = room("execution:exec-1");
    follower.follow(std::slice::from_ref(&room)).await.expect("follows");
    world.publish_raw(&room, "{\"type\":\"log\"}").await;
    seen.until_events(1).await;
    assert_eq!(seen.payloads(&room), ["{\"type\":\"log\"}"]);
    let is_stored = matches!(world.setup, Setup::JetStream(_));
    assert_eq!(matches!(seen.events()[0].stamp, Stamp::Stored { .. }), is_stored);
    if world.is_durable() {
        assert_eq!(read_all(&follower, &room).await.len(), usize::from(is_stored));
    }
}

/// What the broker cannot take is refused, and the connection lives on.
pub async fn an_event_may_be_too_large(mut world: World) {
    let bus = world.bus().await;
    let room = room("execution:e");
    let huge = bus.publish(publication(&room, "x".repeat(1 << 21))).await;
    assert!(matches!(huge, Err(PublishError::TooLarge(_))), "{huge:?}");
    let batch = vec![publication(&room, "{}"), publication(&room, "x".repeat(1 << 21)), publication(&room, "{}")];
    let results = bus.publish_batch(batch).await;
    assert!(results[0].is_ok() && matches!(results[1], Err(PublishError::TooLarge(_))), "{results:?}");
    assert_eq!(results[2], Err(PublishError::AfterFailure), "what follows a failure would be out of order");
}

/// An inlet that does not return holds up the reader; what comes meanwhile waits in the socket.
pub async fn a_slow_inlet_loses_nothing(mut world: World) {
    struct Slow(Recorder, AtomicBool);
    impl Inlet for Slow {
        fn event(&self, delivery: Delivery) {
            while !self.1.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.0.event(delivery);
        }
        fn signal(&self, signal: Signal) {
            self.0.signal(signal);
        }
    }
    let publisher = world.bus().await;
    // Threads of its own: a blocked one may be the one that would wait for sockets and timers, those of this test too.
    let apart = tokio::runtime::Runtime::new().expect("a runtime");
    let connecting = Bus::connect(world.config.clone());
    let follower = apart.spawn(connecting).await.expect("no panic").expect("connects");
    let slow = Arc::new(Slow(Recorder::default(), AtomicBool::new(false)));
    follower.attach(slow.clone());
    let room = room("execution:e");
    follower.follow(std::slice::from_ref(&room)).await.expect("follows");
    let batch = (0..2000).map(|n| publication(&room, format!("{{\"n\":{n}}}"))).collect();
    for ack in publisher.publish_batch(batch).await {
        ack.expect("stored");
    }
    // Long enough for a barrier to go unanswered, too short for the connection to be given up.
    tokio::time::sleep(Duration::from_secs(3)).await;
    slow.1.store(true, Ordering::Relaxed);
    slow.0.until("all of them", |seen| seen.payloads(&room).len() >= 2000).await;
    let expected: Vec<String> = (0..2000).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(slow.0.payloads(&room), expected);
    apart.shutdown_background();
}

pub async fn nothing_is_stored(mut world: World) {
    let bus = world.bus().await;
    let room = room("execution:e");
    assert!(!bus.is_durable());
    publish(&bus, &room, "{}").await;
    assert_eq!(bus.read(&room, ReadFrom::Start, STEP).await.map(|_| ()), Err(BusError::NotDurable));
    assert_eq!(bus.tails(std::slice::from_ref(&room)).await.map(|_| ()), Err(BusError::NotDurable));
    assert_eq!(bus.renew_epoch(&room, Epoch(1)).await.map(|_| ()), Err(BusError::NotDurable));
    assert_eq!(bus.load_head(&room).await.map(|_| ()), Err(BusError::NotDurable));
}
