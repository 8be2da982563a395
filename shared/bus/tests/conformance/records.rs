//! Records under a name, and journals.

use crate::common::*;
use bytes::Bytes;
use std::time::Duration;
use weft_bus::{Bus, BusError, Journal, Mark, PublishError, Record};

const KIND: Record = Record::Recovery;
const JOURNAL: Journal = Journal::Revocations;

pub async fn a_record_is_the_last_that_was_written(mut world: World) {
    let (one, two) = (world.bus().await, world.bus().await);
    assert_eq!(one.record(KIND, "a").await, Ok(None));
    one.put_record(KIND, "a", Bytes::from_static(b"1")).await.expect("stored");
    one.put_record(KIND, "a.b *>\u{e4}/%", Bytes::from_static(b"other")).await.expect("any name is taken");
    assert_eq!(two.record(KIND, "a").await, Ok(Some(Bytes::from_static(b"1"))));
    two.put_record(KIND, "a", Bytes::from_static(b"\0\xff")).await.expect("stored");
    assert_eq!(one.record(KIND, "a").await, Ok(Some(Bytes::from_static(b"\0\xff"))), "bytes, not text");
    two.remove_record(KIND, "a").await.expect("removed");
    two.remove_record(KIND, "a").await.expect("nothing to remove");
    assert_eq!(one.record(KIND, "a").await, Ok(None));
    assert_eq!(two.record(KIND, "a.b *>\u{e4}/%").await, Ok(Some(Bytes::from_static(b"other"))));
}

pub async fn records_and_lines_expire(mut world: World) {
    (world.config.record_age, world.config.journal_age) = (Duration::from_secs(1), Duration::from_secs(1));
    let bus = world.bus().await;
    bus.put_record(KIND, "a", Bytes::from_static(b"1")).await.expect("stored");
    bus.write_line(JOURNAL, Bytes::from_static(b"1")).await.expect("written");
    assert_eq!(read(&bus, &mut Mark::default()).await, ["1"]);
    eventually("expired", async || match (bus.record(KIND, "a").await, read(&bus, &mut Mark::default()).await) {
        (Ok(None), lines) if lines.is_empty() => Ok(()),
        other => Err(other),
    })
    .await;
    bus.put_record(KIND, "a", Bytes::from_static(b"2")).await.expect("stored again");
    assert_eq!(bus.record(KIND, "a").await, Ok(Some(Bytes::from_static(b"2"))));
}

/// A gateway keeps revocations for as long as tokens live; an executor knows nothing of that.
pub async fn a_journal_is_kept_as_long_as_any_process_has_needed(mut world: World) {
    world.config.journal_age = Duration::from_secs(3600);
    let gateway = world.bus().await;
    world.config.journal_age = Duration::from_secs(1);
    let executor = world.bus().await;
    executor.write_line(JOURNAL, Bytes::from_static(b"1")).await.expect("written");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(read(&gateway, &mut Mark::default()).await, ["1"]);
}

async fn read(bus: &Bus, mark: &mut Mark) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let found = bus.lines(JOURNAL, *mark, 7).await.expect("lines");
        assert!(found.lines.len() <= 7);
        all.extend(found.lines.iter().map(text));
        *mark = found.mark;
        if !found.more {
            return all;
        }
    }
}

pub async fn a_journal_is_read_from_any_mark(mut world: World) {
    let (one, two) = (world.bus().await, world.bus().await);
    let (mut early, mut late) = (Mark::default(), Mark::default());
    assert_eq!(read(&one, &mut early).await, [""; 0]);
    let mut expected = Vec::new();
    for n in 0..40 {
        let writer = if n % 2 == 0 { &one } else { &two };
        writer.write_line(JOURNAL, Bytes::from(format!("line {n}"))).await.expect("written");
        expected.push(format!("line {n}"));
    }
    assert_eq!(read(&one, &mut early).await, expected);
    assert_eq!(read(&one, &mut early).await, [""; 0], "nothing twice");
    one.write_line(JOURNAL, Bytes::from_static(b"more")).await.expect("written");
    assert_eq!(read(&two, &mut early).await, ["more"], "a mark holds for every process");
    expected.push("more".into());
    assert_eq!(read(&two, &mut late).await, expected);
}

pub async fn a_full_journal_refuses(mut world: World) {
    world.config.journal_lines = 3;
    let bus = world.bus().await;
    for n in 0..3 {
        bus.write_line(JOURNAL, Bytes::from(format!("line {n}"))).await.expect("written");
    }
    let refused = bus.write_line(JOURNAL, Bytes::from_static(b"one too many")).await;
    assert!(matches!(refused, Err(PublishError::Full(_))), "{refused:?}");
    assert_eq!(read(&bus, &mut Mark::default()).await, ["line 0", "line 1", "line 2"], "nothing gave way");
}

pub async fn a_wiped_journal_is_read_from_its_start(mut world: World) {
    let bus = world.bus().await;
    let mut mark = Mark::default();
    for n in 0..3 {
        bus.write_line(JOURNAL, Bytes::from(format!("old {n}"))).await.expect("written");
    }
    assert_eq!(read(&bus, &mut mark).await.len(), 3);
    world.kill();
    world.wipe();
    world.restart().await;
    eventually("written", async || bus.write_line(JOURNAL, Bytes::from_static(b"new")).await).await;
    let lines = eventually("read", async || {
        let found = bus.lines(JOURNAL, mark, 10).await?;
        if found.lines.is_empty() { Err(BusError::Unavailable("nothing yet".into())) } else { Ok(found.lines) }
    });
    // Written twice if an acknowledgement was lost.
    assert!(lines.await.iter().all(|line| text(line) == "new"));
}

pub async fn what_stores_nothing_says_so(mut world: World) {
    let bus = world.bus().await;
    assert_eq!(bus.record(KIND, "a").await, Err(BusError::NotDurable));
    assert_eq!(bus.put_record(KIND, "a", Bytes::new()).await, Err(BusError::NotDurable));
    assert_eq!(bus.lines(JOURNAL, Mark::default(), 1).await, Err(BusError::NotDurable));
    assert!(matches!(bus.write_line(JOURNAL, Bytes::new()).await, Err(PublishError::Refused(_))));
}
