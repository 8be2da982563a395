//! A client's MessagePack to JSON text, strictly bounded: lengths that a client claims are never believed.

use super::{Bounds, Unreadable};
use rmp::Marker;

/// Turns one MessagePack value into JSON text.
///
/// Keys must be strings. Binary data, extensions and numbers that JSON has no word for are refused.
pub fn to_json(message: &[u8], bounds: &Bounds) -> Result<String, Unreadable> {
    let mut reader = Reader { message, at: 0, bounds, out: String::with_capacity(message.len()) };
    reader.value(0)?;
    if reader.at < message.len() {
        return Err(reader.refuse("more than one value"));
    }
    Ok(reader.out)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
    bounds: &'a Bounds,
    out: String,
}

impl<'a> Reader<'a> {
    fn refuse(&self, why: &'static str) -> Unreadable {
        Unreadable { why, at: self.at }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let rest = &self.message[self.at..];
        if length > rest.len() {
            return Err(self.refuse("ends too early"));
        }
        self.at += length;
        Ok(&rest[..length])
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn length(&mut self, bytes: usize) -> Result<usize, Unreadable> {
        Ok(self.take(bytes)?.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    fn marker(&mut self) -> Result<Marker, Unreadable> {
        Ok(Marker::from_u8(self.take(1)?[0]))
    }

    fn push(&mut self, text: &str) -> Result<(), Unreadable> {
        if self.out.len() + text.len() > self.bounds.json_bytes_max {
            return Err(self.refuse("too large"));
        }
        self.out.push_str(text);
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), Unreadable> {
        let marker = self.marker()?;
        match marker {
            Marker::Null => self.push("null"),
            Marker::True => self.push("true"),
            Marker::False => self.push("false"),
            Marker::FixPos(value) => self.integer(value),
            Marker::FixNeg(value) => self.integer(value),
            Marker::U8 => self.fixed().map(u8::from_be_bytes).and_then(|value| self.integer(value)),
            Marker::U16 => self.fixed().map(u16::from_be_bytes).and_then(|value| self.integer(value)),
            Marker::U32 => self.fixed().map(u32::from_be_bytes).and_then(|value| self.integer(value)),
            Marker::U64 => self.fixed().map(u64::from_be_bytes).and_then(|value| self.integer(value)),
            Marker::I8 => self.fixed().map(i8::from_be_bytes).and_then(|value| self.integer(value)),
            Marker::I16 => self.fixed().map(i16::from_be_bytes).and_then(|value| self.integer(value)),
            Marker::I32 => self.fixed().map(i32::from_be_bytes).and_then(|value| self.integer(value)),
            Marker::I64 => self.fixed().map(i64::from_be_bytes).and_then(|value| self.integer(value)),
            Marker::F32 => self.fixed().map(f32::from_be_bytes).and_then(|value| self.float(f64::from(value))),
            Marker::F64 => self.fixed().map(f64::from_be_bytes).and_then(|value| self.float(value)),
            Marker::FixArray(length) => self.array(length.into(), depth + 1),
            Marker::Array16 => self.length(2).and_then(|length| self.array(length, depth + 1)),
            Marker::Array32 => self.length(4).and_then(|length| self.array(length, depth + 1)),
            Marker::FixMap(length) => self.map(length.into(), depth + 1),
            Marker::Map16 => self.length(2).and_then(|length| self.map(length, depth + 1)),
            Marker::Map32 => self.length(4).and_then(|length| self.map(length, depth + 1)),
            string => self.string(string, "binary data and extensions have no place here"),
        }
    }

    fn integer(&mut self, value: impl std::fmt::Display) -> Result<(), Unreadable> {
        self.push(&value.to_string())
    }

    fn float(&mut self, value: f64) -> Result<(), Unreadable> {
        if !value.is_finite() {
            return Err(self.refuse("a number must be finite"));
        }
        self.push(&format!("{value:?}"))
    }

    fn opened(&self, length: usize, depth: usize) -> Result<(), Unreadable> {
        if depth > self.bounds.depth_max {
            return Err(self.refuse("nested too deeply"));
        }
        // Every element takes a byte at least, so a claim past the end is a lie.
        if length > self.message.len() - self.at { Err(self.refuse("ends too early")) } else { Ok(()) }
    }

    fn array(&mut self, length: usize, depth: usize) -> Result<(), Unreadable> {
        self.opened(length, depth)?;
        self.push("[")?;
        for element in 0..length {
            if element > 0 {
                self.push(",")?;
            }
            self.value(depth)?;
        }
        self.push("]")
    }

    fn map(&mut self, length: usize, depth: usize) -> Result<(), Unreadable> {
        self.opened(length, depth)?;
        self.push("{")?;
        for member in 0..length {
            if member > 0 {
                self.push(",")?;
            }
            let key = self.marker()?;
            self.string(key, "a key must be a string")?;
            self.push(":")?;
            self.value(depth)?;
        }
        self.push("}")
    }

    fn string(&mut self, marker: Marker, otherwise: &'static str) -> Result<(), Unreadable> {
        let length = match marker {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 => self.length(1)?,
            Marker::Str16 => self.length(2)?,
            Marker::Str32 => self.length(4)?,
            _ => return Err(self.refuse(otherwise)),
        };
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.refuse("a string that is not UTF-8"))?;
        self.push("\"")?;
        let mut plain = 0;
        for (index, byte) in text.bytes().enumerate() {
            let escape = match byte {
                b'"' => "\\\"".to_owned(),
                b'\\' => "\\\\".to_owned(),
                0..0x20 => format!("\\u{byte:04x}"),
                _ => continue,
            };
            self.push(&text[plain..index])?;
            self.push(&escape)?;
            plain = index + 1;
        }
        self.push(&text[plain..])?;
        self.push("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { depth_max: 8, json_bytes_max: 4096 };

    #[test]
    fn values_keep_their_meaning() {
        for (bytes, json) in [
            (&[0xc0][..], "null"),
            (&[0xc2], "false"),
            (&[0x7f], "127"),
            (&[0xe0], "-32"),
            (&[0xcc, 200], "200"),
            (&[0xd0, 0x80], "-128"),
            (&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], "18446744073709551615"),
            (&[0xca, 0x3f, 0x80, 0, 0], "1.0"),
            (&[0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0], "-0.0"),
            (&[0xa4, b'a', b'"', b'\\', 1], r#""a\"\\\u0001""#),
            (&[0xd9, 1, b'x'], r#""x""#),
            (&[0x82, 0xa1, b'a', 0x92, 1, 2, 0xa1, b'b', 0x80], r#"{"a":[1,2],"b":{}}"#),
        ] {
            assert_eq!(to_json(bytes, &BOUNDS).as_deref(), Ok(json), "{bytes:x?}");
        }
    }

    #[test]
    fn lies_and_excess_are_refused() {
        for (bytes, why) in [
            (&[][..], "ends too early"),
            (&[0x92, 1], "ends too early"),
            (&[0xdd, 255, 255, 255, 255], "ends too early"),
            (&[0xdf, 255, 255, 255, 255], "ends too early"),
            (&[0xdb, 255, 255, 255, 255], "ends too early"),
            (&[0xa2, 0xc3, 0x28], "a string that is not UTF-8"),
            (&[0x81, 1, 1], "a key must be a string"),
            (&[0xc4, 1, 1], "binary data and extensions have no place here"),
            (&[0xd4, 1, 1], "binary data and extensions have no place here"),
            (&[0xc1], "binary data and extensions have no place here"),
            (&[1, 1], "more than one value"),
            (&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], "a number must be finite"),
            (&[0x91; 9], "nested too deeply"),
        ] {
            assert_eq!(to_json(bytes, &BOUNDS).map_err(|error| error.why), Err(why), "{bytes:x?}");
        }
        let mut controls = vec![0xda, 0x04, 0x00];
        controls.extend([1; 1024]);
        assert_eq!(to_json(&controls, &BOUNDS).map_err(|error| error.why), Err("too large"));
    }
}
