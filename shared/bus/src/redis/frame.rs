//! A stored event on its channel: a header line and the payload, told from a raw `PUBLISH` by its first byte, with
//! which no JSON begins. Written by the publish script: the two must agree.
//!
//! `\x01w1 <namespace> <epoch> <seq> <check> <stored ms> <traceparent or -> <first, or ->\n<payload>`

use crate::{Delivery, First, Stamp};
use bytes::Bytes;
use weft_event::{Epoch, Position, Room};

/// How every frame begins.
pub(super) const MARK: &[u8] = b"\x01w1 ";

/// Longest header: namespace, numbers, a trace context and a room name.
const HEADER_BYTES_MAX: usize = 1024;

/// Reads what arrived on a room's channel. `None` is a frame of another deployment on the same server, or damaged.
pub(super) fn decode(room: Room, bytes: Bytes, namespace: &str) -> Option<Delivery> {
    if !bytes.starts_with(MARK) {
        return Some(Delivery { room, stamp: Stamp::Volatile, payload: bytes, first: None, stored_ms: None, traceparent: None });
    }
    let end = bytes.iter().take(HEADER_BYTES_MAX).position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(&bytes[MARK.len()..end]).ok()?;
    let mut words = header.splitn(7, ' ');
    if words.next()? != namespace {
        return None;
    }
    let epoch = Epoch(u64::from_str_radix(words.next()?, 16).ok()?);
    let seq: u64 = words.next()?.parse().ok()?;
    let check = u32::from_str_radix(words.next()?, 16).ok()?;
    let stored_ms = words.next()?.parse().ok()?;
    let traceparent = Some(words.next()?).filter(|text| *text != "-").map(str::to_owned);
    let first = First::parse(words.next()?);
    Some(Delivery {
        room,
        stamp: Stamp::Stored { at: Position { epoch, seq, check }, prev: seq.checked_sub(1)? },
        payload: bytes.slice(end + 1..),
        first,
        stored_ms: Some(stored_ms),
        traceparent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &'static str) -> Option<Delivery> {
        decode(Room::parse("execution:e").expect("room"), Bytes::from_static(text.as_bytes()), "weft/0")
    }

    #[test]
    fn frames_and_raw_publications() {
        let event = decoded("\x01w1 weft/0 ab 7 0000000c 99 00-trace execution:x 1f 3\n{\"a\":1}").expect("ours");
        let at = Position { epoch: Epoch(0xab), seq: 7, check: 12 };
        assert_eq!(event.stamp, Stamp::Stored { at, prev: 6 });
        assert_eq!(
            (&event.payload[..], event.stored_ms, event.traceparent.as_deref()),
            (&b"{\"a\":1}"[..], Some(99), Some("00-trace"))
        );
        assert_eq!(event.first.map(|first| (first.epoch, first.seq)), Some((Epoch(0x1f), 3)));
        assert_eq!(decoded("{\"a\":1}").expect("raw").stamp, Stamp::Volatile);
        assert_eq!(decoded("\x01w1 weft/0 ab 7 0000000c 99 - -\n{}").expect("ours").first, None);
    }

    #[test]
    fn other_deployments_and_damage_are_left_alone() {
        for text in ["\x01w1 other/0 ab 7 c 99 - -\n{}", "\x01w1 weft/0 ab", "\x01w1 weft/0 ab 0 c 9 - -\n{}", "\x01w1 \n"] {
            assert!(decoded(text).is_none(), "{text:?}");
        }
    }
}
