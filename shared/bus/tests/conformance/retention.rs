//! What is kept, and that what is not kept is told.

use crate::common::*;
use std::time::Duration;
use weft_bus::{Anchor, ReadFrom, Retention};

pub async fn by_count(mut world: World) {
    world.keep(Retention { events: 10, ..Retention::default() });
    let bus = world.bus().await;
    let room = room("execution:e");
    let acked = publish_numbers(&bus, &room, 0..25).await;
    publish_numbers(&bus, &crate::common::room("execution:other"), 0..9).await;
    assert_eq!(positions(&read_all(&bus, &room).await), acked[15..]);
    let read = async |at| bus.read(&room, ReadFrom::After(at), STEP).await.expect("reads");
    let trimmed = read(acked[3]).await;
    assert_eq!((trimmed.anchor, positions(&trimmed.events)), (Anchor::Trimmed, acked[15..].to_vec()));
    let held = read(acked[15]).await;
    assert_eq!((held.anchor, positions(&held.events)), (Anchor::Held, acked[16..].to_vec()));
    let empty = weft_event::Position::start(acked[0].epoch);
    assert_eq!(read(empty).await.anchor, Anchor::Trimmed, "the beginning is gone");
}

pub async fn by_bytes(mut world: World) {
    world.keep(Retention { bytes: 20_000, ..Retention::default() });
    let bus = world.bus().await;
    let room = room("execution:e");
    let mut acked = Vec::new();
    for n in 0..60 {
        let payload = format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(1000));
        acked.push(publish(&bus, &room, payload).await.position.expect("a position"));
    }
    let held = read_all(&bus, &room).await;
    let bytes: usize = held.iter().map(|event| event.payload.len()).sum();
    assert!(bytes <= 20_000 && held.len() >= 10, "{bytes} bytes in {} events", held.len());
    assert_eq!(positions(&held), acked[60 - held.len()..]);
    let page = bus.read(&room, ReadFrom::After(acked[0]), STEP).await.expect("reads");
    assert_eq!(page.anchor, Anchor::Trimmed);
    // One event larger than the bound is no reason to hold nothing in a room of its own; a whole stream may refuse it.
    if !matches!(world.setup, Setup::JetStream(_)) {
        let large = crate::common::room("execution:large");
        publish(&bus, &large, format!("{{\"pad\":\"{}\"}}", "x".repeat(30_000))).await;
        assert_eq!(read_all(&bus, &large).await.len(), 1);
    }
}

pub async fn by_age(mut world: World) {
    world.keep(Retention { age: Duration::from_secs(2), ..Retention::default() });
    let bus = world.bus().await;
    let room = room("execution:e");
    let acked = publish_numbers(&bus, &room, 0..3).await;
    eventually("the events expire", async || if read_all(&bus, &room).await.is_empty() { Ok(()) } else { Err("still there") })
        .await;
    let page = bus.read(&room, ReadFrom::After(acked[0]), STEP).await.expect("reads");
    assert_eq!((page.anchor, page.events.len()), (Anchor::Trimmed, 0));
    let next = publish_numbers(&bus, &room, 3..4).await;
    let page = bus.read(&room, ReadFrom::After(acked[0]), STEP).await.expect("reads");
    assert_eq!((page.anchor, positions(&page.events)), (Anchor::Trimmed, next.clone()));
    assert_eq!(next[0].epoch, acked[0].epoch, "expiry is no new history");
    assert!(next[0].seq > acked[2].seq);
}

pub async fn by_bytes_of_all_rooms(mut world: World) {
    world.config.memory_bytes = 40_000;
    let bus = world.bus().await;
    let (quiet, busy) = (room("execution:quiet"), room("execution:busy"));
    let early = publish_numbers(&bus, &quiet, 0..3).await;
    let mut acked = Vec::new();
    for n in 0..2_000 {
        let payload = format!("{{\"n\":{n},\"pad\":\"{}\"}}", "x".repeat(1000));
        acked.push(publish(&bus, &busy, payload).await.position.expect("a position"));
    }
    let held = positions(&read_all(&bus, &busy).await);
    assert!((20..40).contains(&held.len()), "{} events of about 1,300 bytes in 40,000", held.len());
    assert_eq!(held, acked[2_000 - held.len()..]);
    let page = bus.read(&quiet, ReadFrom::After(early[0]), STEP).await.expect("reads");
    assert_eq!((page.anchor, page.events.len()), (Anchor::Trimmed, 0), "the oldest of all went first, and it is told");
    let late = publish_numbers(&bus, &quiet, 3..4).await;
    assert_eq!(positions(&read_all(&bus, &quiet).await), late);
}
