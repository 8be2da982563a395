//! JSON as one line, as everything that travels on the bus.

use crate::Invalid;
use bytes::Bytes;

/// Trims white space around a JSON text, turns line breaks between its tokens into spaces and bounds its nesting, so that
/// it can be read recursively. Whether it is JSON at all is its parser's to say.
///
/// # Errors
/// It nests deeper than `depth_max`; `field` names it.
pub fn one_line(field: &'static str, published: Bytes, depth_max: usize) -> Result<Bytes, Invalid> {
    // White space as JSON knows it (RFC 8259, section 2): a form feed is none, and the parser then refuses it.
    let solid = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = published.iter().position(solid).unwrap_or(published.len());
    let end = published.iter().rposition(solid).map_or(start, |last| last + 1);
    let body = published.slice(start..end);
    let (mut depth, mut in_string, mut escaped, mut breaks) = (0usize, false, false, false);
    for &byte in body.iter() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'\n' | b'\r' => breaks = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return Err(Invalid::new(field, format!("must nest at most {depth_max} deep")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if !breaks {
        return Ok(body);
    }
    // A raw line break inside a string is illegal JSON and refused by the parser, so those here part tokens.
    let mut flat = body.to_vec();
    let (mut in_string, mut escaped) = (false, false);
    for byte in &mut flat {
        match *byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'\n' | b'\r' if !in_string => *byte = b' ',
            _ => {}
        }
    }
    Ok(flat.into())
}
