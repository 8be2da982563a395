//! JSON objects, and nothing else: a list of the right length would pass for a struct otherwise.

use serde::Deserialize;

/// Reads one JSON object, in which each of our fields stands at most once.
pub(crate) fn read<'t, T: Deserialize<'t>>(json: &'t [u8]) -> Option<T> {
    let first = json.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))?;
    if *first == b'{' { serde_json::from_slice(json).ok() } else { None }
}
