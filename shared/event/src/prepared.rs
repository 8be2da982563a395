//! A valid event: which bytes are legal, and the facts about it that routing and delivery need.

use crate::{
    Class, Envelope, Family, Invalid, Kind, Room,
    line::one_line,
    rules::{InnerIds, agreed, check_strings, require, take_from_room},
};
use bytes::Bytes;

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
    /// Read once, because every reader that is behind asks for it.
    pub(crate) class: Class,
}

impl Prepared {
    /// The type, parsed.
    #[must_use]
    pub fn kind(&self) -> Kind<'_> {
        Kind::parse(&self.kind).expect("checked by prepare")
    }

    /// The delivery class of its type.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
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
    let body = one_line("event", published, limits.depth_max)?;
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
        class: kind.class(),
        body,
    })
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
}
