//! Clients that do not read: they cost next to nothing, disturb nobody, and miss nothing when they read again.

use crate::support::{Broker, Heard, Kind, SHARED, SOON, Socket, is_full, number, offset, publish, until};
use serde_json::{Value, json};
use weft_testkit::process::Process;

/// Bytes of text in each event.
const TEXT: usize = 10_000;
/// Enough that the noise of one measurement is small against what they may cost.
const STALLED: usize = 16;
const MEGABYTE: i64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_costs_less_than_a_megabyte_and_then_gets_the_rest() {
    for kind in SHARED {
        let each = if is_full() { 10_000 } else { 3_000 };
        let broker = Broker::start(kind).await;
        let gateway = broker
            .gateway(&[
                ("WEFT_LOG_BYTES_MAX", "1000000"),
                ("WEFT_LOGS_BYTES_MAX", "2000000"),
                ("WEFT_RETENTION_EVENTS", "50000"),
                ("WEFT_STALL_SECS", "600"),
                ("WEFT_PING_SECS", "600"),
            ])
            .await;
        let mut others = Vec::new();
        for _ in 0..2 {
            let mut socket = Socket::open(&gateway).await;
            socket.subscribe(json!({"executionId": "flood"})).await;
            others.push(socket);
        }
        // Once to warm up, once to see how much memory grows by itself, once with clients that do not read.
        flood(&gateway, &mut others, 1..=each).await;
        let warm = rss(&gateway);
        flood(&gateway, &mut others, each + 1..=2 * each).await;
        let control = rss(&gateway) - warm;
        let mut stalled = Vec::new();
        for _ in 0..STALLED {
            let mut socket = Socket::open_with(&gateway.address(), None, 4096).await.expect("an upgrade");
            socket.hear_a("connected").await;
            socket.subscribe(json!({"executionId": "flood"})).await;
            stalled.push(socket);
        }
        let before = rss(&gateway);
        flood(&gateway, &mut others, 2 * each + 1..=3 * each).await;
        let grown = rss(&gateway) - before;
        let of_each = (grown - control.max(0)) / STALLED as i64;
        eprintln!("{kind:?}: control {control}, with {STALLED} stalled clients {grown} bytes, {of_each} each");
        assert!(of_each < MEGABYTE, "{kind:?}: {of_each} bytes for each stalled client (control {control}, grown {grown})");
        assert!(gateway.metric("weft_gateway_log_bytes").await.expect("metrics") < 2_600_000.0, "{kind:?}");

        // Some read again: everything comes, in order.
        for mut socket in stalled.into_iter().take(2) {
            for n in 2 * each + 1..=3 * each {
                assert_eq!(socket.hear_number().await, n, "{kind:?}");
            }
            socket.hears_nothing_more().await;
        }
    }
}

fn rss(gateway: &Process) -> i64 {
    i64::try_from(gateway.rss_bytes().expect("its memory")).expect("a size")
}

fn event(n: u64) -> Value {
    json!({"type": "log", "executionId": "flood", "data": {"n": n, "level": "info", "message": "x".repeat(TEXT)}})
}

