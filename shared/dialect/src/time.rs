//! Times as system C writes them: strings of Unix seconds with a fraction (wire contract, section 5).

/// The Unix seconds of an RFC 3339 time, with as many decimals as it has, three at least. `None` if it is no such time.
pub(crate) fn unix_seconds(rfc3339: &str) -> Option<String> {
    let nanos = rfc3339.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let mut text = format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    let zeros = text.bytes().rev().take_while(|byte| *byte == b'0').count().min(6);
    text.truncate(text.len() - zeros);
    Some(text)
}

/// Seconds from one RFC 3339 time to another, with a fraction; `None` if either is none or they are the wrong way round.
pub(crate) fn seconds_between(from: &str, to: &str) -> Option<f64> {
    let parse = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let nanos = parse(to)?.as_nanosecond().checked_sub(parse(from)?.as_nanosecond())?;
    // Times of an execution lie years apart at most: an f64 holds their milliseconds exactly.
    (nanos >= 0).then(|| (nanos / 1_000_000) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_a_fraction() {
        for (text, expected) in [
            ("2026-01-31T12:00:00.000Z", Some("1769860800.000")),
            ("2026-01-31T12:00:00Z", Some("1769860800.000")),
            ("2026-01-31T13:00:00.25+01:00", Some("1769860800.250")),
            ("2026-01-31T12:00:00.123456Z", Some("1769860800.123456")),
            ("2026-01-31T12:00:00.123456789Z", Some("1769860800.123456789")),
            ("1970-01-01T00:00:00Z", Some("0.000")),
            ("1969-12-31T23:59:59.5Z", Some("-0.500")),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(unix_seconds(text).as_deref(), expected, "{text}");
        }
        assert_eq!(seconds_between("2026-01-31T12:00:00.000Z", "2026-01-31T12:00:01.250Z"), Some(1.25));
        assert_eq!(seconds_between("2026-01-31T12:00:01Z", "2026-01-31T12:00:00Z"), None);
    }
}
