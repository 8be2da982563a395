//! The event as published: which bytes are legal, and the fields that the fabric looks at.
//!
//! `data` and unknown fields are never parsed and printed again; the bytes that an executor published are the
//! bytes that a client reads, but that line breaks between JSON tokens become spaces.

use crate::{Family, Kind, Room, RoomKind, id};
use bytes::Bytes;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Why an event, id or name was refused: the field, and the rule it broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// The field at fault, as it is written in the event; `event` stands for the whole.
    pub field: &'static str,
    /// The rule, in words that follow the field's name.
    pub rule: Cow<'static, str>,
}

impl Invalid {
    /// A refusal of `field`.
    pub fn new(field: &'static str, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { field, rule: rule.into() }
    }
}

/// Bounds on an event.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest event in bytes. NATS counts headers within its 1 MiB and some clients refuse larger frames.
    pub event_bytes_max: usize,
    /// Deepest nesting of objects and arrays.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { event_bytes_max: 960 * 1024, depth_max: 128 }
    }
}

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

/// Longest of the strings that are not ids: `nodeId`, `workflowId`, in bytes.
const NAME_BYTES_MAX: usize = 256;

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
    agent_id_null: bool,
    /// The same of `knowledgeBaseId`.
    knowledge_base_id_null: bool,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of one JSON object. Types and presence are checked; ids and rules are not, see [`prepare`].
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
fn string_value(value: &RawValue) -> Option<Option<Cow<'_, str>>> {
    let text = value.get();
    match text.as_bytes() {
        b"null" => Some(None),
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Some(Some(Cow::Borrowed(&text[1..text.len() - 1]))),
        [b'"', ..] => serde_json::from_str::<String>(text).ok().map(|owned| Some(Cow::Owned(owned))),
        _ => None,
    }
}

/// A key, borrowed where it holds no escape.
struct Key<'a>(Cow<'a, str>);

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

/// The body of a valid event: one JSON object on one line. Cheap to clone.
pub type EventBytes = Bytes;

/// A valid event: its bytes, and the facts about it that routing and delivery need.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// One JSON object on one line, as published.
    pub body: EventBytes,
    /// The type.
    pub kind: Box<str>,
    /// The event's own id, if it brought one.
    pub id: Option<Box<str>>,
    /// The execution, from the body or else from the room it came by.
    pub execution_id: Option<Box<str>>,
    /// The owner.
    pub user_id: Option<Box<str>>,
    /// The agent of an `agent:*` event.
    pub agent_id: Option<Box<str>>,
    /// The node of a `node:*` event.
    pub node_id: Option<Box<str>>,
    /// The knowledge base of a `kb:*` event.
    pub knowledge_base_id: Option<Box<str>>,
    /// Whether the body lacks `executionId` and the room supplied it.
    pub execution_id_implied: bool,
    /// Whether neither the body nor its `data` has `agentId` and the room supplied it.
    pub agent_id_implied: bool,
    /// Whether the body lacks `knowledgeBaseId` and the room supplied it.
    pub knowledge_base_id_implied: bool,
    /// Whether the body has a `timestamp`.
    pub has_timestamp: bool,
}

impl Prepared {
    /// The type, parsed.
    #[must_use]
    pub fn kind(&self) -> Kind<'_> {
        Kind::parse(&self.kind).expect("checked by prepare")
    }

    /// The rooms the event reaches (wire contract, section 2), its first room first.
    pub fn rooms(&self, tenant: Option<&str>) -> Result<Vec<Room>, Invalid> {
        let family = self.kind().family();
        let mut rooms = Vec::with_capacity(3);
        if let Some(execution) = &self.execution_id {
            rooms.push(Room::execution(execution)?.in_tenant(tenant)?);
        }
        if let (Family::Kb, Some(kb)) = (family, &self.knowledge_base_id) {
            rooms.push(Room::kb(kb)?.in_tenant(tenant)?);
        }
        if let Some(user) = &self.user_id {
            rooms.push(Room::user(user)?.in_tenant(tenant)?);
        }
        if let (Family::Agent, Some(agent), Some(execution)) = (family, &self.agent_id, &self.execution_id) {
            rooms.push(Room::agent(agent, execution)?.in_tenant(tenant)?);
        }
        Ok(rooms)
    }

    /// The envelope, read again from the body.
    pub fn envelope(&self) -> Envelope<'_> {
        Envelope::parse(&self.body).expect("checked by prepare")
    }

    /// The same event with `id` and `timestamp` written into the body where it lacks them.
    #[must_use]
    pub fn completed(mut self, id: &str, timestamp: &str) -> Self {
        let mut added = String::new();
        if self.id.is_none() {
            added.push_str(&format!(",\"id\":\"{id}\""));
            self.id = Some(id.into());
        }
        if !self.has_timestamp {
            added.push_str(&format!(",\"timestamp\":\"{timestamp}\""));
            self.has_timestamp = true;
        }
        if !added.is_empty() {
            let open = self.body.len() - 1;
            let mut body = Vec::with_capacity(self.body.len() + added.len());
            body.extend_from_slice(&self.body[..open]);
            body.extend_from_slice(added.as_bytes());
            body.push(b'}');
            self.body = body.into();
        }
        self
    }
}

