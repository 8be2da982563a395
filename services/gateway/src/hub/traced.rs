//! The span of an event that its publisher traces: from being taken into a log to being handed to its last client here.

use bytes::Bytes;
use opentelemetry::{KeyValue, global::BoxedSpan, trace::Span as _};
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};
use weft_bus::Delivery;
use weft_publisher::trace::{self, Operation};

/// One a gateway and event, however many clients follow: a span each would cost more than the delivery.
pub struct Traced {
    span: Mutex<Option<BoxedSpan>>,
    begun: SystemTime,
    /// When it was last handed to a client, in microseconds after it was received.
    last: AtomicU64,
    clients: AtomicU64,
}

impl Traced {
    /// Begins the span of what was delivered, if its context is sampled; `system` is the bus's.
    pub fn begin(delivery: &Delivery, system: &'static str) -> Option<Box<Self>> {
        let parent = trace::sampled(delivery.traceparent.as_deref()?)?;
        let begun = SystemTime::now();
        let mut span = trace::begin(Operation::Process, &parent, system, &delivery.room, begun);
        span.set_attribute(KeyValue::new("messaging.message.body.size", delivery.payload.len() as i64));
        Some(Box::new(Self { span: Mutex::new(Some(span)), begun, last: AtomicU64::default(), clients: AtomicU64::default() }))
    }

    /// It was handed to a client, having come at `received`.
    pub fn handed(&self, received: Instant) {
        self.clients.fetch_add(1, Relaxed);
        self.last.fetch_max(received.elapsed().as_micros() as u64, Relaxed);
    }

    /// Those who keep up have it.
    pub fn end(&self) {
        let Some(mut span) = self.span.lock().take() else { return };
        span.set_attribute(KeyValue::new("weft.fanout.count", self.clients.load(Relaxed) as i64));
        span.end_with_timestamp(self.begun + Duration::from_micros(self.last.load(Relaxed)));
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.end();
    }
}

/// The published bytes with the trace context that came beside them, so that clients see it as well.
pub fn with_context(delivery: &Delivery) -> Option<Bytes> {
    let traceparent = delivery.traceparent.as_deref()?;
    trace::sampled(traceparent)?;
    let text = std::str::from_utf8(&delivery.payload).ok()?;
    let object = text.trim_end().strip_suffix('}')?;
    if text.contains("\"traceparent\"") {
        return None;
    }
    let comma = if object.trim_end().ends_with('{') { "" } else { "," };
    Some(format!("{object}{comma}\"traceparent\":\"{traceparent}\"}}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_bus::Stamp;
    use weft_event::Room;

    #[test]
    fn a_context_beside_the_event_goes_into_it() {
        let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let spliced = |payload: &str, traceparent: Option<&str>| {
            let delivery = Delivery {
                room: Room::execution("e").expect("room"),
                stamp: Stamp::Volatile,
                first: None,
                stored_ms: None,
                traceparent: traceparent.map(Into::into),
                payload: Bytes::copy_from_slice(payload.as_bytes()),
            };
            with_context(&delivery).map(|bytes| String::from_utf8(bytes.to_vec()).expect("text"))
        };
        let with = format!("{{\"type\":\"log\",\"traceparent\":\"{context}\"}}");
        assert_eq!(spliced("{\"type\":\"log\"} ", Some(context)).as_deref(), Some(with.as_str()));
        for (payload, traceparent) in [
            ("{\"type\":\"log\"}", None),
            ("{\"type\":\"log\"}", Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")),
            ("{\"type\":\"log\"}", Some("nonsense\"")),
            (with.as_str(), Some(context)),
            ("[1]", Some(context)),
            ("", Some(context)),
        ] {
            assert_eq!(spliced(payload, traceparent), None, "{payload} {traceparent:?}");
        }
    }
}
