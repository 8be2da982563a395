//! The places that a binary packet's attachments take in its payload.

use super::link::Violation;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Most attachments that can be told apart here, one bit each.
pub(super) const ATTACHMENTS_MAX: usize = 63;

/// Checks that `payload` has a place `{"_placeholder":true,"num":<n>}` for each of `count` attachments, and none twice.
///
/// A place without its attachment and an attachment without a place have each brought down other servers.
pub(super) fn check_places(payload: &str, count: usize) -> Result<(), Violation> {
    let mut seen = Seen { count: count.min(ATTACHMENTS_MAX), places: 0 };
    // Nesting is bounded by serde_json itself, at 128.
    let read = seen.deserialize(&mut serde_json::Deserializer::from_str(payload));
    let all = (1u64 << seen.count) - 1;
    if read.is_ok() && seen.places == all { Ok(()) } else { Err(Violation("attachments and their places differ")) }
}

/// Reads any JSON for its places alone.
struct Seen {
    count: usize,
    /// A bit for each place seen.
    places: u64,
}

impl Seen {
    fn note<E: Error>(&mut self, num: &RawValue) -> Result<(), E> {
        match num.get().parse::<usize>() {
            Ok(num) if num < self.count && self.places & (1 << num) == 0 => {
                self.places |= 1 << num;
                Ok(())
            }
            _ => Err(E::custom("a place of no attachment")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Seen {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Seen {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut marked, mut num) = (false, None);
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "_placeholder" => marked = map.next_value::<&'de RawValue>()?.get() == "true",
                "num" => num = Some(map.next_value::<&'de RawValue>()?),
                _ => map.next_value_seed(&mut *self)?,
            }
        }
        match (marked, num) {
            (true, Some(num)) => self.note(num),
            (true, None) => Err(A::Error::missing_field("num")),
            (false, _) => Ok(()),
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attachment_has_one_place() {
        for (payload, count, legal) in [
            (r#"["m",{"_placeholder":true,"num":0}]"#, 1, true),
            (
                r#"["m",{"_placeholder":true,"num":1},{"a":[{"num":0,"_placeholder":true}],"b":[1,-1,1.5,"s",null,true]}]"#,
                2,
                true,
            ),
            (r#"["m",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 1, false),
            (r#"["m",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#, 2, false),
            (r#"["m",{"_placeholder":true,"num":1}]"#, 1, false),
            (r#"["m",{"_placeholder":true,"num":-1}]"#, 1, false),
            (r#"["m",{"_placeholder":true,"num":"0"}]"#, 1, false),
            (r#"["m",{"_placeholder":true,"num":0.0}]"#, 1, false),
            (r#"["m",{"_placeholder":true}]"#, 1, false),
            (r#"["m",{"_placeholder":1,"num":0}]"#, 1, false),
            (r#"["m"]"#, 1, false),
            (&format!("[{}1{}]", "[".repeat(200), "]".repeat(200)), 1, false),
        ] {
            assert_eq!(check_places(payload, count).is_ok(), legal, "{payload}");
        }
    }
}
