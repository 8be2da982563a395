//! Broker clients that know nothing of us: what `redis-cli` and `nats pub` would send, over a plain socket.

mod nats;
mod redis;

pub use nats::RawNats;
pub use redis::{RawRedis, Reply};
