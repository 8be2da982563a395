//! The metrics of the drivers.

use crate::{BusError, PublishError};
use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// Registers the help texts with whatever recorder the process has.
pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("weft_bus_up", "1 while the broker is connected and its live path confirmed");
    describe_counter!("weft_bus_reconnects_total", "times the live path was lost and restored");
    describe_histogram!("weft_bus_probe_seconds", Unit::Seconds, "round trip of the canary through the broker");
    describe_counter!("weft_bus_published_total", "publications by outcome");
    describe_counter!("weft_bus_live_dropped_total", "live events that the driver could not hand over, by cause");
    describe_gauge!("weft_bus_memory_bytes", Unit::Bytes, "in-process bus: bytes of the events of all rooms");
    describe_counter!("weft_bus_reads_total", "broker reads by kind");
    begin();
}

/// Begins at 0 what is first counted later: the first step of a series that was not there is no increase to Prometheus.
fn begin() {
    counter!("weft_bus_reconnects_total").increment(0);
    for cause in ["canary", "foreign", "foreign_frame", "reader_behind"] {
        dropped(cause, 0);
    }
    for kind in ["anchor", "epoch", "head", "head_list", "journal", "owner", "page", "record", "tail", "tails"] {
        counter!("weft_bus_reads_total", "kind" => kind).increment(0);
    }
    for outcome in ["duplicate", "stored", "sent", "unavailable", "full", "too_large", "refused", "after_failure"] {
        counter!("weft_bus_published_total", "outcome" => outcome).increment(0);
    }
}

pub(crate) fn up(is_up: bool) {
    gauge!("weft_bus_up").set(if is_up { 1.0 } else { 0.0 });
}

pub(crate) fn reconnected() {
    counter!("weft_bus_reconnects_total").increment(1);
}

pub(crate) fn probed(took: Duration) {
    histogram!("weft_bus_probe_seconds").record(took.as_secs_f64());
}

pub(crate) fn dropped(cause: &'static str, events: u64) {
    counter!("weft_bus_live_dropped_total", "cause" => cause).increment(events);
}

pub(crate) fn read(kind: &'static str) {
    counter!("weft_bus_reads_total", "kind" => kind).increment(1);
}

pub(crate) fn published(result: &Result<crate::Ack, PublishError>) {
    let outcome = match result {
        Ok(ack) if ack.duplicate => "duplicate",
        Ok(ack) if ack.position.is_some() => "stored",
        Ok(_) => "sent",
        Err(PublishError::Unavailable(_)) => "unavailable",
        Err(PublishError::Full(_)) => "full",
        Err(PublishError::TooLarge(_)) => "too_large",
        Err(PublishError::Refused(_)) => "refused",
        Err(PublishError::AfterFailure) => "after_failure",
    };
    counter!("weft_bus_published_total", "outcome" => outcome).increment(1);
}

/// An answer that does not have the expected form.
pub(crate) fn nonsense(what: &str) -> BusError {
    BusError::Unavailable(format!("the broker answered something else than {what}"))
}
