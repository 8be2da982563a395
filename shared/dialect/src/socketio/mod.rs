//! Socket.IO v5, as it travels in Engine.IO messages (wire contract, sections 7 and 8). Without runtime, socket or clock.
//!
//! A [`Link`] turns a client's messages into [`Incoming`]; [`frame`] writes what goes out. Connection state recovery rests
//! on three things: the secret [`SessionId`] that a client presents again, the [`Recovery`] record that the bus keeps of
//! it, and the [`SessionOffset`] that stands for every room at once.
//!
//! The client keeps the trailing string of *any* event as its offset. So no function here that a recoverable session
//! uses can write an event whose last argument is a string: a payload is always an object, and what may follow it is a
//! [`SessionOffset`] alone. There is no function that writes DISCONNECT, and CONNECT_ERROR can say nothing of draining
//! or overload ([`ConnectRefusal`]): after either, the client would never come back by itself.
//!
//! Reading order: [`packet`], [`link`], [`command`], [`frame`], [`id`], [`offset`], [`recovery`].

mod binary;
pub mod command;
pub mod frame;
pub mod id;
pub mod link;
pub mod offset;
pub mod packet;
pub mod recovery;

pub use command::Command;
pub use frame::{Answer, ConnectRefusal, ack, connect_error, connected, event_with_args, tail, whole};
pub use id::{FleetKey, Purpose, SessionId};
pub use link::{Args, Auth, Event, Incoming, Limits, Link, Violation};
pub use offset::{Cursor, SessionOffset, room_tag};
pub use packet::{Kind, Packet};
pub use recovery::Recovery;

/// Most rooms of a session that can be recovered; with more it goes on without an offset and without a `pid`.
pub const RECOVERABLE_ROOMS_MAX: usize = 32;

/// A namespace that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Namespace(&'static str);

impl Namespace {
    /// Of system D.
    pub const MAIN: Self = Self("/");
    /// Of system A.
    pub const EXECUTIONS: Self = Self("/executions");
    /// What a gateway offers.
    pub const ALL: &'static [Self] = &[Self::MAIN, Self::EXECUTIONS];

    /// Another one, for a protocol suite that wants its own.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// As clients write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }

    /// What stands between the type of a packet and its payload.
    fn prefix(self) -> (&'static str, &'static str) {
        if self.0 == "/" { ("", "") } else { (self.0, ",") }
    }
}
