//! The event as published: the fields that the fabric looks at.
//!
//! `data` and unknown fields are never parsed and printed again; the bytes that an executor published are the
//! bytes that a client reads, but that line breaks between JSON tokens become spaces.

use crate::Invalid;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// The fields that the fabric looks at. Each may appear once.
const FIELDS: [&str; 11] = [
    "type",
    "executionId",
    "id",
    "timestamp",
    "workflowId",
    "userId",
    "nodeId",
    "agentId",
    "knowledgeBaseId",
    "traceparent",
    "data",
];

/// What only the service writes at the top level. Refused, so that no frame carries a key twice.
const RESERVED: [&str; 4] = ["offset", "room", "first", "skipped"];

/// What the service writes where the publisher left it out: a `null` would stand beside the added value, and which of
/// the two a client reads depends on its parser.
const NEVER_NULL: [&str; 3] = ["executionId", "id", "timestamp"];

/// The fields of an event that the fabric and its dialects read, borrowed from the published bytes.
#[derive(Debug, Default, Clone)]
#[allow(missing_docs)] // the wire contract, section 1, is the documentation of each field
pub struct Envelope<'a> {
    pub kind: Cow<'a, str>,
    pub execution_id: Option<Cow<'a, str>>,
    pub id: Option<Cow<'a, str>>,
    pub timestamp: Option<Cow<'a, str>>,
    pub workflow_id: Option<Cow<'a, str>>,
    pub user_id: Option<Cow<'a, str>>,
    pub node_id: Option<Cow<'a, str>>,
    pub agent_id: Option<Cow<'a, str>>,
    pub knowledge_base_id: Option<Cow<'a, str>>,
    pub traceparent: Option<Cow<'a, str>>,
    /// The `data` object as published; absent means `{}`.
    pub data: Option<&'a RawValue>,
    /// Whether `agentId` is there and `null`, so that a room cannot supply it.
    pub(crate) agent_id_null: bool,
    /// The same of `knowledgeBaseId`.
    pub(crate) knowledge_base_id_null: bool,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of one JSON object. Types and presence are checked; ids and rules are not, see [`crate::prepare`].
    pub fn parse(body: &'a [u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(body).map_err(|_| Invalid::new("event", "must be UTF-8"))?;
        let mut json = serde_json::Deserializer::from_str(text);
        let mut refusal = None;
        let envelope = json.deserialize_map(EnvelopeVisitor { refusal: &mut refusal });
        let ended = envelope.and_then(|envelope| json.end().map(|()| envelope));
        ended.map_err(|error| refusal.unwrap_or_else(|| Invalid::new("event", format!("must be one JSON object: {error}"))))
    }

    /// The `data` object's text, `{}` where absent.
    #[must_use]
    pub fn data_text(&self) -> &'a str {
        self.data.map_or("{}", RawValue::get)
    }
}

struct EnvelopeVisitor<'r> {
    /// Set when a field is at fault, because a serde error cannot carry it.
    refusal: &'r mut Option<Invalid>,
}

impl<'de> Visitor<'de> for EnvelopeVisitor<'_> {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut found = Envelope::default();
        let (mut kind, mut seen) = (None, 0u16);
        while let Some(key) = map.next_key::<Key<'de>>()? {
            let key = key.0.as_ref();
            if let Some(name) = RESERVED.into_iter().find(|name| *name == key) {
                return Err(refuse(self.refusal, Invalid::new(name, "is reserved at the top level of an event")));
            }
            let Some(index) = FIELDS.iter().position(|name| *name == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let name = FIELDS[index];
            let value: &'de RawValue = map.next_value()?;
            if seen & (1 << index) != 0 {
                return Err(refuse(self.refusal, Invalid::new(name, "appears twice")));
            }
            seen |= 1 << index;
            if let Err(refusal) = found.take(name, value, &mut kind) {
                return Err(refuse(self.refusal, refusal));
            }
        }
        match kind {
            Some(kind) => found.kind = kind,
            None => return Err(refuse(self.refusal, Invalid::new("type", "is required"))),
        }
        Ok(found)
    }
}

impl<'a> Envelope<'a> {
    /// Keeps the value of one of [`FIELDS`].
    fn take(&mut self, name: &'static str, value: &'a RawValue, kind: &mut Option<Cow<'a, str>>) -> Result<(), Invalid> {
        if name == "data" {
            if !value.get().starts_with('{') && value.get() != "null" {
                return Err(Invalid::new(name, "must be an object"));
            }
            self.data = (value.get() != "null").then_some(value);
            return Ok(());
        }
        let text = string_value(value).ok_or_else(|| Invalid::new(name, "must be a string"))?;
        if text.is_none() && NEVER_NULL.contains(&name) {
            return Err(Invalid::new(name, "must be left out where there is none, not null"));
        }
        let slot = match name {
            "type" => kind,
            "executionId" => &mut self.execution_id,
            "id" => &mut self.id,
            "timestamp" => &mut self.timestamp,
            "workflowId" => &mut self.workflow_id,
            "userId" => &mut self.user_id,
            "nodeId" => &mut self.node_id,
            "agentId" => {
                self.agent_id_null = text.is_none();
                &mut self.agent_id
            }
            "knowledgeBaseId" => {
                self.knowledge_base_id_null = text.is_none();
                &mut self.knowledge_base_id
            }
            _ => &mut self.traceparent,
        };
        *slot = text;
        Ok(())
    }
}

fn refuse<E: serde::de::Error>(slot: &mut Option<Invalid>, refusal: Invalid) -> E {
    let error = E::custom(&refusal);
    *slot = Some(refusal);
    error
}

/// `Some(None)` for `null`, `None` for anything that is no string.
pub(crate) fn string_value(value: &RawValue) -> Option<Option<Cow<'_, str>>> {
    let text = value.get();
    match text.as_bytes() {
        b"null" => Some(None),
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Some(Some(Cow::Borrowed(&text[1..text.len() - 1]))),
        [b'"', ..] => serde_json::from_str::<String>(text).ok().map(|owned| Some(Cow::Owned(owned))),
        _ => None,
    }
}

/// A key, borrowed where it holds no escape.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}
