//! Trace context (W3C Trace Context, level 1) of events that carry one, and the span of their publication.
//!
//! An event whose `traceparent` is sampled gets one span here, from being enqueued to being stored in all of its rooms,
//! and one in each gateway that delivers it; any other costs nothing. Spans go to the process's global tracer provider:
//! where none is installed, nowhere.

use opentelemetry::{
    Context, KeyValue,
    global::{self, BoxedSpan},
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
    },
};
use std::time::{Duration, SystemTime};
use weft_bus::Mode;
use weft_event::{Room, RoomKind};

/// The name of the instrumentation scope.
const SCOPE: &str = "weft";

/// The ids of the trace and of the span that a `traceparent` of version 00 names, and its flags.
fn parts(traceparent: &str) -> Option<(&str, &str, &str)> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_one = version == "00" && parts.next().is_none() && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    is_one.then_some((trace, span, flags))
}

/// The ids of the trace and of the span that a `traceparent` names, sampled or not, for logs; `None` if it is malformed.
#[must_use]
pub fn ids(traceparent: &str) -> Option<(&str, &str)> {
    parts(traceparent).map(|(trace, span, _)| (trace, span))
}

/// The context that a `traceparent` of version 00 names, as the parent of spans here; `None` if it is malformed or not
/// sampled.
#[must_use]
pub fn sampled(traceparent: &str) -> Option<Context> {
    let (trace, span, flags) = parts(traceparent)?;
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let remote = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    (remote.is_valid() && remote.is_sampled()).then(|| Context::new().with_remote_span_context(remote))
}

/// What goes into `traceparent` of the events that belong to a span; `None` if the span is not sampled.
#[must_use]
pub fn traceparent_of(span: &SpanContext) -> Option<String> {
    let is_carried = span.is_valid() && span.is_sampled();
    is_carried.then(|| format!("00-{}-{}-01", span.trace_id(), span.span_id()))
}

/// Begins a span of an event: what is done with it, and the room it is done in.
///
/// Attributes follow OpenTelemetry's semantic conventions for messaging. No id is in the span's name.
#[must_use]
pub fn begin(operation: Operation, parent: &Context, system: &'static str, room: &Room, at: SystemTime) -> BoxedSpan {
    let template = template(room.kind());
    let tracer = global::tracer(SCOPE);
    tracer
        .span_builder(format!("{} {template}", operation.word()))
        .with_kind(operation.kind())
        .with_start_time(at)
        .with_attributes([
            KeyValue::new("messaging.system", system),
            KeyValue::new("messaging.operation.name", operation.word()),
            KeyValue::new("messaging.operation.type", operation.word()),
            KeyValue::new("messaging.destination.template", template),
            KeyValue::new("messaging.destination.name", room.name().to_owned()),
        ])
        .start_with_context(&tracer, parent)
}

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An event goes to the bus.
    Publish,
    /// A gateway takes an event from the bus and hands it to its clients.
    Process,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Process => "process",
        }
    }

    fn kind(self) -> SpanKind {
        match self {
            Self::Publish => SpanKind::Producer,
            Self::Process => SpanKind::Consumer,
        }
    }
}

/// `messaging.system` of a bus.
#[must_use]
pub fn system(mode: Mode) -> &'static str {
    match mode {
        Mode::Memory => "memory",
        Mode::JetStream | Mode::NatsCore => "nats",
        Mode::RedisStreams | Mode::RedisPubSub => "redis",
    }
}

fn template(kind: RoomKind) -> &'static str {
    match kind {
        RoomKind::Execution => "execution:{id}",
        RoomKind::User => "user:{userId}",
        RoomKind::Agent => "agent:{agentId}:{executionId}",
        RoomKind::Kb => "kb:{knowledgeBaseId}",
    }
}

/// Tells of a publication that has ended: one span, if the event's context is sampled.
pub(crate) fn published(
    traceparent: Option<&str>,
    system: &'static str,
    rooms: &[Room],
    took: Duration,
    failure: impl FnOnce() -> Option<String>,
) {
    let (Some(parent), Some(first)) = (traceparent.and_then(sampled), rooms.first()) else { return };
    let begun = SystemTime::now().checked_sub(took).unwrap_or_else(SystemTime::now);
    let mut span = begin(Operation::Publish, &parent, system, first, begun);
    span.set_attribute(KeyValue::new("weft.rooms", i64::try_from(rooms.len()).unwrap_or(i64::MAX)));
    if let Some(failure) = failure() {
        span.set_status(Status::error(failure));
    }
    span.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_and_sampled_contexts_count() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = sampled(good).expect("sampled");
        let span = context.span().span_context().clone();
        assert_eq!(traceparent_of(&span).as_deref(), Some(good));
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert!(sampled(bad).is_none(), "{bad}");
        }
        let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert_eq!(ids(unsampled), Some(("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")));
        assert_eq!(ids("00-short-00f067aa0ba902b7-01"), None);
    }
}