/// Checks an event by every rule of the wire contract's section 1 and reads what routing needs.
///
/// With `room`, the event came by that room without a library: a missing `executionId` (agent and knowledge base
/// ids too) is taken from the room, and ids that disagree with the room are refused.
pub fn prepare(published: Bytes, room: Option<&Room>, limits: &Limits) -> Result<Prepared, Invalid> {
    if published.len() > limits.event_bytes_max {
        return Err(Invalid::new("event", format!("must be at most {} bytes", limits.event_bytes_max)));
    }
    let body = one_line(published, limits.depth_max)?;
    let envelope = Envelope::parse(&body)?;
    let kind = Kind::parse(&envelope.kind)?;
    check_strings(&envelope)?;
    let inner = InnerIds::read(&envelope, kind.family())?;
    let node_id = agreed("nodeId", envelope.node_id.as_deref(), inner.node_id.as_deref())?;
    let mut agent_id = agreed("agentId", envelope.agent_id.as_deref(), inner.agent_id.as_deref())?.map(Box::from);
    let mut execution_id = envelope.execution_id.as_deref().map(Box::from);
    let mut knowledge_base_id = envelope.knowledge_base_id.as_deref().map(Box::from);
    let had = (execution_id.is_some(), agent_id.is_some(), knowledge_base_id.is_some());
    if let Some(room) = room {
        take_from_room(room, kind, &mut execution_id, &mut agent_id, &mut knowledge_base_id, envelope.user_id.as_deref())?;
    }
    let execution_id_implied = !had.0 && execution_id.is_some();
    let agent_id_implied = !had.1 && agent_id.is_some();
    let knowledge_base_id_implied = !had.2 && knowledge_base_id.is_some();
    for (field, implied, null) in [
        ("agentId", agent_id_implied, envelope.agent_id_null),
        ("knowledgeBaseId", knowledge_base_id_implied, envelope.knowledge_base_id_null),
    ] {
        if implied && null {
            return Err(Invalid::new(field, "must be left out where the room supplies it, not null"));
        }
    }
    require(kind, execution_id.as_deref(), node_id, agent_id.as_deref(), knowledge_base_id.as_deref())?;
    Ok(Prepared {
        kind: kind.as_str().into(),
        id: envelope.id.as_deref().map(Box::from),
        execution_id,
        user_id: envelope.user_id.as_deref().map(Box::from),
        agent_id,
        node_id: node_id.map(Box::from),
        knowledge_base_id,
        execution_id_implied,
        agent_id_implied,
        knowledge_base_id_implied,
        has_timestamp: envelope.timestamp.is_some(),
        body,
    })
}

