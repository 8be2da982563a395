//! What publishers and keepers of heads measure; one line of help each, and every series from the start: the first step of one
//! that was not there is no increase to Prometheus.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

const PENDING: &str = "weft_publisher_pending_events";
const BUFFER: &str = "weft_publisher_buffer_bytes";
const BUFFER_MAX: &str = "weft_publisher_buffer_bytes_max";
const STORED: &str = "weft_publisher_stored_total";
const STORE_SECONDS: &str = "weft_publisher_store_seconds";
const RETRIES: &str = "weft_publisher_retries_total";
const LOST: &str = "weft_publisher_lost_total";
const HEADS_KNOWN: &str = "weft_heads_known";
const HEAD_ADVANCES: &str = "weft_head_advances_total";
const HEAD_WAITS: &str = "weft_head_waits_exceeded_total";

/// A publisher begins, with so many bytes of buffer.
pub(crate) fn begin_publisher(buffer_bytes: usize) {
    describe_gauge!(PENDING, "Events not yet stored in all of their rooms");
    describe_gauge!(BUFFER, Unit::Bytes, "Bytes that these events take in the retry buffer");
    describe_gauge!(BUFFER_MAX, Unit::Bytes, "As many as they may");
    describe_counter!(STORED, "Events stored in every room they reach");
    describe_histogram!(STORE_SECONDS, Unit::Seconds, "From enqueueing an event to its being stored in every room");
    describe_counter!(RETRIES, "Events put back to be sent again");
    describe_counter!(LOST, "Events that could not be kept, by reason");
    gauge!(PENDING).increment(0.0);
    gauge!(BUFFER).increment(0.0);
    gauge!(BUFFER_MAX).set(buffer_bytes as f64);
    counter!(STORED).absolute(0);
    let _ = histogram!(STORE_SECONDS);
    counter!(RETRIES).absolute(0);
    for reason in ["full", "expired", "refused", "abandoned"] {
        counter!(LOST, "reason" => reason).absolute(0);
    }
}

/// A keeper of heads begins.
pub(crate) fn begin_heads() {
    describe_gauge!(HEADS_KNOWN, "Executions whose owner this process remembers");
    describe_counter!(HEAD_ADVANCES, "Attempts to move an execution's head to the end of what is stored, by result");
    describe_counter!(HEAD_WAITS, "Times that events went on although their execution's head was far behind");
    gauge!(HEADS_KNOWN).increment(0.0);
    for result in ["moved", "failed"] {
        counter!(HEAD_ADVANCES, "result" => result).absolute(0);
    }
    counter!(HEAD_WAITS).absolute(0);
}

/// One more event is under way.
pub(crate) fn enqueued() {
    gauge!(PENDING).increment(1.0);
}

/// An event is under way no more.
pub(crate) fn ended() {
    gauge!(PENDING).decrement(1.0);
}

/// An event has taken so many bytes of the buffer.
pub(crate) fn took(bytes: usize) {
    gauge!(BUFFER).increment(bytes as f64);
}

/// An event has given back so many bytes of the buffer.
pub(crate) fn gave_back(bytes: usize) {
    gauge!(BUFFER).decrement(bytes as f64);
}

/// An event is stored in every room it reaches.
pub(crate) fn stored(after: Duration) {
    counter!(STORED).increment(1);
    histogram!(STORE_SECONDS).record(after.as_secs_f64());
}

/// So many events are sent again.
pub(crate) fn retried(events: usize) {
    counter!(RETRIES).increment(events as u64);
}

/// An event could not be kept.
pub(crate) fn lost(reason: &'static str) {
    counter!(LOST, "reason" => reason).increment(1);
}

/// So many executions are remembered.
pub(crate) fn heads_known(count: usize) {
    gauge!(HEADS_KNOWN).set(count as f64);
}

/// A head was moved, or could not be.
pub(crate) fn head_advanced(result: &'static str) {
    counter!(HEAD_ADVANCES, "result" => result).increment(1);
}

/// Events did not wait for their head any longer.
pub(crate) fn head_wait_exceeded() {
    counter!(HEAD_WAITS).increment(1);
}
