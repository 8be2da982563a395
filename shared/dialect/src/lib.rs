//! How clients speak: bytes to commands, events to frames. Pure: no I/O, no async, no clock.
//!
//! A transport hands a client's bytes to [`native::decode`] and gets one [`native::ClientMessage`] or one
//! [`native::Refused`] that names the field and the rule. What goes to a client comes from the encoders in
//! [`native`]: control frames one by one, event frames by splicing a few fields into the published bytes, so
//! that one body is encoded once and shared by every session. [`msgpack`] turns finished JSON into MessagePack
//! and a client's MessagePack into JSON, so that both encodings of a dialect have one meaning.
//!
//! [`websocket`] is the framing beneath: a client's bytes to messages, and frames that are made once and shared.
//!
//! The other dialects of the wire contract each turn one event into the pieces ([`piece`]) that their clients know:
//! [`a`] and [`d`] speak Socket.IO ([`engine`] carries it, [`socketio`] frames it), [`c`] and [`e`] plain WebSocket,
//! [`sse`] Server-Sent Events. [`notice`] is what they say beside events.
//!
//! Reading order: [`told`] (everything a client can be told), [`native`], [`msgpack`], [`websocket`]; then [`piece`],
//! [`engine`], [`socketio`], and one file a dialect.

pub mod a;
pub mod c;
pub mod d;
pub mod e;
pub mod engine;
mod facts;
mod json;
pub mod msgpack;
pub mod native;
pub mod notice;
pub mod piece;
pub mod socketio;
pub mod sse;
mod time;
pub mod told;
pub mod websocket;
