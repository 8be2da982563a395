//! JSON text to MessagePack in two passes over the text: count what each array and object holds, then write.

use super::{DEPTH_MAX, Unreadable, number::write_number, wrote};
use rmp::encode::{write_array_len, write_bool, write_map_len, write_nil, write_str};

/// Turns one JSON value into MessagePack.
///
/// Integers that fit `i64` or `u64` become integers; numbers that an `f64` gives back, printed to as many digits,
/// become floats; any other number becomes a string of its digits. Strings are unescaped; half of a surrogate pair,
/// which UTF-8 cannot express, becomes U+FFFD.
pub fn from_json(json: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let text = std::str::from_utf8(json).map_err(|error| Unreadable { why: "not UTF-8", at: error.valid_up_to() })?;
    let lengths = lengths(json);
    let mut transcoder =
        Transcoder { text, at: 0, lengths: lengths.into_iter(), out: Vec::with_capacity(json.len()), scratch: String::new() };
    transcoder.value(0)?;
    transcoder.space();
    if transcoder.at < json.len() {
        return Err(transcoder.refuse("more than one value"));
    }
    Ok(transcoder.out)
}

/// How many elements or members each array and object holds, in the order in which they open.
///
/// MessagePack writes them first. For text that is no JSON the numbers mean nothing; the second pass refuses it.
fn lengths(json: &[u8]) -> Vec<u32> {
    let mut lengths: Vec<u32> = Vec::new();
    // Which of them are open, and whether each has anything in it yet.
    let mut open: Vec<(usize, bool)> = Vec::new();
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => continue,
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b']' | b'}' => {
                open.pop();
                continue;
            }
            _ => {}
        }
        if let Some((index, filled)) = open.last_mut()
            && (!*filled || (byte == b',' && !in_string))
        {
            *filled = true;
            lengths[*index] += 1;
        }
        if !in_string && matches!(byte, b'[' | b'{') {
            open.push((lengths.len(), false));
            lengths.push(0);
        }
    }
    lengths
}

struct Transcoder<'a> {
    text: &'a str,
    at: usize,
    lengths: std::vec::IntoIter<u32>,
    out: Vec<u8>,
    /// A string with its escapes undone, kept for its allocation.
    scratch: String,
}

impl<'a> Transcoder<'a> {
    fn refuse(&self, why: &'static str) -> Unreadable {
        Unreadable { why, at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, why: &'static str) -> Result<(), Unreadable> {
        self.space();
        if self.peek() != Some(byte) {
            return Err(self.refuse(why));
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Unreadable> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", |out| wrote(write_bool(out, true))),
            Some(b'f') => self.word("false", |out| wrote(write_bool(out, false))),
            Some(b'n') => self.word("null", |out| wrote(write_nil(out))),
            _ => Err(self.refuse("a value is missing")),
        }
    }

    fn word(&mut self, word: &'static str, write: fn(&mut Vec<u8>)) -> Result<(), Unreadable> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.refuse("no such word in JSON"));
        }
        self.at += word.len();
        write(&mut self.out);
        Ok(())
    }

    fn opened(&mut self, depth: usize) -> Result<u32, Unreadable> {
        if depth > DEPTH_MAX {
            return Err(self.refuse("nested too deeply"));
        }
        self.at += 1;
        self.lengths.next().ok_or_else(|| self.refuse("brackets do not match"))
    }

