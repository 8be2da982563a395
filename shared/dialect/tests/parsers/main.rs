//! Our codecs beside those that every JavaScript client has, run by node: `socket.io-parser` and `engine.io-parser`, pinned.
//!
//! What ours take, theirs take and read the same; what theirs write, ours read; what ours write, theirs read. Ours may
//! refuse more: that is what the limits are for. And `socket.io-client` itself, which must find back into its session.
//! Needs node and npm; without them these tests fail, they are not skipped.

mod cases;
mod client;
mod engine;
mod reference;
mod socketio;
