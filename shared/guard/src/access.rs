//! What an identity may follow, act on and publish (wire contract, section 11). Pure: whose an execution is, the caller
//! finds out, and only where the answer depends on it.
//!
//! Every question compares tenants first: nothing crosses them, not even `admin`.

use crate::{
    Identity, Pattern,
    check::{Check, holds},
};
use weft_event::{Room, RoomKind};

/// The scopes of a token, space separated in its `scope` claim; others are not ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// `admin`: every room of its tenant.
    pub admin: bool,
    /// `executions:act`: act on executions that its room claims cover.
    pub act: bool,
    /// `executions:run`: take commands as an executor.
    pub run: bool,
    /// `events:publish`: a service's credential.
    pub publish: bool,
    /// `events:publish:own`: publish what carries its own `userId`.
    pub publish_own: bool,
}

impl Scopes {
    /// Reads the claim.
    #[must_use]
    pub fn parse(scope: &str) -> Self {
        let has = |name: &str| scope.split_ascii_whitespace().any(|one| one == name);
        Self {
            admin: has("admin"),
            act: has("executions:act"),
            run: has("executions:run"),
            publish: has("events:publish"),
            publish_own: has("events:publish:own"),
        }
    }
}

/// Whether something is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is.
    Yes,
    /// It is if the owner of this room (`execution:` or `kb:`) is the identity's subject.
    IfOwner(Room),
    /// It is not, whatever else is found out.
    No,
}

/// May it follow this room, read its history and its state?
#[must_use]
pub fn follow(identity: &Identity, room: &Room) -> Access {
    if !is_at_home(identity, room) {
        return Access::No;
    }
    if identity.scopes.admin || identity.is_own_room(room) || covered(&identity.rooms, room) {
        return Access::Yes;
    }
    match room.kind() {
        RoomKind::User => Access::No,
        RoomKind::Kb => Access::IfOwner(room.clone()),
        RoomKind::Execution | RoomKind::Agent => match execution_of(room) {
            Some(execution) if covered(&identity.rooms, &execution) => Access::Yes,
            Some(execution) => Access::IfOwner(execution),
            None => Access::No,
        },
    }
}

/// May it answer prompts of this execution (an `execution:` room), or cancel it?
#[must_use]
pub fn act(identity: &Identity, execution: &Room) -> Access {
    if !is_at_home(identity, execution) || execution.kind() != RoomKind::Execution {
        return Access::No;
    }
    let by_scope = (identity.scopes.act || !holds(Check::Acting)) && covered(&identity.rooms, execution);
    if identity.scopes.admin || by_scope { Access::Yes } else { Access::IfOwner(execution.clone()) }
}

/// May a client that brings no token follow this room? Public rooms are in no tenant.
#[must_use]
pub fn follow_anonymously(public: &[Pattern], room: &Room) -> Access {
    let of_public = |room: &Room| room.tenant().is_none() && covered(public, room);
    let is_public = of_public(room) || execution_of(room).is_some_and(|execution| of_public(&execution));
    if is_public { Access::Yes } else { Access::No }
}

/// May it publish anything at all over HTTP?
#[must_use]
pub fn publishes(identity: &Identity) -> bool {
    identity.scopes.publish || identity.scopes.publish_own || !holds(Check::Publishing)
}

/// May it publish over HTTP an event that reaches `room`, among others perhaps, and belongs to `user`? What narrows it to an
/// execution leaves it that execution's agents, as what lets somebody follow does; a user's room must be named.
#[must_use]
pub fn publish(identity: &Identity, room: &Room, user: Option<&str>) -> bool {
    let by_scope = identity.scopes.publish || (identity.scopes.publish_own && user == Some(&*identity.subject));
    let covers = |narrowed: &[Pattern]| covered(narrowed, room) || execution_of(room).is_some_and(|of| covered(narrowed, &of));
    let is_covered = identity.publish.as_deref().is_none_or(covers);
    is_at_home(identity, room) && (by_scope || !holds(Check::Publishing)) && is_covered
}

fn is_at_home(identity: &Identity, room: &Room) -> bool {
    room.tenant() == identity.tenant.as_deref() || !holds(Check::RoomTenant)
}

fn covered(patterns: &[Pattern], room: &Room) -> bool {
    patterns.iter().any(|pattern| pattern.covers(room))
}

