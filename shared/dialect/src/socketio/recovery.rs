//! What the bus keeps of a session that may be recovered, under its `pid`, written before a subscribe is acknowledged.

use super::{Namespace, RECOVERABLE_ROOMS_MAX, SessionOffset, room_tag};
use serde::{Deserialize, Serialize};
use weft_event::{Offset, Resume, Room};

/// The version written. A record of another version is not read: its session starts afresh, and is told so.
const VERSION: u8 = 1;

/// Largest record in bytes: its rooms, each with the longest name and position, and what stands around them.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// One room of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Which, without its tenant.
    pub room: Room,
    /// The position before the first event that this session was to be told of it; `None` if the room was empty.
    pub start: Option<Offset>,
}

/// The record of one session: whose it is, and what it follows from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The tenant of its token.
    pub tenant: Option<String>,
    /// The subject of its token; `None` of a client without one.
    pub subject: Option<String>,
    /// Where it was connected.
    pub namespace: Namespace,
    rooms: Vec<Followed>,
}

/// Why a room cannot be added: the session goes on without recovery, and its record is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrecoverable {
    /// As many rooms as can be recovered.
    #[error("a session of more than {RECOVERABLE_ROOMS_MAX} rooms cannot be recovered")]
    TooManyRooms,
    /// Another room has the same tag, so that the offset could not tell them apart.
    #[error("two rooms have the same tag")]
    SameTag,
}

/// Why a record is not read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It was written by another version.
    #[error("version {0} is not read here")]
    Version(u8),
    /// It is no record, or larger than any.
    #[error("no record of a session: {0}")]
    Broken(String),
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s: Option<String>,
    n: &'a str,
    /// Names, and starts as offsets, empty where there is none.
    r: Vec<(String, String)>,
}

impl Recovery {
    /// Of a session that follows nothing yet.
    #[must_use]
    pub fn new(tenant: Option<&str>, subject: Option<&str>, namespace: Namespace) -> Self {
        Self { tenant: tenant.map(str::to_owned), subject: subject.map(str::to_owned), namespace, rooms: Vec::new() }
    }

    /// The rooms followed.
    #[must_use]
    pub fn rooms(&self) -> &[Followed] {
        &self.rooms
    }

    /// Adds a room. What is followed already stays as it is: its start is older.
    pub fn add(&mut self, room: &Room, start: Option<Offset>) -> Result<(), Unrecoverable> {
        let room = room.in_tenant(None).unwrap_or_else(|_| room.clone());
        if self.rooms.iter().any(|followed| followed.room == room) {
            return Ok(());
        }
        if self.rooms.len() == RECOVERABLE_ROOMS_MAX {
            return Err(Unrecoverable::TooManyRooms);
        }
        if self.rooms.iter().any(|followed| room_tag(&followed.room) == room_tag(&room)) {
            return Err(Unrecoverable::SameTag);
        }
        if self.rooms.len() == self.rooms.capacity() {
            // Of sessions with one room there are very many.
            self.rooms.reserve_exact((self.rooms.len() / 2).max(1));
        }
        self.rooms.push(Followed { room, start });
        Ok(())
    }

    /// Takes a room out; whether it was in.
    pub fn remove(&mut self, room: &Room) -> bool {
        let before = self.rooms.len();
        self.rooms.retain(|followed| followed.room.name() != room.name());
        self.rooms.len() < before
    }

    /// Whether the session may be given to a client of this tenant and subject in this namespace. Its rooms are to be
    /// authorized again all the same: a secret is not authority.
    #[must_use]
    pub fn is_of(&self, tenant: Option<&str>, subject: Option<&str>, namespace: Namespace) -> bool {
        self.tenant.as_deref() == tenant && self.subject.as_deref() == subject && self.namespace == namespace
    }

    /// Where to go on in each room, given the last offset that the client was told, if any.
    ///
    /// A client keeps its offset over a session that was not recovered. So a cursor of a room that is followed no more,
    /// or from before the room's start, says nothing about this session, and the room goes on from its start.
    #[must_use]
    pub fn resume(&self, offset: Option<&SessionOffset>) -> Vec<(Room, Resume)> {
        let resume = |followed: &Followed| {
            let cursor = offset.and_then(|offset| offset.of(room_tag(&followed.room)));
            (followed.room.clone(), later(followed.start, cursor.copied()))
        };
        self.rooms.iter().map(resume).collect()
    }

    /// As the bus keeps it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let start = |followed: &Followed| followed.start.map(|start| start.to_string()).unwrap_or_default();
        let stored = Stored {
            v: VERSION,
            t: self.tenant.clone(),
            s: self.subject.clone(),
            n: self.namespace.name(),
            r: self.rooms.iter().map(|followed| (followed.room.name().to_owned(), start(followed))).collect(),
        };
        serde_json::to_vec(&stored).expect("strings and numbers always serialize")
    }

    /// Reads what the bus kept, of a session in one of `known`. What is on a bus is input.
    pub fn decode(bytes: &[u8], known: &[Namespace]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Version {
            v: u8,
        }
        let broken = |what: &dyn std::fmt::Display| Unreadable::Broken(what.to_string());
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(broken(&"too large"));
        }
        // A later version may have other fields, but has this one.
        let Version { v } = serde_json::from_slice(bytes).map_err(|error| broken(&error))?;
        if v != VERSION {
            return Err(Unreadable::Version(v));
        }
        let stored: Stored<'_> = serde_json::from_slice(bytes).map_err(|error| broken(&error))?;
        let namespace = known.iter().copied().find(|known| known.name() == stored.n);
        let mut record = Self {
            tenant: stored.t,
            subject: stored.s,
            namespace: namespace.ok_or_else(|| broken(&"unknown namespace"))?,
            rooms: Vec::with_capacity(stored.r.len().min(RECOVERABLE_ROOMS_MAX)),
        };
        for (room, start) in &stored.r {
            let room = Room::parse(room).map_err(|error| broken(&error))?;
            let start = if start.is_empty() { None } else { Some(start.parse().map_err(|error| broken(&error))?) };
            record.add(&room, start).map_err(|error| broken(&error))?;
        }
        Ok(record)
    }
}

/// The later of where a follow began and what the client was told of it.
fn later(start: Option<Offset>, cursor: Option<Offset>) -> Resume {
    let (start, cursor) = match (start, cursor) {
        (None, None) => return Resume::Start,
        (Some(start), None) => return Resume::After(start),
        (None, Some(cursor)) => return Resume::After(cursor),
        (Some(start), Some(cursor)) => (start, cursor),
    };
    if cursor.at.epoch != start.at.epoch {
        // Which of two epochs is the later one, no epoch tells; the read that follows finds out, and tells a gap if
        // the cursor was of a lost history.
        return Resume::After(cursor);
    }
    // Of an event told in part the rest is still to come: its cursor stands before that of the whole event.
    let place = |offset: &Offset| (offset.at.seq, offset.part.is_none(), offset.part);
    if place(&cursor) < place(&start) {
        return Resume::After(start);
    }
    let since = cursor.since.or(start.since).or(Some(start.at.seq));
    Resume::After(Offset { since, ..cursor })
}
