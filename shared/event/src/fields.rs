//! Which fields an event has, to tell whether a later one says all that an earlier one said.

use crate::envelope::Key;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Most keys of one object that are compared; an event with more is sent as it is. Bounds the work for each event.
const KEYS_MAX: usize = 64;

/// What each event has for itself: not to have an earlier event's is no loss.
const OF_ONE_EVENT: [&str; 3] = ["id", "timestamp", "traceparent"];

/// What a snapshot keeps of the first event that has it, so that a later one speaks for it only if it says the same.
const OF_THE_FIRST: [&str; 2] = ["workflowId", "userId"];

/// What differs from token to token of one answer. Any other field may name the answer, whatever it is called.
const OF_ONE_TOKEN: [&str; 3] = ["token", "index", "response"];

/// The fields of an event at the top level, `data` apart, and those in `data`; no key stands twice in either.
pub(crate) struct Fields<'a> {
    top: Vec<Field<'a>>,
    data: Vec<Field<'a>>,
}

type Field<'a> = (Cow<'a, str>, &'a RawValue);

impl<'a> Fields<'a> {
    /// Reads them from a valid event's body. `None` where a key stands twice, which says two things, or where there
    /// are more than are compared.
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let mut top = object(std::str::from_utf8(body).ok()?)?;
        let data = top.iter().position(|(key, _)| key == "data").map(|index| top.swap_remove(index).1);
        let data = match data.filter(|data| !is_null(data)) {
            Some(data) => object(data.get())?,
            None => Vec::new(),
        };
        Some(Self { top, data })
    }

    /// The value of `data.<key>`.
    pub(crate) fn data(&self, key: &str) -> Option<&'a RawValue> {
        find(&self.data, key)
    }

    /// Whether whoever reads this event learns every field that `earlier` would have told, with its newest value.
    ///
    /// A `null` does not stand for a value: it is how some publishers write that there is no news.
    pub(crate) fn covers(&self, earlier: &Self) -> bool {
        let top = earlier.top.iter().all(|field| match &*field.0 {
            key if OF_ONE_EVENT.contains(&key) => true,
            key if OF_THE_FIRST.contains(&key) => is_same(&self.top, field),
            _ => has_newer(&self.top, field),
        });
        top && earlier.data.iter().all(|field| has_newer(&self.data, field))
    }

    /// Whether this is the token after `earlier` in one answer, so that nothing but the tokens tells them apart.
    pub(crate) fn continues(&self, earlier: &Self) -> bool {
        let same = |ours: &[Field<'a>], theirs: &[Field<'a>], own: &[&str]| {
            let shared = |fields: &[Field<'a>]| fields.iter().filter(|(key, _)| !own.contains(&&**key)).count();
            let each = theirs.iter().all(|field| own.contains(&&*field.0) || is_same(ours, field));
            each && shared(ours) == shared(theirs)
        };
        let told = |field: &Field<'a>| !OF_ONE_TOKEN.contains(&&*field.0) || has_newer(&self.data, field);
        same(&self.top, &earlier.top, &OF_ONE_EVENT)
            && same(&self.data, &earlier.data, &OF_ONE_TOKEN)
            && earlier.data.iter().all(told)
    }
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

fn find<'a>(fields: &[Field<'a>], key: &str) -> Option<&'a RawValue> {
    fields.iter().find(|(known, _)| known == key).map(|(_, value)| *value)
}

fn has_newer(fields: &[Field<'_>], (key, earlier): &Field<'_>) -> bool {
    find(fields, key).is_some_and(|newer| !is_null(newer) || is_null(earlier))
}

fn is_same(fields: &[Field<'_>], (key, earlier): &Field<'_>) -> bool {
    find(fields, key).is_some_and(|newer| newer.get() == earlier.get())
}

/// The fields of one object; `None` as in [`Fields::read`].
fn object(text: &str) -> Option<Vec<Field<'_>>> {
    serde_json::Deserializer::from_str(text).deserialize_map(ObjectVisitor).ok()
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Vec<Field<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of few keys, each of them once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Self::Value = Vec::with_capacity(8);
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            if fields.len() == KEYS_MAX || find(&fields, &key).is_some() {
                return Err(A::Error::invalid_length(fields.len(), &self));
            }
            fields.push((key, value));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields<'_> {
        Fields::read(text.as_bytes()).expect(text)
    }

    #[test]
    fn a_later_event_covers_what_it_says_again() {
        for (earlier, later, covers) in [
            (r#"{"data":{"a":1}}"#, r#"{"data":{"a":2}}"#, true),
            (r#"{"data":{"a":1}}"#, r#"{"data":{"b":0,"\u0061":2}}"#, true),
            (r#"{"data":{"a":1,"b":1}}"#, r#"{"data":{"a":2}}"#, false),
            (r#"{"data":{"a":1}}"#, r#"{"data":{"a":null}}"#, false),
            (r#"{"data":{"a":null}}"#, r#"{"data":{"a":null}}"#, true),
            (r#"{"data":{"a":1}}"#, r#"{"data":null}"#, false),
            (r#"{"data":null}"#, r#"{}"#, true),
            (r#"{"id":"1","timestamp":"t","traceparent":"p"}"#, r#"{}"#, true),
            (r#"{"workflowId":"w"}"#, r#"{"workflowId":"v"}"#, false),
            (r#"{"userId":"u"}"#, r#"{"userId":"u"}"#, true),
            (r#"{"mine":1}"#, r#"{}"#, false),
            (r#"{"mine":1}"#, r#"{"mine":2}"#, true),
        ] {
            assert_eq!(fields(later).covers(&fields(earlier)), covers, "{earlier} {later}");
        }
    }

    #[test]
    fn only_tokens_of_one_answer_continue_each_other() {
        for (earlier, later, continues) in [
            (r#"{"id":"1","data":{"token":"a"}}"#, r#"{"id":"2","data":{"token":"b"}}"#, true),
            (r#"{"data":{"token":"a","index":1}}"#, r#"{"data":{"token":"b","index":2}}"#, true),
            (r#"{"data":{"token":"a","index":1}}"#, r#"{"data":{"token":"b"}}"#, false),
            (r#"{"data":{"token":"a"}}"#, r#"{"data":{"token":"b","response":"ab"}}"#, true),
            (r#"{"data":{"token":"a","answer":1}}"#, r#"{"data":{"token":"b","answer":1}}"#, true),
            (r#"{"data":{"token":"a","answer":1}}"#, r#"{"data":{"token":"b","answer":2}}"#, false),
            (r#"{"data":{"token":"a"}}"#, r#"{"data":{"token":"b","answer":2}}"#, false),
            (r#"{"workflowId":"w","data":{"token":"a"}}"#, r#"{"data":{"token":"b"}}"#, false),
        ] {
            assert_eq!(fields(later).continues(&fields(earlier)), continues, "{earlier} {later}");
        }
    }

    #[test]
    fn what_says_two_things_or_too_much_is_not_read() {
        let many = |keys: usize| {
            let fields: Vec<String> = (0..keys).map(|key| format!("\"k{key}\":1")).collect();
            format!("{{\"data\":{{{}}}}}", fields.join(","))
        };
        assert!(Fields::read(many(KEYS_MAX).as_bytes()).is_some());
        for text in [many(KEYS_MAX + 1), r#"{"data":{"a":1,"\u0061":2}}"#.into(), r#"{"x":1,"x":1}"#.into()] {
            assert!(Fields::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
