//! Real brokers on free ports of loopback, each with its own directory.

mod binaries;
mod broker;
mod nats;
mod redis;

pub use nats::{NatsCluster, NatsOptions, NatsServer, NatsVersion};
pub use redis::{RedisCluster, RedisOptions, RedisSentinel, RedisServer};