/// Publishes these numbers while the others read them all.
async fn flood(gateway: &Process, others: &mut [Socket], numbers: std::ops::RangeInclusive<u64>) {
    let publishing = async {
        let all: Vec<u64> = numbers.clone().collect();
        for some in all.chunks(50) {
            publish(gateway, some.iter().map(|n| event(*n)).collect()).await;
        }
    };
    let reading = futures_util::future::join_all(others.iter_mut().map(|socket| socket.hear_numbers(numbers.clone())));
    tokio::join!(publishing, reading);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_socket_is_closed_as_too_slow_and_its_client_goes_on_from_its_offset() {
    let broker = Broker::start(Kind::Redis).await;
    let gateway = broker.gateway(&[("WEFT_STALL_SECS", "3"), ("WEFT_PING_SECS", "600")]).await;
    let total = 1_500;
    let mut stalled = Socket::open_with(&gateway.address(), None, 4096).await.expect("an upgrade");
    stalled.hear_a("connected").await;
    stalled.subscribe(json!({"executionId": "flood"})).await;
    let mut other = Socket::open(&gateway).await;
    other.subscribe(json!({"executionId": "flood"})).await;
    flood(&gateway, std::slice::from_mut(&mut other), 1..=total).await;
    let is_closed = async || {
        gateway.metrics().await.expect("metrics").contains("weft_gateway_closes_total{code=\"4409\",reason=\"too_slow\"} 1")
    };
    until("the close of the stalled socket", is_closed).await;
    assert_eq!(gateway.metric("weft_gateway_connections").await.expect("metrics") as u64, 1);
    let unsent = gateway.metric("weft_gateway_failed_deliveries_total{reason=\"disconnected\"}").await.expect("metrics") as u64;
    // What lay in the socket's buffers still comes, then the end.
    let (mut next, mut last) = (1, None);
    while let Heard::Frame(frame) = stalled.next().await {
        assert_eq!(number(&frame), Some(next), "{frame}");
        (next, last) = (next + 1, Some(offset(&frame)));
    }
    assert!(next <= total, "it was never stalled");
    // What the log still held of what it had not got; the socket may have held back a frame that had begun.
    assert!(unsent > 0 && unsent <= total - next + 2, "{unsent} counted, {} not got", total - next + 1);
    let mut back = Socket::open(&gateway).await;
    let answer = back.subscribe(json!({"executionId": "flood", "offset": last.expect("some came")})).await;
    assert_eq!(answer["outcome"], "resumed", "{answer}");
    back.hear_numbers(next..=total).await;
    back.hears_nothing_more().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_answers_no_ping_is_taken_for_dead() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_PING_SECS", "1"), ("WEFT_PONG_SECS", "2")]).await;
    // A library that is not polled answers nothing.
    let mut dead = Socket::open(&gateway).await;
    let mut lively = Socket::open(&gateway).await;
    let is_closed = async || {
        lively.hears_nothing_more().await;
        gateway.metrics().await.expect("metrics").contains("weft_gateway_closes_total{code=\"4408\",reason=\"ping_timeout\"} 1")
    };
    until("the close of the dead peer", is_closed).await;
    // Its library answers the pings first, to a connection that is gone, and may not come to read the code.
    assert!(matches!(dead.hear_close().await, Some(4408) | None));
    lively.hears_nothing_more().await;
}

/// A room without history cannot make up for what a slow client has not read, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_of_a_room_without_history_is_told_of_the_gap() {
    for kind in [Kind::NatsCore, Kind::RedisPubSub] {
        let broker = Broker::start(kind).await;
        let gateway = broker.gateway(&[("WEFT_LOG_BYTES_MAX", "200000"), ("WEFT_STALL_SECS", "600")]).await;
        let mut slow = Socket::open_with(&gateway.address(), None, 4096).await.expect("an upgrade");
        slow.hear_a("connected").await;
        slow.subscribe(json!({"executionId": "flood"})).await;
        let mut other = Socket::open(&gateway).await;
        other.subscribe(json!({"executionId": "flood"})).await;
        // The other keeps up: it reads each batch before the next is published.
        for first in (1..=1500).step_by(10) {
            flood(&gateway, std::slice::from_mut(&mut other), first..=first + 9).await;
        }
        let (mut last, mut gaps) = (0, 0);
        while last < 1500 {
            let frame = slow.hear().await;
            match number(&frame) {
                Some(n) => {
                    assert!(n == last + 1 || gaps > 0, "{kind:?}: {n} after {last} without a gap");
                    assert!(n > last, "{kind:?}: {n} after {last}");
                    last = n;
                }
                None => {
                    assert_eq!(frame["type"], "gap", "{kind:?}: {frame}");
                    gaps += 1;
                }
            }
        }
        assert!(gaps > 0, "{kind:?}: it was never slow");
    }
}

/// A socket that takes a little now and then is slow, not stalled.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_not_taken_for_a_stalled_one() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = broker.gateway(&[("WEFT_STALL_SECS", "4"), ("WEFT_PING_SECS", "2"), ("WEFT_PONG_SECS", "60")]).await;
    let mut slow = Socket::open_with(&gateway.address(), None, 4096).await.expect("an upgrade");
    slow.hear_a("connected").await;
    slow.subscribe(json!({"executionId": "flood"})).await;
    let mut other = Socket::open(&gateway).await;
    other.subscribe(json!({"executionId": "flood"})).await;
    let total = 1_000;
    flood(&gateway, std::slice::from_mut(&mut other), 1..=total).await;
    let began = tokio::time::Instant::now();
    for n in 1..=total {
        assert_eq!(slow.hear_number().await, n, "after {:?}", began.elapsed());
        // It takes about ten seconds for what is more than the sockets hold.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(began.elapsed() < SOON * 2);
}
