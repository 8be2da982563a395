//! Builds an event of the wire contract, field by field.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::fmt::Write as _;
use weft_event::{Invalid, Limits, Prepared, prepare};

/// An event that is being put together. Nothing is checked before [`EventDraft::prepare`], so building never fails.
///
/// ```
/// use weft_publisher::EventDraft;
/// let draft = EventDraft::new("agent:token").execution("e").agent("writer").data(serde_json::json!({"token": "Hi"}));
/// let event = draft.prepare(&Default::default()).unwrap();
/// assert_eq!(event.body, r#"{"type":"agent:token","executionId":"e","agentId":"writer","data":{"agentId":"writer","token":"Hi"}}"#);
/// ```
#[derive(Clone, Debug)]
pub struct EventDraft {
    kind: String,
    execution: Option<String>,
    id: Option<String>,
    timestamp: Option<String>,
    workflow: Option<String>,
    user: Option<String>,
    node: Option<String>,
    agent: Option<String>,
    knowledge_base: Option<String>,
    traceparent: Option<String>,
    /// The serialized `data`, or why it could not be serialized.
    data: Option<Result<Box<RawValue>, String>>,
    /// Further fields of the top level, which native clients see as they are.
    further: Vec<(String, Result<Box<RawValue>, String>)>,
}

impl EventDraft {
    /// An event of this type, `log` or `family:name`.
    #[must_use]
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            execution: None,
            id: None,
            timestamp: None,
            workflow: None,
            user: None,
            node: None,
            agent: None,
            knowledge_base: None,
            traceparent: None,
            data: None,
            further: Vec::new(),
        }
    }

    /// The same with another type.
    pub(crate) fn of_kind(mut self, kind: &str) -> Self {
        kind.clone_into(&mut self.kind);
        self
    }

    /// Sets `executionId`; required for all but `kb:*`.
    #[must_use]
    pub fn execution(mut self, id: impl Into<String>) -> Self {
        self.execution = Some(id.into());
        self
    }

    /// Sets `workflowId`.
    #[must_use]
    pub fn workflow(mut self, id: impl Into<String>) -> Self {
        self.workflow = Some(id.into());
        self
    }

    /// Sets `userId`, the owner; the event then also reaches `user:<id>`.
    #[must_use]
    pub fn user(mut self, id: impl Into<String>) -> Self {
        self.user = Some(id.into());
        self
    }

    /// Sets `nodeId`, at the top level and in `data`.
    #[must_use]
    pub fn node(mut self, id: impl Into<String>) -> Self {
        self.node = Some(id.into());
        self
    }

    /// Sets `agentId`, at the top level and in `data`, where older clients look for it.
    #[must_use]
    pub fn agent(mut self, id: impl Into<String>) -> Self {
        self.agent = Some(id.into());
        self
    }

    /// Sets `knowledgeBaseId`; required for `kb:*`.
    #[must_use]
    pub fn knowledge_base(mut self, id: impl Into<String>) -> Self {
        self.knowledge_base = Some(id.into());
        self
    }

    /// Sets the event's unique id; without it the publisher assigns a UUIDv7.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets `timestamp`, RFC 3339; without it the publisher writes the time of enqueueing.
    #[must_use]
    pub fn timestamp(mut self, rfc3339: impl Into<String>) -> Self {
        self.timestamp = Some(rfc3339.into());
        self
    }

    /// Sets the W3C trace context.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// Sets `data`, anything that serializes as an object. A [`RawValue`] reaches clients byte for byte.
    #[must_use]
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = Some(to_raw_value(&data).map_err(|error| error.to_string()));
        self
    }

    /// Adds a field of your own at the top level; the fabric carries it untouched.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.further.push((name.into(), to_raw_value(&value).map_err(|error| error.to_string())));
        self
    }

    /// Writes the event and checks it by every rule of the wire contract.
    pub fn prepare(&self, limits: &Limits) -> Result<Prepared, Invalid> {
        prepare(self.body()?, None, limits)
    }

    fn body(&self) -> Result<Bytes, Invalid> {
        let data = self.data_text()?;
        let mut body = String::with_capacity(256 + data.as_ref().map_or(0, String::len));
        body.push_str("{\"type\":");
        body.push_str(&quoted(&self.kind));
        for (name, value) in [
            ("executionId", &self.execution),
            ("id", &self.id),
            ("timestamp", &self.timestamp),
            ("workflowId", &self.workflow),
            ("userId", &self.user),
            ("nodeId", &self.node),
            ("agentId", &self.agent),
            ("knowledgeBaseId", &self.knowledge_base),
            ("traceparent", &self.traceparent),
        ] {
            if let Some(value) = value {
                let _ = write!(body, ",\"{name}\":{}", quoted(value));
            }
        }
        for (name, value) in &self.further {
            let value = value.as_ref().map_err(|error| Invalid::new("event", format!("cannot be serialized: {error}")))?;
            let _ = write!(body, ",{}:{}", quoted(name), value.get());
        }
        if let Some(data) = data {
            body.push_str(",\"data\":");
            body.push_str(&data);
        }
        body.push('}');
        Ok(body.into())
    }

    /// The `data` object with the ids that it shares with the top level written in, unless it has them already.
    fn data_text(&self) -> Result<Option<String>, Invalid> {
        let text = match &self.data {
            None => None,
            Some(Ok(data)) => Some(data.get()).filter(|text| *text != "null"),
            Some(Err(error)) => return Err(Invalid::new("data", format!("cannot be serialized: {error}"))),
        };
        let ids = [("agentId", &self.agent), ("nodeId", &self.node)];
        if ids.iter().all(|(_, id)| id.is_none()) {
            return Ok(text.map(str::to_owned));
        }
        let text = text.unwrap_or("{}");
        // Anything but an object is left as it is, for the check that follows to refuse by name.
        let Some(inner) = text.strip_prefix('{') else { return Ok(Some(text.to_owned())) };
        let present: InnerIds = serde_json::from_str(text).unwrap_or_default();
        let mut merged = String::with_capacity(text.len() + 64);
        for ((name, id), present) in ids.into_iter().zip([present.agent, present.node]) {
            if let (Some(id), false) = (id, present) {
                merged.push(if merged.is_empty() { '{' } else { ',' });
                let _ = write!(merged, "\"{name}\":{}", quoted(id));
            }
        }
        if merged.is_empty() {
            return Ok(Some(text.to_owned()));
        }
        if !inner.trim_start().starts_with('}') {
            merged.push(',');
        }
        merged.push_str(inner);
        Ok(Some(merged))
    }
}

