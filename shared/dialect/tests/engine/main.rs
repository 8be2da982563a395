//! Engine.IO: what its documents and its own protocol suite ask of a server, as tables.

mod packets;
mod requests;
mod session;