    fn object(&mut self, depth: usize) -> Result<(), Unreadable> {
        let length = self.opened(depth)?;
        wrote(write_map_len(&mut self.out, length));
        for member in 0..length {
            if member > 0 {
                self.expect(b',', "a comma or } is missing")?;
            }
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.refuse("a key must be a string"));
            }
            self.string()?;
            self.expect(b':', "a colon is missing")?;
            self.value(depth)?;
        }
        self.expect(b'}', "a comma or } is missing")
    }

    fn array(&mut self, depth: usize) -> Result<(), Unreadable> {
        let length = self.opened(depth)?;
        wrote(write_array_len(&mut self.out, length));
        for element in 0..length {
            if element > 0 {
                self.expect(b',', "a comma or ] is missing")?;
            }
            self.value(depth)?;
        }
        self.expect(b']', "a comma or ] is missing")
    }

    fn string(&mut self) -> Result<(), Unreadable> {
        self.at += 1;
        let start = self.plain_run()?;
        if self.takes_quote() {
            let plain = &self.text[start..self.at - 1];
            wrote(write_str(&mut self.out, plain));
            return Ok(());
        }
        let mut unescaped = std::mem::take(&mut self.scratch);
        unescaped.clear();
        unescaped.push_str(&self.text[start..self.at]);
        while !self.takes_quote() {
            unescaped.push(self.escape()?);
            let run = self.plain_run()?;
            unescaped.push_str(&self.text[run..self.at]);
        }
        wrote(write_str(&mut self.out, &unescaped));
        self.scratch = unescaped;
        Ok(())
    }

    fn takes_quote(&mut self) -> bool {
        let found = self.peek() == Some(b'"');
        self.at += usize::from(found);
        found
    }

    /// Steps over what stands for itself, up to a quote or backslash; answers where it began.
    fn plain_run(&mut self) -> Result<usize, Unreadable> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        match rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            Some(length) if rest[length] >= 0x20 => {
                self.at += length;
                Ok(start)
            }
            Some(length) => Err(Unreadable { why: "a control character inside a string", at: start + length }),
            None => Err(self.refuse("a string without an end")),
        }
    }

    fn escape(&mut self) -> Result<char, Unreadable> {
        let escape = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match escape {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.refuse("no such escape in JSON")),
        };
        self.at += 2;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, Unreadable> {
        let first = self.code_unit(self.at).ok_or_else(|| self.refuse("\\u needs four hexadecimal digits"))?;
        self.at += 6;
        if let 0xD800..=0xDBFF = first
            && let Some(second @ 0xDC00..=0xDFFF) = self.code_unit(self.at)
        {
            self.at += 6;
            let scalar = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return Ok(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The `\uXXXX` that stands at `at`, if there is one.
    fn code_unit(&self, at: usize) -> Option<u32> {
        let digits = self.text.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
    }

    fn number(&mut self) -> Result<(), Unreadable> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let leading_zero = self.peek() == Some(b'0');
        if self.digits()? > 1 && leading_zero {
            return Err(self.refuse("a number begins with 0"));
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            (whole, self.at) = (false, self.at + 1);
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            (whole, self.at) = (false, self.at + 1);
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let digits = &self.text[start..self.at];
        write_number(&mut self.out, digits, whole);
        Ok(())
    }

    fn digits(&mut self) -> Result<usize, Unreadable> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.refuse("a digit is missing")) } else { Ok(self.at - start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: &str) -> Result<Vec<u8>, Unreadable> {
        from_json(json.as_bytes())
    }

    #[test]
    fn values_keep_their_meaning() {
        let float = |value: f64| [&[0xcb][..], &value.to_be_bytes()].concat();
        let string = |text: &str| [&[0xa0 | u8::try_from(text.len()).expect("short")][..], text.as_bytes()].concat();
        for (json, bytes) in [
            ("null", vec![0xc0]),
            (" true ", vec![0xc3]),
            ("0", vec![0]),
            ("-0", float(-0.0)),
            ("-1", vec![0xff]),
            ("255", vec![0xcc, 255]),
            ("18446744073709551615", [vec![0xcf], vec![255; 8]].concat()),
            ("18446744073709551616", float(18_446_744_073_709_551_616.0)),
            ("18446744073709551617", string("18446744073709551617")),
            ("-9223372036854775808", [vec![0xd3, 0x80], vec![0; 7]].concat()),
            ("1.0", float(1.0)),
            ("1.00e5", float(100_000.0)),
            ("0.1", float(0.1)),
            ("1e22", float(1e22)),
            ("5e-324", float(5e-324)),
            ("0e999999999999", float(0.0)),
            ("1e999", string("1e999")),
            ("1e-999", string("1e-999")),
            ("0.10000000000000001", float(0.1)),
            ("0.100000000000000001", string("0.100000000000000001")),
            ("2049402078588881.2", float(16_395_216_628_711_050.0 / 8.0)),
            ("2049402078588881.3", float(16_395_216_628_711_050.0 / 8.0)),
            ("9007199254740993.0", string("9007199254740993.0")),
            ("0.12345678901234567890", string("0.12345678901234567890")),
            (r#""""#, vec![0xa0]),
            (r#""a\"\\\/\b\f\n\r\t\u00e9""#, string("a\"\\/\u{8}\u{c}\n\r\té")),
            (r#""\ud83d\ude00""#, string("😀")),
            (r#""\ud83d!\ude00""#, string("\u{fffd}!\u{fffd}")),
            ("[]", vec![0x90]),
            ("{}", vec![0x80]),
            (r#" { "a" : [ 1 , { } , "x,]" ] } "#, [&[0x81, 0xa1, b'a', 0x93, 1, 0x80, 0xa3][..], b"x,]"].concat()),
        ] {
            assert_eq!(written(json), Ok(bytes), "{json}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for json in [
            "",
            " ",
            "nul",
            "tru",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "--1",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"a\nb\"",
            "[",
            "]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "{1:2}",
            "[1]]",
            "[}",
            "{]",
            "1 2",
            "[1}",
            "NaN",
        ] {
            assert!(written(json).is_err(), "{json}");
        }
        assert!(from_json(b"\"\xff\"").is_err());
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(written(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(written(&nested(DEPTH_MAX + 1)).map_err(|error| error.why), Err("nested too deeply"));
        assert!(written(&"[".repeat(1_000_000)).is_err());
    }
}
