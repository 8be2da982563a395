//! Until when a certificate holds: just enough of X.509 (RFC 5280, section 4.1).

use jiff::{civil::DateTime, tz::TimeZone};
use weft_guard::der::{INTEGER, SEQUENCE, element};

/// `[0]`, the version, which older certificates leave out.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notAfter`, in seconds since 1970; `None` for what is no certificate, or holds from before then.
pub(super) fn expires_at(der: &[u8]) -> Option<u64> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (signed, _) = element(certificate, SEQUENCE)?;
    let rest = element(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (_issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, rest) = time(validity)?;
    let (text, _) = time(rest)?;
    u64::try_from(text.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()).ok()
}

/// The time that these bytes begin with, and what follows it.
fn time(der: &[u8]) -> Option<(DateTime, &[u8])> {
    let (text, rest, is_short) = match element(der, UTC_TIME) {
        Some((text, rest)) => (text, rest, true),
        None => element(der, GENERALIZED_TIME).map(|(text, rest)| (text, rest, false))?,
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    // Two digits stand for 1950 to 2049.
    let century = if !is_short {
        ""
    } else if text < "50" {
        "20"
    } else {
        "19"
    };
    let parsed = DateTime::strptime("%Y%m%d%H%M%S", format!("{century}{text}")).ok()?;
    Some((parsed, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms() {
        let key = KeyPair::generate().expect("a key");
        for (year, month, day, expected) in
            [(2031, 2, 3, 1_927_843_200), (2049, 12, 31, 2_524_521_600), (2050, 1, 1, 2_524_608_000)]
        {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
            params.not_after = date_time_ymd(year, month, day);
            let certificate = params.self_signed(&key).expect("signed");
            assert_eq!(expires_at(certificate.der()), Some(expected), "{year}");
            for cut in 0..150 {
                let _ = expires_at(&certificate.der()[..cut]);
            }
        }
        assert_eq!(expires_at(b""), None);
        assert_eq!(expires_at(&[0x30, 0x80, 0x30]), None);
    }
}
