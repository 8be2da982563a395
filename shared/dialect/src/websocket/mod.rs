//! WebSocket for a server: RFC 6455, and RFC 7692 without context takeover. Pure: bytes in, messages and bytes out.
//!
//! A connection that says nothing costs 16 bytes here. A transport reads into a buffer that its connections share
//! and hands what came to the connection's [`Reader`]; whole frames become [`Message`]s where they lie, and only an
//! unfinished frame or message is kept, on the heap, within [`Limits`]. What is sent is made once and shared:
//! [`frame::encode`] writes a whole frame, [`Deflater`] compresses a payload once for all who negotiated it.
//!
//! Reading order: [`handshake`] and [`offer`] (how a connection begins), [`frame`] (what frames are, writing them),
//! [`header`] (reading one), [`reader`] (from bytes to messages), [`deflate`], [`violation`] (every way to break
//! the protocol, with its close code).

mod assembly;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod header;
pub mod message;
pub mod offer;
pub mod reader;
pub mod violation;

pub use deflate::{Deflater, Inflater};
pub use frame::{ControlFrame, HEADER_BYTES_MAX, Opcode, encode_header};
pub use handshake::{Handshake, Unacceptable};
pub use message::{Close, Message};
pub use reader::{Limits, Reader, Scratch};
pub use violation::Violation;
