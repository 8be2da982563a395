//! Test support: real brokers and our own processes, clients that stall, lag and vanish, and a checker of what
//! they saw.
//!
//! A test starts [`servers`] (Redis, NATS) and [`process`]es (gateways, an executor) on free ports, puts a
//! [`proxy`] between them where the network shall misbehave, publishes by HTTP or with [`raw`] clients that know
//! nothing of us, follows rooms with recording [`client`]s, and hands what was acknowledged and what was seen to the
//! [`history`] checker. All randomness comes from one printed [`seed`].
//!
//! Everything that is started ends with the value that started it, and also when the test itself is killed. Directories
//! with logs and data go with it, unless `WEFT_TEST_KEEP` is set.

mod fault;
mod leash;
mod running;
mod scratch;

pub mod chaos;
pub mod client;
pub mod collector;
pub mod history;
pub mod http;
pub mod npm;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod record;
pub mod seed;
pub mod servers;
pub mod settings;
pub mod socketio;
pub mod source;

pub use fault::{Fault, Result};
