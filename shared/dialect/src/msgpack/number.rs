//! Numbers, whose digits are the publisher's: what becomes an integer, what a float, and what stays text.

use super::wrote;
use rmp::encode::{write_f64, write_sint, write_str, write_uint};

/// Writes a number that is known to be well formed; `whole` if it has neither fraction nor exponent.
pub(super) fn write_number(out: &mut Vec<u8>, digits: &str, whole: bool) {
    // An integer has no sign of zero; JSON's `-0` does, so it goes the way of floats.
    if whole && digits != "-0" {
        if let Ok(unsigned) = digits.parse::<u64>() {
            return wrote(write_uint(out, unsigned));
        }
        if let Ok(signed) = digits.parse::<i64>() {
            return wrote(write_sint(out, signed));
        }
    }
    match digits.parse::<f64>() {
        Ok(float) if gives_back(float, digits, whole) => wrote(write_f64(out, float)),
        _ => wrote(write_str(out, digits)),
    }
}

/// Whether a reader of `float` learns the number that `digits` wrote.
fn gives_back(float: f64, digits: &str, whole: bool) -> bool {
    if !float.is_finite() {
        return false;
    }
    // 2^64 prints as 18446744073709552000, and yet the float is exact.
    #[allow(clippy::cast_possible_truncation)] // a float past the range saturates to a number that differs
    if whole && digits.parse::<i128>().is_ok_and(|integer| integer == float as i128) {
        return true;
    }
    let Some(written) = Decimal::read(digits) else { return false };
    // Seventeen digits tell every float from every other, and some printers always write them all. Where two
    // shortest forms are equally near, as for …881.25, printers differ: to as many digits both are the float's.
    let precision = written.digits.len().saturating_sub(1);
    let rounded = (precision < 17).then(|| format!("{float:.precision$e}"));
    [rounded, Some(format!("{float:e}"))].into_iter().flatten().any(|text| Decimal::read(&text).as_ref() == Some(&written))
}

/// A number's decimal digits without zeros at either end, and the power of ten that stands before them.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Reads a number that is already known to be well formed; `None` for an exponent past reason.
    fn read(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let mut exponent = exponent.parse::<i32>().ok().map_or(i64::MAX, i64::from);
        let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
        if leading == digits.len() {
            return Some(Self { negative, digits: Vec::new(), exponent: 0 });
        }
        if exponent == i64::MAX {
            return None;
        }
        exponent += i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?;
        digits.drain(..leading);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        Some(Self { negative, digits, exponent })
    }
}
