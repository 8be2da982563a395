//! Offers to compress, and the one answer that we give (RFC 7692, section 7.1; the header's grammar is RFC 6455,
//! section 9.1).

/// The answer where the offer asks for nothing that must be confirmed.
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The answer to an offer with `server_max_window_bits=15`, which must be confirmed (section 7.1.2.1).
const ANSWER_WITH_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// Takes the first fit offer of a client's list (`Sec-WebSocket-Extensions`, all its values) and gives the answer.
///
/// Neither side keeps its context, whatever the client asked for. Our window is always of 15 bits, so that what is
/// compressed once fits everybody; an offer that demands a smaller one is declined. Ours of the client may be any
/// size. An offer that is malformed, or has a parameter twice or one that we do not know, is declined and the next
/// one tried.
pub fn negotiate<'h>(offered: impl IntoIterator<Item = &'h [u8]>) -> Option<&'static str> {
    offered.into_iter().find_map(|value| {
        let mut rest = value;
        while !rest.is_empty() {
            if let Some(answer) = answer(next_element(&mut rest)) {
                return Some(answer);
            }
        }
        None
    })
}

/// Splits off what stands before the next comma that is in no quoted string.
fn next_element<'h>(rest: &mut &'h [u8]) -> &'h [u8] {
    let end = end_of(rest, b',');
    let element = &rest[..end];
    *rest = rest.get(end + 1..).unwrap_or_default();
    element
}

/// Where `separator` stands outside of quoted strings, or the end.
fn end_of(text: &[u8], separator: u8) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    let at = text.iter().position(|&byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => return byte == separator && !quoted,
        }
        false
    });
    at.unwrap_or(text.len())
}

/// What the parameters of one offer have said.
#[derive(Default)]
struct Seen {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: bool,
    client_max_window_bits: bool,
}

/// The answer to one offer; `None` declines it.
fn answer(offer: &[u8]) -> Option<&'static str> {
    let mut rest = offer;
    let mut parts = std::iter::from_fn(move || {
        (!rest.is_empty()).then(|| {
            let end = end_of(rest, b';');
            let part = &rest[..end];
            // A separator at the very end promises a parameter that is not there.
            rest = if end < rest.len() { rest.get(end + 1..).filter(|rest| !rest.is_empty()).unwrap_or(b" ") } else { &[] };
            part.trim_ascii()
        })
    });
    if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
        return None;
    }
    let mut seen = Seen::default();
    for part in parts {
        let end = end_of(part, b'=');
        let name = part[..end].trim_ascii();
        let mut buffer = [0; 2];
        let value = match part.get(end + 1..) {
            None => None,
            Some(value) => Some(unquoted(value.trim_ascii(), &mut buffer)?),
        };
        let slot = match name {
            b"server_no_context_takeover" if value.is_none() => &mut seen.server_no_context_takeover,
            b"client_no_context_takeover" if value.is_none() => &mut seen.client_no_context_takeover,
            b"server_max_window_bits" if window_bits(value?)? == 15 => &mut seen.server_max_window_bits,
            b"client_max_window_bits" if value.is_none_or(|value| window_bits(value).is_some()) => {
                &mut seen.client_max_window_bits
            }
            _ => return None,
        };
        if std::mem::replace(slot, true) {
            return None;
        }
    }
    Some(if seen.server_max_window_bits { ANSWER_WITH_WINDOW } else { ANSWER })
}

/// A value without its quotes, if it has any. Legal ones have at most two characters; `None` for longer ones.
fn unquoted<'v>(value: &'v [u8], buffer: &'v mut [u8; 2]) -> Option<&'v [u8]> {
    let Some(inner) = value.strip_prefix(b"\"") else { return Some(value) };
    let inner = inner.strip_suffix(b"\"")?;
    let (mut len, mut escaped) = (0, false);
    for &byte in inner {
        match byte {
            b'\\' if !escaped => escaped = true,
            b'"' if !escaped => return None,
            _ => {
                *buffer.get_mut(len)? = byte;
                (len, escaped) = (len + 1, false);
            }
        }
    }
    (!escaped).then_some(&buffer[..len])
}

/// 8 to 15, without leading zeros (section 7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_and_their_answers() {
        for (offered, expected) in [
            ("permessage-deflate", Some(ANSWER)),
            ("permessage-deflate; client_max_window_bits", Some(ANSWER)),
            ("permessage-deflate;client_max_window_bits = 10 ; server_no_context_takeover", Some(ANSWER)),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", Some(ANSWER)),
            ("Permessage-Deflate; server_max_window_bits=15", Some(ANSWER_WITH_WINDOW)),
            ("permessage-deflate; server_max_window_bits=\"1\\5\"", Some(ANSWER_WITH_WINDOW)),
            // A smaller window for us: declined, and the next offer taken.
            ("permessage-deflate; server_max_window_bits=10", None),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(ANSWER)),
            ("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits", Some(ANSWER)),
            ("other; a=\"b, permessage-deflate\", permessage-deflate", Some(ANSWER)),
            // Malformed, doubled or unknown.
            ("", None),
            (",,;,=", None),
            ("permessage-bzip2", None),
            ("permessage-deflate;", None),
            ("permessage-deflate; ;", None),
            ("permessage-deflate; unknown", None),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits=9", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; server_max_window_bits=015", None),
            ("permessage-deflate; client_max_window_bits=7", None),
            ("permessage-deflate; client_max_window_bits=\"10", None),
            ("permessage-deflate; client_max_window_bits=1 0", None),
            ("permessage-deflate; client_max_window_bits=+9", None),
            ("permessage-deflate client_max_window_bits", None),
        ] {
            assert_eq!(negotiate([offered.as_bytes()]), expected, "{offered}");
        }
        assert_eq!(negotiate([&b"foo"[..], b"permessage-deflate"]), Some(ANSWER));
    }

    #[test]
    fn what_we_answer_would_be_taken_as_an_offer() {
        assert_eq!(negotiate([ANSWER.as_bytes()]), Some(ANSWER));
        assert_eq!(negotiate([ANSWER_WITH_WINDOW.as_bytes()]), Some(ANSWER_WITH_WINDOW));
    }
}
