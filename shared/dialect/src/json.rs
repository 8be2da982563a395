//! Writing JSON objects field by field into one buffer, so that what was published is copied once and never parsed.

use serde_json::value::RawValue;

/// An object being written. Its first bytes may be what stands before it in a frame.
pub(crate) struct Object {
    out: Vec<u8>,
    /// Whether the innermost open object has no field yet.
    empty: bool,
}

impl Object {
    /// An object behind `prefix`, with room for `capacity` more bytes.
    pub(crate) fn begin(prefix: &str, capacity: usize) -> Self {
        Self::begin_bytes(prefix.as_bytes().to_vec(), capacity)
    }

    /// The same, with the prefix in its own buffer.
    pub(crate) fn begin_bytes(mut out: Vec<u8>, capacity: usize) -> Self {
        out.reserve(capacity + 1);
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Keys are ours and hold nothing that JSON would escape.
    fn key(&mut self, key: &str) {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A value that is JSON already, copied as it stands.
    pub(crate) fn raw(&mut self, key: &str, json: &str) -> &mut Self {
        self.key(key);
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    /// The same, `null` where there is none.
    pub(crate) fn raw_or_null(&mut self, key: &str, json: Option<&RawValue>) -> &mut Self {
        self.raw(key, json.map_or("null", RawValue::get))
    }

    /// The same, left out where there is none.
    pub(crate) fn raw_if(&mut self, key: &str, json: Option<&RawValue>) -> &mut Self {
        match json {
            Some(json) => self.raw(key, json.get()),
            None => self,
        }
    }

    /// A string, escaped.
    pub(crate) fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.key(key);
        write_text(&mut self.out, text);
        self
    }

    /// The same, `null` where there is none.
    pub(crate) fn text_or_null(&mut self, key: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(key, text),
            None => self.raw(key, "null"),
        }
    }

    /// Opens an object as the value of `key`; what follows goes into it until [`Object::close`].
    pub(crate) fn open(&mut self, key: &str) -> &mut Self {
        self.key(key);
        self.out.push(b'{');
        self.empty = true;
        self
    }

    /// Closes what [`Object::open`] opened.
    pub(crate) fn close(&mut self) -> &mut Self {
        self.out.push(b'}');
        self.empty = false;
        self
    }

    /// The bytes without the outermost closing brace, so that a field can still be added.
    pub(crate) fn into_open(self) -> Vec<u8> {
        self.out
    }

    /// The bytes of the whole object, and what stands before it.
    pub(crate) fn into_closed(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

/// Writes a JSON string. Most hold nothing to escape and are copied.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    }
}

/// Text as a JSON string.
pub(crate) fn text_json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_nest_and_strings_are_escaped() {
        let mut object = Object::begin("42[\"x\",", 0);
        object.text("a", "q\"\u{7}\u{e9}").open("b").close().open("c").raw("d", "1.00").text_or_null("e", None).close();
        object.raw_or_null("f", None).raw_if("g", None);
        let expected = "42[\"x\",{\"a\":\"q\\\"\\u0007\u{e9}\",\"b\":{},\"c\":{\"d\":1.00,\"e\":null},\"f\":null}";
        assert_eq!(String::from_utf8(object.into_closed()).as_deref(), Ok(expected));
        assert_eq!(text_json("a\nb"), r#""a\nb""#);
    }
}
