//! The rules of an event that reach over its fields: which ids it must have, and that they agree wherever they stand.

use crate::{Envelope, Family, Invalid, Kind, Room, RoomKind, envelope::string_value, id};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Longest of the strings that are not ids: `nodeId`, `workflowId`, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Checks each string at the top level by itself.
pub(crate) fn check_strings(envelope: &Envelope<'_>) -> Result<(), Invalid> {
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
pub(crate) struct InnerIds<'a> {
    pub(crate) node_id: Option<Cow<'a, str>>,
    pub(crate) agent_id: Option<Cow<'a, str>>,
}

impl<'a> InnerIds<'a> {
    pub(crate) fn read(envelope: &Envelope<'a>, family: Family) -> Result<Self, Invalid> {
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

/// The id that stands at the top level, or in `data`, or the same in both.
pub(crate) fn agreed<'v>(field: &'static str, top: Option<&'v str>, inner: Option<&'v str>) -> Result<Option<&'v str>, Invalid> {
    match (top, inner) {
        (Some(top), Some(inner)) if top != inner => Err(Invalid::new(field, "differs between the top level and data")),
        (top, inner) => Ok(top.or(inner)),
    }
}

/// Takes the ids that a raw publish left to its room, and refuses those that disagree with it.
pub(crate) fn take_from_room(
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

/// Checks that the event has the ids that its family needs.
pub(crate) fn require(
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
    use crate::{Limits, Room, prepare};
    use bytes::Bytes;

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
