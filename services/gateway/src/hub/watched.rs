//! What is noted of few events: from being taken into a log to being handed to the last client here that keeps up.
//!
//! Of an event that its publisher traces there is a span; of one in so many, traced or not, the time goes into a metric.

use bytes::Bytes;
use metrics::Histogram;
use opentelemetry::{
    KeyValue,
    global::BoxedSpan,
    trace::{Span as _, SpanContext},
};
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};
use weft_bus::Delivery;
use weft_event::Room;
use weft_publisher::trace::{self, Operation};

/// One a gateway and event, however many clients follow: one each would cost more than the delivery.
pub struct Watched {
    open: Mutex<Option<Open>>,
    /// When it was last handed to a client, in microseconds after it was received.
    last: AtomicU64,
    clients: AtomicU64,
}

/// Who is told at the end.
struct Open {
    span: Option<Spanned>,
    fanout: Option<Histogram>,
}

struct Spanned {
    span: BoxedSpan,
    begun: SystemTime,
    room: Room,
}

impl Watched {
    /// Begins to watch what was delivered, if its context is sampled and there is a `system` (the bus's), or if there is a
    /// metric for it.
    pub fn begin(delivery: &Delivery, system: Option<&'static str>, fanout: Option<Histogram>) -> Option<Box<Self>> {
        let span = system.and_then(|system| Spanned::begin(delivery, system));
        let is_watched = span.is_some() || fanout.is_some();
        let open = || Mutex::new(Some(Open { span, fanout }));
        is_watched.then(|| Box::new(Self { open: open(), last: AtomicU64::default(), clients: AtomicU64::default() }))
    }

    /// It was handed to a client, having come at `received`.
    pub fn handed(&self, received: Instant) {
        self.clients.fetch_add(1, Relaxed);
        self.last.fetch_max(received.elapsed().as_micros() as u64, Relaxed);
    }

    /// Those who keep up have it.
    pub fn end(&self) {
        let Some(Open { span, fanout }) = self.open.lock().take() else { return };
        let (clients, last) = (self.clients.load(Relaxed), Duration::from_micros(self.last.load(Relaxed)));
        if let Some(fanout) = fanout.filter(|_| clients > 0) {
            fanout.record(last);
        }
        if let Some(spanned) = span {
            spanned.end(clients, last);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end();
    }
}

impl Spanned {
    fn begin(delivery: &Delivery, system: &'static str) -> Option<Self> {
        let parent = trace::sampled(delivery.traceparent.as_deref()?)?;
        let begun = SystemTime::now();
        let mut span = trace::begin(Operation::Process, &parent, system, &delivery.room, begun);
        span.set_attribute(KeyValue::new("messaging.message.body.size", delivery.payload.len() as i64));
        Some(Self { span, begun, room: delivery.room.clone() })
    }

    fn end(mut self, clients: u64, last: Duration) {
        let context: &SpanContext = self.span.span_context();
        let (trace_id, span_id, room) = (context.trace_id(), context.span_id(), &self.room);
        tracing::debug!(%trace_id, %span_id, %room, clients, last_us = last.as_micros() as u64, "a traced event was handed over");
        self.span.set_attribute(KeyValue::new("weft.fanout.count", clients as i64));
        self.span.end_with_timestamp(self.begun + last);
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