/// Trims white space around the object, turns line breaks into spaces and bounds the nesting.
fn one_line(published: Bytes, depth_max: usize) -> Result<Bytes, Invalid> {
    // White space as JSON knows it (RFC 8259, section 2): a form feed is none, and the parser then refuses it.
    let solid = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let start = published.iter().position(solid).unwrap_or(published.len());
    let end = published.iter().rposition(solid).map_or(start, |last| last + 1);
    let body = published.slice(start..end);
    let (mut depth, mut in_string, mut escaped, mut breaks) = (0usize, false, false, false);
    for &byte in body.iter() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'\n' | b'\r' => breaks = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return Err(Invalid::new("event", format!("must nest at most {depth_max} deep")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if !breaks {
        return Ok(body);
    }
    // A raw line break inside a string is illegal JSON and refused by the parser, so those here part tokens.
    let mut flat = body.to_vec();
    let (mut in_string, mut escaped) = (false, false);
    for byte in &mut flat {
        match *byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'\n' | b'\r' if !in_string => *byte = b' ',
            _ => {}
        }
    }
    Ok(flat.into())
}

fn check_strings(envelope: &Envelope<'_>) -> Result<(), Invalid> {
    let checked: [(&'static str, &Option<Cow<'_, str>>); 4] = [
        ("executionId", &envelope.execution_id),
        ("id", &envelope.id),
        ("userId", &envelope.user_id),
        ("knowledgeBaseId", &envelope.knowledge_base_id),
    ];
    for (field, value) in checked {
        if let Some(value) = value {
            id::check(field, value)?;
        }
    }
    if let Some(agent) = &envelope.agent_id {
        id::check_agent("agentId", agent)?;
    }
    for (field, value) in
        [("workflowId", &envelope.workflow_id), ("nodeId", &envelope.node_id), ("traceparent", &envelope.traceparent)]
    {
        if value.as_ref().is_some_and(|value| value.is_empty() || value.len() > NAME_BYTES_MAX) {
            return Err(Invalid::new(field, "must be 1 to 256 bytes"));
        }
    }
    if let Some(timestamp) = &envelope.timestamp {
        let rfc3339 = timestamp.len() <= 40 && timestamp.parse::<jiff::Timestamp>().is_ok();
        if !rfc3339 {
            return Err(Invalid::new("timestamp", "must be RFC 3339, as 2026-01-31T12:00:00.000Z"));
        }
    }
    Ok(())
}

/// The ids that system B writes inside `data`.
#[derive(Default)]
struct InnerIds<'a> {
    node_id: Option<Cow<'a, str>>,
    agent_id: Option<Cow<'a, str>>,
}

impl<'a> InnerIds<'a> {
    fn read(envelope: &Envelope<'a>, family: Family) -> Result<Self, Invalid> {
        if !matches!(family, Family::Node | Family::Agent) {
            return Ok(Self::default());
        }
        #[derive(serde::Deserialize)]
        struct Peek<'a> {
            #[serde(borrow, rename = "nodeId")]
            node_id: Option<&'a RawValue>,
            #[serde(borrow, rename = "agentId")]
            agent_id: Option<&'a RawValue>,
        }
        let peek: Peek<'a> = serde_json::from_str(envelope.data_text())
            .map_err(|error| Invalid::new("data", format!("cannot be read: {error}")))?;
        let text = |field, value: Option<&'a RawValue>| match value.map(string_value) {
            None => Ok(None),
            Some(Some(text)) => Ok(text),
            Some(None) => Err(Invalid::new(field, "must be a string")),
        };
        let inner = Self { node_id: text("data.nodeId", peek.node_id)?, agent_id: text("data.agentId", peek.agent_id)? };
        if family == Family::Agent
            && let Some(agent) = &inner.agent_id
        {
            id::check_agent("data.agentId", agent)?;
        }
        if inner.node_id.as_ref().is_some_and(|node| node.is_empty() || node.len() > NAME_BYTES_MAX) {
            return Err(Invalid::new("data.nodeId", "must be 1 to 256 bytes"));
        }
        Ok(inner)
    }
}

fn agreed<'v>(field: &'static str, top: Option<&'v str>, inner: Option<&'v str>) -> Result<Option<&'v str>, Invalid> {
    match (top, inner) {
        (Some(top), Some(inner)) if top != inner => Err(Invalid::new(field, "differs between the top level and data")),
        (top, inner) => Ok(top.or(inner)),
    }
}

