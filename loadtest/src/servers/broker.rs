//! The broker between publisher and gateways: one that is started for the run, one that is there, or none.

use super::process::Process;
use crate::error::Failure;
use std::str::FromStr;
use weft_testkit::servers::{NatsOptions, NatsServer, NatsVersion, RedisOptions, RedisServer};

/// Which bus a run uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BusChoice {
    /// Within the gateway, of which there can then be one.
    Memory,
    /// A NATS server of its own, with JetStream …
    Nats,
    /// … or without.
    NatsCore,
    /// A Redis of its own, with streams …
    Redis,
    /// … or without.
    RedisPubSub,
    /// One that is there.
    Url(String),
}

impl FromStr for BusChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "memory" | "memory:" => Self::Memory,
            "nats" => Self::Nats,
            "nats-core" => Self::NatsCore,
            "redis" => Self::Redis,
            "redis-pubsub" => Self::RedisPubSub,
            url if url.contains("://") => Self::Url(url.into()),
            _ => return Err("must be memory, nats, nats-core, redis, redis-pubsub, or a URL as in WEFT_BUS".into()),
        })
    }
}

impl BusChoice {
    /// The word for tables; never the URL, which may hold a password.
    pub(crate) fn word(&self) -> &str {
        match self {
            Self::Memory => "memory",
            Self::Nats => "nats",
            Self::NatsCore => "nats-core",
            Self::Redis => "redis",
            Self::RedisPubSub => "redis-pubsub",
            Self::Url(url) => url.split_once(':').map_or("url", |(scheme, _)| scheme),
        }
    }
}

/// A broker for the length of a run.
pub(crate) struct Broker {
    url: String,
    server: Server,
}

enum Server {
    None,
    Nats(NatsServer),
    Redis(RedisServer),
}

impl Broker {
    pub(crate) async fn start(choice: &BusChoice) -> Result<Self, Failure> {
        let broker = |error: weft_testkit::Fault| Failure::Broker(error.to_string());
        let (url, server) = match choice {
            BusChoice::Memory => ("memory:".into(), Server::None),
            BusChoice::Url(url) => (url.clone(), Server::None),
            BusChoice::Nats | BusChoice::NatsCore => {
                let server = nats(*choice == BusChoice::Nats, "").await.map_err(broker)?;
                let scheme = if *choice == BusChoice::Nats { "nats" } else { "nats+core" };
                (format!("{scheme}://127.0.0.1:{}", server.port()), Server::Nats(server))
            }
            BusChoice::Redis | BusChoice::RedisPubSub => {
                let options = RedisOptions { append_only: false, ..RedisOptions::default() };
                let server = RedisServer::start_with(options).await.map_err(broker)?;
                let scheme = if *choice == BusChoice::Redis { "redis" } else { "redis+pubsub" };
                (format!("{scheme}://127.0.0.1:{}", server.port()), Server::Redis(server))
            }
        };
        Ok(Self { url, server })
    }

    /// As in `WEFT_BUS`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its process, where it was started here.
    pub(crate) fn process(&self) -> Option<Process> {
        match &self.server {
            Server::None => None,
            Server::Nats(nats) => Some(Process(nats.pid())),
            Server::Redis(redis) => Some(Process(redis.pid())),
        }
    }
}

/// A NATS server of the current version where it is to be found, else Debian's.
pub(crate) async fn nats(jetstream: bool, config: &str) -> weft_testkit::Result<NatsServer> {
    let options = |version| NatsOptions { jetstream, config: config.into(), ..NatsOptions::new(version) };
    match NatsServer::start_with(options(NatsVersion::Current)).await {
        Err(weft_testkit::Fault::Missing { .. }) => NatsServer::start_with(options(NatsVersion::Debian)).await,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_is_a_word_or_a_url() {
        for (text, choice) in [
            ("memory:", Ok(BusChoice::Memory)),
            ("nats-core", Ok(BusChoice::NatsCore)),
            ("redis://:pw@h:1", Ok(BusChoice::Url("redis://:pw@h:1".into()))),
            ("kafka", Err(())),
        ] {
            assert_eq!(text.parse::<BusChoice>().map_err(|_| ()), choice, "{text}");
        }
        assert_eq!(BusChoice::Url("redis://:pw@h:1".into()).word(), "redis");
    }
}
