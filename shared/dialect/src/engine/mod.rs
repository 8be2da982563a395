//! Engine.IO v4, the layer beneath Socket.IO: packets over WebSocket or long polling, pings, and the upgrade from one to
//! the other. Server's side, without runtime, socket or clock.
//!
//! Reading order: [`query`] (what a request asks for, and its refusal), [`packet`], [`payload`] (several packets in one
//! body of long polling), [`session`] (what happens when).

pub mod packet;
pub mod payload;
pub mod query;
pub mod session;

pub use packet::{Control, Data, Handshake, Malformed, Packet};
pub use payload::{Payload, packets};
pub use query::{Method, Query, Refusal, Request, Transport};
pub use session::{Action, Actions, Ended, Input, Session, Times};