fn take_from_room(
    room: &Room,
    kind: Kind<'_>,
    execution_id: &mut Option<Box<str>>,
    agent_id: &mut Option<Box<str>>,
    knowledge_base_id: &mut Option<Box<str>>,
    user_id: Option<&str>,
) -> Result<(), Invalid> {
    let fits = |field, slot: &mut Option<Box<str>>, of_room: &str| match slot.as_deref() {
        None => {
            *slot = Some(of_room.into());
            Ok(())
        }
        Some(own) if own == of_room => Ok(()),
        Some(_) => Err(Invalid::new(field, "disagrees with the room it was published to")),
    };
    match room.kind() {
        RoomKind::Execution => fits("executionId", execution_id, room.id()),
        RoomKind::User => match user_id {
            Some(user) if user != room.id() => Err(Invalid::new("userId", "disagrees with the room it was published to")),
            _ => Ok(()),
        },
        RoomKind::Kb if kind.family() != Family::Kb => Err(Invalid::new("type", "a kb: room carries kb:* events only")),
        RoomKind::Kb => fits("knowledgeBaseId", knowledge_base_id, room.id()),
        RoomKind::Agent if kind.family() != Family::Agent => {
            Err(Invalid::new("type", "an agent: room carries agent:* events only"))
        }
        RoomKind::Agent => {
            let (agent, execution) = room.id().split_once(':').unwrap_or_default();
            fits("agentId", agent_id, agent)?;
            fits("executionId", execution_id, execution)
        }
    }
}

