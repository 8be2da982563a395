//! The headers of a live message, read in one pass.

use super::parse::Message;
use crate::{
    Delivery, First, Stamp,
    nats::publish::{FIRST, TRACEPARENT},
};
use weft_event::Room;

/// What a followed room's message says beside its payload. The first of two headers of one name counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::nats) struct Headers<'m> {
    pub(in crate::nats) stream: Option<&'m str>,
    pub(in crate::nats) seq: Option<u64>,
    /// The room's message before this one; 0 of the first.
    pub(in crate::nats) prev: Option<u64>,
    time: Option<&'m str>,
    first: Option<&'m str>,
    traceparent: Option<&'m str>,
}

impl<'m> Headers<'m> {
    pub(in crate::nats) fn of(message: &'m Message) -> Self {
        let mut headers = Self::default();
        let text = std::str::from_utf8(&message.headers).unwrap_or_default();
        // The first line is the version.
        for line in text.split("\r\n").skip(1) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name {
                "Nats-Stream" => drop(headers.stream.get_or_insert(value)),
                "Nats-Sequence" => headers.seq = headers.seq.or_else(|| value.parse().ok()),
                "Nats-Last-Sequence" => headers.prev = headers.prev.or_else(|| value.parse().ok()),
                "Nats-Time-Stamp" => drop(headers.time.get_or_insert(value)),
                FIRST => drop(headers.first.get_or_insert(value)),
                _ if name.eq_ignore_ascii_case(TRACEPARENT) => drop(headers.traceparent.get_or_insert(value)),
                _ => {}
            }
        }
        headers
    }

    /// The delivery that the message is.
    pub(in crate::nats) fn delivery(&self, room: Room, stamp: Stamp, message: &Message) -> Delivery {
        let stored = self.time.and_then(|time| time.parse::<jiff::Timestamp>().ok());
        Delivery {
            room,
            stamp,
            first: self.first.and_then(First::parse),
            stored_ms: stored.and_then(|time| u64::try_from(time.as_millisecond()).ok()),
            traceparent: self.traceparent.map(str::to_owned),
            payload: message.payload.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_by_name() {
        let text = "NATS/1.0\r\nNats-Stream: WEFT_EVENTS\r\nNats-Sequence: 12\r\nNats-Sequence: 13\r\nNats-Last-Sequence: 7\r\n\
            Nats-Time-Stamp: 2026-11-21T10:00:00.5Z\r\nWeft-First: execution:e 1 5\r\nTraceParent:00-x\r\nOther: a:b\r\n\r\n";
        let message = Message { sid: 1, headers: text.into(), payload: "{}".into() };
        let headers = Headers::of(&message);
        assert_eq!((headers.stream, headers.seq, headers.prev), (Some("WEFT_EVENTS"), Some(12), Some(7)));
        let delivery = headers.delivery(Room::execution("e").expect("a room"), Stamp::Volatile, &message);
        assert_eq!((delivery.stored_ms, delivery.traceparent.as_deref()), (Some(1_795_255_200_500), Some("00-x")));
        assert!(delivery.first.is_some());
        for odd in ["", "NATS/1.0\r\n\r\n", "NATS/1.0 503\r\nx\r\n:\r\n", "\u{0}"] {
            let message = Message { sid: 1, headers: odd.to_owned().into(), payload: "{}".into() };
            assert_eq!(Headers::of(&message), Headers::default(), "{odd:?}");
        }
    }
}
