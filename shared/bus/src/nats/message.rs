//! Reading the headers of messages.

use super::publish::{FIRST, TRACEPARENT};
use crate::{Delivery, First, Stamp};
use async_nats::Message;
use weft_event::Room;

pub(super) fn text<'m>(message: &'m Message, header: &str) -> Option<&'m str> {
    message.headers.as_ref()?.get(header).map(|value| value.as_str())
}

pub(super) fn number(message: &Message, header: &str) -> Option<u64> {
    text(message, header)?.parse().ok()
}

/// The delivery that a message is.
pub(super) fn delivery(room: Room, stamp: Stamp, message: Message) -> Delivery {
    let stored_ms = text(&message, "Nats-Time-Stamp")
        .and_then(|time| time.parse::<jiff::Timestamp>().ok())
        .and_then(|time| u64::try_from(time.as_millisecond()).ok());
    Delivery {
        room,
        stamp,
        first: text(&message, FIRST).and_then(First::parse),
        stored_ms,
        traceparent: text(&message, TRACEPARENT).map(str::to_owned),
        payload: message.payload,
    }
}
