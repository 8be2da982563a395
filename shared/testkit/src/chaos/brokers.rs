//! The broker of a run, whichever it is.

use super::BusKind;
use crate::{
    Fault, Result,
    servers::{NatsCluster, NatsServer, NatsVersion, RedisCluster, RedisSentinel, RedisServer},
};
use std::time::Duration;

/// Long enough that gateways and publishers notice, short of any time-out that matters.
const AWAY: Duration = Duration::from_secs(1);

pub(super) enum Broker {
    Nats(NatsServer),
    NatsCluster(NatsCluster),
    Redis(RedisServer),
    RedisCluster(RedisCluster),
    RedisSentinel(RedisSentinel),
}

impl Broker {
    pub(super) async fn start(kind: BusKind) -> Result<Self> {
        Ok(match kind {
            BusKind::Nats => Self::Nats(NatsServer::start(NatsVersion::Current).await?),
            BusKind::NatsDebian => Self::Nats(NatsServer::start(NatsVersion::Debian).await?),
            BusKind::NatsCluster => Self::NatsCluster(NatsCluster::start().await?),
            BusKind::Redis => Self::Redis(RedisServer::start().await?),
            BusKind::RedisCluster => Self::RedisCluster(RedisCluster::start().await?),
            BusKind::RedisSentinel => Self::RedisSentinel(RedisSentinel::start().await?),
        })
    }

    pub(super) fn url(&self) -> String {
        match self {
            Self::Nats(nats) => nats.url(),
            Self::NatsCluster(cluster) => cluster.url(),
            Self::Redis(redis) => redis.url(),
            Self::RedisCluster(cluster) => cluster.url(),
            Self::RedisSentinel(group) => group.url(),
        }
    }

    /// Replicas of what JetStream stores.
    pub(super) fn replicas(&self) -> usize {
        if matches!(self, Self::NatsCluster(_)) { 3 } else { 1 }
    }

    /// Kills the server, or of a group one that matters, and starts it again.
    pub(super) async fn bounce(&mut self) -> Result<()> {
        match self {
            Self::Nats(nats) => {
                nats.kill();
                tokio::time::sleep(AWAY).await;
                nats.restart().await
            }
            Self::Redis(redis) => bounce_redis(redis).await,
            Self::NatsCluster(cluster) => {
                let leader = leader(cluster).await?;
                let node = &mut cluster.nodes[leader];
                node.kill();
                // Longer than an election takes.
                tokio::time::sleep(AWAY * 8).await;
                node.restart().await
            }
            Self::RedisCluster(cluster) => {
                bounce_redis(&mut cluster.nodes[0]).await?;
                cluster.is_whole().await
            }
            Self::RedisSentinel(group) => {
                let port = group.primary_port().await?;
                let primary = group.servers.iter_mut().find(|server| server.port() == port);
                let primary = primary.ok_or_else(|| Fault::said("sentinel", format!("the primary is on port {port}")))?;
                primary.kill();
                // Longer than the sentinels wait before they promote a replica.
                tokio::time::sleep(AWAY * 6).await;
                primary.restart().await
            }
        }
    }
}

async fn bounce_redis(redis: &mut RedisServer) -> Result<()> {
    redis.kill();
    tokio::time::sleep(AWAY).await;
    redis.restart().await
}

/// The server that leads the busiest stream; the first where no stream is known yet.
async fn leader(cluster: &NatsCluster) -> Result<usize> {
    let answer = cluster.nodes[0].raw().await?.request("$JS.API.STREAM.NAMES", b"", AWAY * 5).await?;
    let names: serde_json::Value = serde_json::from_slice(&answer).map_err(|error| Fault::said("STREAM.NAMES", error))?;
    let plain = |name: &&serde_json::Value| name.as_str().is_some_and(|name| !name.starts_with("KV_"));
    match names["streams"].as_array().into_iter().flatten().find(plain).and_then(|name| name.as_str()) {
        Some(stream) => Ok(cluster.leader(stream).await?.unwrap_or(0)),
        None => Ok(0),
    }
}
