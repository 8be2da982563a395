//! MessagePack beside JSON: the same objects in another encoding.
//!
//! Frames are made as JSON once and transcoded ([`from_json`]); a client's MessagePack becomes JSON
//! ([`to_json`]) and is read by the one decoder there is. Neither direction builds a tree of values.

mod from_json;
mod number;
mod to_json;

pub use from_json::from_json;
pub use to_json::to_json;

/// Deepest nesting that [`from_json`] takes: an event's 128 within a snapshot within a frame.
pub const DEPTH_MAX: usize = 160;

/// Why bytes could not be turned into the other encoding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why} (at byte {at})")]
pub struct Unreadable {
    /// What is wrong.
    pub why: &'static str,
    /// Where, counted from the beginning.
    pub at: usize,
}

/// Bounds on a message that [`to_json`] reads.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Deepest nesting of maps and arrays.
    pub depth_max: usize,
    /// Most bytes of JSON written; a string of control characters grows sixfold.
    pub json_bytes_max: usize,
}

/// Writing into a `Vec` cannot fail; its error type has no value that could be told apart.
fn wrote<T, E>(written: Result<T, E>) {
    debug_assert!(written.is_ok(), "a Vec takes every byte");
}