fn require(
    kind: Kind<'_>,
    execution: Option<&str>,
    node: Option<&str>,
    agent: Option<&str>,
    kb: Option<&str>,
) -> Result<(), Invalid> {
    let needed = |field, present: bool, by: &str| {
        if present { Ok(()) } else { Err(Invalid::new(field, format!("is required for {by} events"))) }
    };
    match kind.family() {
        Family::Kb => return needed("knowledgeBaseId", kb.is_some(), "kb:*"),
        Family::Node => needed("nodeId", node.is_some(), "node:*")?,
        Family::Agent => needed("agentId", agent.is_some(), "agent:*")?,
        Family::Execution | Family::UserInput | Family::Log | Family::Other => {}
    }
    needed("executionId", execution.is_some(), "all but kb:*")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Invalid {
        prepare(Bytes::copy_from_slice(text.as_bytes()), None, &Limits::default()).expect_err(text)
    }

    fn accepted(text: &str) -> Prepared {
        prepare(Bytes::copy_from_slice(text.as_bytes()), None, &Limits::default()).expect(text)
    }

    #[test]
    fn every_refusal_names_its_field() {
        for (text, field) in [
            ("", "event"),
            ("[]", "event"),
            ("{\"type\":\"log\"} x", "event"),
            ("{\"executionId\":\"e\"}", "type"),
            ("{\"type\":\"connected\",\"executionId\":\"e\"}", "type"),
            ("{\"type\":1,\"executionId\":\"e\"}", "type"),
            ("{\"type\":\"log\"}", "executionId"),
            ("{\"type\":\"log\",\"executionId\":\"a b\"}", "executionId"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"executionId\":\"f\"}", "executionId"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"offset\":1}", "offset"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"room\":1}", "room"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"first\":1}", "first"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"skipped\":1}", "skipped"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"sk\\u0069pped\":1}", "skipped"),
            ("{\"type\":\"log\",\"executionId\":null}", "executionId"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"id\":null}", "id"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"\\u0069d\":null}", "id"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"timestamp\":null}", "timestamp"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"userId\":null,\"userId\":\"u\"}", "userId"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"data\":null,\"data\":{}}", "data"),
            ("\u{c}{\"type\":\"log\",\"executionId\":\"e\"}", "event"),
            ("{\"type\":\"log\",\"executionId\":\"e\"}\u{c}", "event"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"data\":[]}", "data"),
            ("{\"type\":\"log\",\"executionId\":\"e\",\"timestamp\":\"yesterday\"}", "timestamp"),
            ("{\"type\":\"node:started\",\"executionId\":\"e\"}", "nodeId"),
            ("{\"type\":\"node:started\",\"executionId\":\"e\",\"nodeId\":\"a\",\"data\":{\"nodeId\":\"b\"}}", "nodeId"),
            ("{\"type\":\"agent:token\",\"executionId\":\"e\"}", "agentId"),
            ("{\"type\":\"agent:token\",\"executionId\":\"e\",\"data\":{\"agentId\":\"a:b\"}}", "data.agentId"),
            ("{\"type\":\"kb:processing\"}", "knowledgeBaseId"),
        ] {
            assert_eq!(refusal(text).field, field, "{text}");
        }
        let deep =
            format!("{{\"type\":\"log\",\"executionId\":\"e\",\"data\":{{\"a\":{}{}}}}}", "[".repeat(300), "]".repeat(300));
        assert_eq!(refusal(&deep).field, "event");
    }

    #[test]
    fn bytes_pass_through_but_for_line_breaks_between_tokens() {
        let event = accepted(" {\"type\":\"log\",\n\"executionId\":\"e\",\"data\":{\"n\":1.00e5,\r\n\"t\":\"a\\nb \\\" {\"}}\n");
        assert_eq!(event.body, "{\"type\":\"log\", \"executionId\":\"e\",\"data\":{\"n\":1.00e5,  \"t\":\"a\\nb \\\" {\"}}");
        let event = event.completed("id-1", "2026-01-01T00:00:00.000Z");
        assert!(event.body.ends_with(b"},\"id\":\"id-1\",\"timestamp\":\"2026-01-01T00:00:00.000Z\"}"), "{:?}", event.body);
        Envelope::parse(&event.body).expect("still an event");
    }

    #[test]
    fn rooms_of_an_event_begin_with_its_first() {
        let event = accepted("{\"type\":\"agent:token\",\"executionId\":\"e\",\"userId\":\"u\",\"data\":{\"agentId\":\"a\"}}");
        let rooms: Vec<_> = event.rooms(None).expect("rooms").iter().map(ToString::to_string).collect();
        assert_eq!(rooms, ["execution:e", "user:u", "agent:a:e"]);
        let event = accepted("{\"type\":\"kb:processing\",\"knowledgeBaseId\":\"k\",\"userId\":\"u\"}");
        let rooms: Vec<_> = event.rooms(Some("t")).expect("rooms").iter().map(|room| room.broker_name().to_owned()).collect();
        assert_eq!(rooms, ["t/kb:k", "t/user:u"]);
    }

    #[test]
    fn a_raw_publish_takes_its_ids_from_the_room_or_is_refused() {
        let raw = |text: &'static str, room: &str| {
            prepare(Bytes::from_static(text.as_bytes()), Some(&Room::parse(room).expect(room)), &Limits::default())
        };
        let event = raw("{\"type\":\"log\"}", "execution:e").expect("implied");
        assert!(event.execution_id_implied && event.execution_id.as_deref() == Some("e"));
        assert_eq!(raw("{\"type\":\"log\",\"executionId\":\"f\"}", "execution:e").expect_err("differs").field, "executionId");
        assert_eq!(
            raw("{\"type\":\"log\",\"executionId\":\"f\",\"userId\":\"x\"}", "user:u").expect_err("differs").field,
            "userId"
        );
        assert_eq!(raw("{\"type\":\"log\",\"executionId\":null}", "execution:e").expect_err("null").field, "executionId");
    }

    #[test]
    fn an_id_counts_as_implied_where_only_the_room_has_it() {
        for (text, room, implied) in [
            ("{\"type\":\"agent:token\"}", "agent:a:e", Ok((true, true, false))),
            ("{\"type\":\"agent:token\",\"agentId\":\"a\"}", "agent:a:e", Ok((true, false, false))),
            ("{\"type\":\"agent:token\",\"data\":{\"agentId\":\"a\"}}", "agent:a:e", Ok((true, false, false))),
            // Nothing is added at the top level here, so its `null` meets no second key.
            ("{\"type\":\"agent:token\",\"agentId\":null,\"data\":{\"agentId\":\"a\"}}", "agent:a:e", Ok((true, false, false))),
            ("{\"type\":\"agent:token\",\"agentId\":null}", "agent:a:e", Err("agentId")),
            ("{\"type\":\"kb:processing\"}", "kb:k", Ok((false, false, true))),
            ("{\"type\":\"kb:processing\",\"knowledgeBaseId\":\"k\"}", "kb:k", Ok((false, false, false))),
            ("{\"type\":\"kb:processing\",\"knowledgeBaseId\":null}", "kb:k", Err("knowledgeBaseId")),
            ("{\"type\":\"log\",\"agentId\":null,\"knowledgeBaseId\":null}", "execution:e", Ok((true, false, false))),
        ] {
            let room = Room::parse(room).expect(room);
            let found = prepare(Bytes::from_static(text.as_bytes()), Some(&room), &Limits::default());
            let flags = found.map(|event| (event.execution_id_implied, event.agent_id_implied, event.knowledge_base_id_implied));
            assert_eq!(flags.map_err(|refusal| refusal.field), implied, "{text}");
        }
    }
}
