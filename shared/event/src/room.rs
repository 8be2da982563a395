//! Rooms: what events are about, and the names that clients and brokers call them by.

use crate::{Invalid, id};
use std::{fmt, sync::Arc};

/// The four kinds of room (wire contract, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoomKind {
    /// Every event with that `executionId`.
    Execution,
    /// Every event with that `userId`.
    User,
    /// Every `agent:*` event with both ids.
    Agent,
    /// Every `kb:*` event with that `knowledgeBaseId`.
    Kb,
}

impl RoomKind {
    /// The word before the first colon.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Kb => "kb",
        }
    }
}

/// A room, valid by construction; cheap to clone.
///
/// Clients see [`Room::name`]; brokers see [`Room::broker_name`], which begins with the tenant where there is one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Room {
    /// `[<tenant>/]<kind>:<id>`
    text: Arc<str>,
}

impl Room {
    /// Reads a client's room name, `execution:<id>`, `user:<id>`, `agent:<agent>:<execution>` or `kb:<id>`.
    pub fn parse(name: &str) -> Result<Self, Invalid> {
        check_name(name)?;
        Ok(Self { text: name.into() })
    }

    /// Reads a broker name, `[<tenant>/]<room>`.
    pub fn parse_broker_name(text: &str) -> Result<Self, Invalid> {
        match text.split_once('/') {
            None => Self::parse(text),
            Some((tenant, name)) => {
                id::check_tenant(tenant)?;
                check_name(name)?;
                Ok(Self { text: text.into() })
            }
        }
    }

    /// `execution:<id>`.
    pub fn execution(execution_id: &str) -> Result<Self, Invalid> {
        id::check("executionId", execution_id)?;
        Ok(Self { text: format!("execution:{execution_id}").into() })
    }

    /// `user:<id>`.
    pub fn user(user_id: &str) -> Result<Self, Invalid> {
        id::check("userId", user_id)?;
        Ok(Self { text: format!("user:{user_id}").into() })
    }

    /// `agent:<agent>:<execution>`.
    pub fn agent(agent_id: &str, execution_id: &str) -> Result<Self, Invalid> {
        id::check_agent("agentId", agent_id)?;
        id::check("executionId", execution_id)?;
        Ok(Self { text: format!("agent:{agent_id}:{execution_id}").into() })
    }

    /// `kb:<id>`.
    pub fn kb(knowledge_base_id: &str) -> Result<Self, Invalid> {
        id::check("knowledgeBaseId", knowledge_base_id)?;
        Ok(Self { text: format!("kb:{knowledge_base_id}").into() })
    }

    /// The same room inside `tenant`; `None` takes it out of any.
    pub fn in_tenant(&self, tenant: Option<&str>) -> Result<Self, Invalid> {
        match tenant {
            None => Ok(Self { text: self.name().into() }),
            Some(tenant) => {
                id::check_tenant(tenant)?;
                Ok(Self { text: format!("{tenant}/{}", self.name()).into() })
            }
        }
    }

    /// The name that clients use, without tenant.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.split_once('/').map_or(&self.text, |(_, name)| name)
    }

    /// The name that brokers use, `[<tenant>/]<name>`.
    #[must_use]
    pub fn broker_name(&self) -> &str {
        &self.text
    }

    /// The tenant, if the room is in one.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.text.split_once('/').map(|(tenant, _)| tenant)
    }

    /// Which kind of room this is.
    #[must_use]
    pub fn kind(&self) -> RoomKind {
        match self.name().as_bytes()[0] {
            b'e' => RoomKind::Execution,
            b'u' => RoomKind::User,
            b'a' => RoomKind::Agent,
            _ => RoomKind::Kb,
        }
    }

    /// What follows the kind and its colon; of an agent room `<agent>:<execution>`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.name().split_once(':').map_or("", |(_, id)| id)
    }

    /// The execution this room is about: of `execution:` and `agent:` rooms.
    #[must_use]
    pub fn execution_id(&self) -> Option<&str> {
        match self.kind() {
            RoomKind::Execution => Some(self.id()),
            RoomKind::Agent => self.id().split_once(':').map(|(_, execution)| execution),
            RoomKind::User | RoomKind::Kb => None,
        }
    }

    /// The one NATS token for this room: its broker name with `.` written as `%2E`.
    #[must_use]
    pub fn nats_token(&self) -> String {
        self.text.replace('.', "%2E")
    }

    /// Reads a room back from its NATS token.
    pub fn parse_nats_token(token: &str) -> Result<Self, Invalid> {
        if token.contains('.') {
            return Err(Invalid::new("room", "a NATS token holds no '.'"));
        }
        Self::parse_broker_name(&token.replace("%2E", "."))
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let Some((kind, rest)) = name.split_once(':') else {
        return Err(Invalid::new("room", "must be execution:<id>, user:<id>, agent:<agentId>:<executionId> or kb:<id>"));
    };
    match kind {
        "execution" | "user" | "kb" => id::check("room", rest),
        "agent" => {
            let (agent, execution) =
                rest.split_once(':').ok_or_else(|| Invalid::new("room", "an agent room is agent:<agentId>:<executionId>"))?;
            id::check_agent("room", agent)?;
            id::check("room", execution)
        }
        _ => Err(Invalid::new("room", "must begin with execution:, user:, agent: or kb:")),
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (name, kind, execution) in [
            ("execution:exec-1", RoomKind::Execution, Some("exec-1")),
            ("execution:a:b.c", RoomKind::Execution, Some("a:b.c")),
            ("user:u@x.org", RoomKind::User, None),
            ("agent:writer:exec:1", RoomKind::Agent, Some("exec:1")),
            ("kb:docs", RoomKind::Kb, None),
        ] {
            let room = Room::parse(name).expect(name);
            assert_eq!((room.name(), room.kind(), room.execution_id()), (name, kind, execution));
            let inside = room.in_tenant(Some("acme")).expect("tenant");
            assert_eq!((inside.name(), inside.tenant()), (name, Some("acme")));
            assert_eq!(Room::parse_nats_token(&inside.nats_token()).expect("token"), inside);
            assert!(!inside.nats_token().contains('.'));
        }
    }

    #[test]
    fn illegal_names_are_refused() {
        for name in ["", "execution", "execution:", "job:1", "agent:a", "agent::e", "acme/execution:1", "execution:*", "kb:a b"] {
            assert!(Room::parse(name).is_err(), "{name}");
        }
        assert!(Room::parse_broker_name("a.b/execution:1").is_err());
        assert!(Room::parse_nats_token("execution:a%20b").is_err());
    }
}
