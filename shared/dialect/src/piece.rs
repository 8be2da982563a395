//! What a dialect makes of one event: no frame, one, or several in order (wire contract, section 3).

use weft_event::{Offset, Prepared};

/// An event as it is told: what was published, and what stands in where the publisher left it out.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The event.
    pub event: &'a Prepared,
    /// Its id where it brought none: the offset of a raw publish.
    pub implied_id: Option<&'a str>,
    /// Its time where it brought none, RFC 3339: when the broker stored it.
    pub implied_timestamp: Option<&'a str>,
}

impl<'a> From<&'a Prepared> for Told<'a> {
    fn from(event: &'a Prepared) -> Self {
        Self { event, implied_id: None, implied_timestamp: None }
    }
}

/// One frame of an event up to where its offset goes, made once and shared by every session of its dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The frame without its tail: [`native::event_tail`](crate::native::event_tail) closes it in the dialects of plain
    /// objects, [`socketio::tail`](crate::socketio::tail) in those of Socket.IO.
    pub body: Vec<u8>,
    /// Set on all but the last frame of the event: how many of them have been told with this one.
    pub part: Option<u8>,
}

impl Piece {
    /// The offset that this frame carries: the event's own, marked if more frames of it follow.
    #[must_use]
    pub fn offset(&self, at: Offset) -> Offset {
        Offset { part: self.part, ..at }
    }
}

/// Numbers the frames of one event. A client that was told `part` of them goes on at that index.
pub(crate) fn pieces<const N: usize>(bodies: [Vec<u8>; N]) -> Vec<Piece> {
    const { assert!(N < 256, "a part is one byte") };
    let number = |index: usize| (index + 1 < N).then_some(index as u8 + 1);
    bodies.into_iter().enumerate().map(|(index, body)| Piece { body, part: number(index) }).collect()
}