/// Which of the shared ids `data` has already.
#[derive(Default, serde::Deserialize)]
struct InnerIds {
    #[serde(default, rename = "agentId", deserialize_with = "is_there")]
    agent: bool,
    #[serde(default, rename = "nodeId", deserialize_with = "is_there")]
    node: bool,
}

fn is_there<'de, D: serde::Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(value).map(|_| true)
}

use serde::Deserialize as _;

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn drafts_become_events() {
        let log = || EventDraft::new("log").execution("e");
        for (draft, expected) in [
            (log(), r#"{"type":"log","executionId":"e"}"#),
            (log().data(json!({"message": "a\n\"b\""})), r#"{"type":"log","executionId":"e","data":{"message":"a\n\"b\""}}"#),
            (log().data(serde_json::Value::Null), r#"{"type":"log","executionId":"e"}"#),
            (
                log().data(RawValue::from_string(r#"{"n":1.00e5}"#.into()).expect("json")),
                r#"{"type":"log","executionId":"e","data":{"n":1.00e5}}"#,
            ),
            (
                EventDraft::new("node:started").execution("e").workflow("w").user("u").node("n").id("i"),
                r#"{"type":"node:started","executionId":"e","id":"i","workflowId":"w","userId":"u","nodeId":"n","data":{"nodeId":"n"}}"#,
            ),
            (
                EventDraft::new("agent:token").execution("e").agent("a").data(json!({"agentId": "a"})),
                r#"{"type":"agent:token","executionId":"e","agentId":"a","data":{"agentId":"a"}}"#,
            ),
            (
                EventDraft::new("agent:token").execution("e").agent("a").node("n").data(json!({})),
                r#"{"type":"agent:token","executionId":"e","nodeId":"n","agentId":"a","data":{"agentId":"a","nodeId":"n"}}"#,
            ),
            (
                EventDraft::new("kb:processing").knowledge_base("k").field("region", "eu"),
                r#"{"type":"kb:processing","knowledgeBaseId":"k","region":"eu"}"#,
            ),
        ] {
            assert_eq!(draft.prepare(&Limits::default()).expect(expected).body, expected);
        }
    }

    #[test]
    fn what_breaks_the_contract_names_its_field() {
        for (draft, field) in [
            (EventDraft::new("log"), "executionId"),
            (EventDraft::new("connected").execution("e"), "type"),
            (EventDraft::new("log").execution("e").data(7), "data"),
            (EventDraft::new("node:started").execution("e").node("n").data([1]), "data"),
            (EventDraft::new("node:started").execution("e"), "nodeId"),
            (EventDraft::new("agent:token").execution("e").agent("a").data(json!({"agentId": "b"})), "agentId"),
            (EventDraft::new("log").execution("e").field("offset", 1), "offset"),
            (EventDraft::new("log").execution("e").field("executionId", "f"), "executionId"),
            (EventDraft::new("log").execution("e").timestamp("now"), "timestamp"),
            (EventDraft::new("log").execution("e").data(std::collections::BTreeMap::from([((1, 2), 3)])), "data"),
        ] {
            assert_eq!(draft.prepare(&Limits::default()).expect_err(field).field, field);
        }
    }
}