/// The execution that a room is about.
fn execution_of(room: &Room) -> Option<Room> {
    let execution = Room::execution(room.execution_id()?).ok()?;
    execution.in_tenant(room.tenant()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> Room {
        Room::parse(name).expect(name)
    }

    fn identity(rooms: &[&str], scope: &str) -> Identity {
        Identity {
            subject: "u".into(),
            tenant: None,
            rooms: rooms.iter().filter_map(|text| Pattern::parse(text)).collect(),
            publish: None,
            scopes: Scopes::parse(scope),
            token_id: None,
            issued_at: None,
            expires_at: 1,
        }
    }

    fn owner(name: &str) -> Access {
        Access::IfOwner(room(name))
    }

    #[test]
    fn who_may_follow() {
        for (rooms, scope, asked, expected) in [
            (&[][..], "", "user:u", Access::Yes),
            (&[], "", "user:v", Access::No),
            (&[], "", "user:u2", Access::No),
            (&[], "", "execution:e", owner("execution:e")),
            (&[], "", "agent:a:e", owner("execution:e")),
            (&[], "", "agent:a:e:1", owner("execution:e:1")),
            (&[], "", "kb:k", owner("kb:k")),
            (&["execution:e"], "", "execution:e", Access::Yes),
            (&["execution:e"], "", "agent:a:e", Access::Yes),
            (&["execution:e"], "", "execution:f", owner("execution:f")),
            (&["execution:team-*"], "", "agent:a:team-1", Access::Yes),
            (&["agent:a:*"], "", "agent:a:e", Access::Yes),
            (&["agent:a:*"], "", "agent:b:e", owner("execution:e")),
            (&["agent:a:*"], "", "execution:e", owner("execution:e")),
            (&["user:v"], "", "user:v", Access::Yes),
            (&["*"], "", "user:v", Access::No),
            (&[], "executions:act events:publish", "user:v", Access::No),
            (&[], "admin", "user:v", Access::Yes),
            (&[], "admin", "kb:k", Access::Yes),
            (&[], "administrator xadmin", "user:v", Access::No),
        ] {
            assert_eq!(follow(&identity(rooms, scope), &room(asked)), expected, "{rooms:?} {scope:?} {asked}");
        }
    }

    #[test]
    fn following_is_not_acting() {
        let execution = room("execution:e");
        for (rooms, scope, expected) in [
            (&["execution:*"][..], "", owner("execution:e")),
            (&[], "executions:act", owner("execution:e")),
            (&["execution:e"], "executions:act", Access::Yes),
            (&["user:e"], "executions:act", owner("execution:e")),
            (&[], "admin", Access::Yes),
        ] {
            assert_eq!(act(&identity(rooms, scope), &execution), expected, "{rooms:?} {scope:?}");
        }
    }

    #[test]
    fn who_may_publish() {
        for (scope, narrowed, user, expected) in [
            ("events:publish", None, None, true),
            ("events:publish", None, Some("v"), true),
            ("events:publish:own", None, Some("u"), true),
            ("events:publish:own", None, Some("v"), false),
            ("events:publish:own", None, None, false),
            ("admin", None, Some("u"), false),
            ("", None, Some("u"), false),
            ("events:publish", Some(&["execution:e"][..]), None, true),
            ("events:publish", Some(&["execution:f"]), None, false),
            ("events:publish", Some(&[]), None, false),
        ] {
            let patterns = |all: &[&str]| all.iter().filter_map(|text| Pattern::parse(text)).collect();
            let identity = Identity { publish: narrowed.map(patterns), ..identity(&[], scope) };
            assert_eq!(publish(&identity, &room("execution:e"), user), expected, "{scope:?} {narrowed:?} {user:?}");
        }
    }

    #[test]
    fn what_is_public() {
        let public: Vec<Pattern> = ["execution:demo-*"].iter().filter_map(|text| Pattern::parse(text)).collect();
        for (asked, expected) in [
            ("execution:demo-1", Access::Yes),
            ("agent:a:demo-1", Access::Yes),
            ("execution:other", Access::No),
            ("user:demo-1", Access::No),
            ("kb:demo-1", Access::No),
        ] {
            assert_eq!(follow_anonymously(&public, &room(asked)), expected, "{asked}");
        }
    }
}
