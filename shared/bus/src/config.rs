//! Which bus, and what it keeps: parsed from `WEFT_BUS` and the retention settings.

use std::{path::PathBuf, time::Duration};

/// The five modes and the ways to reach them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `memory:`, in this process only.
    Memory,
    /// `nats://`, `nats+tls://`: stored by JetStream.
    JetStream,
    /// `nats+core://`, `nats+core+tls://`: fire and forget.
    NatsCore,
    /// `redis://`, `rediss://`, `redis-cluster://`, `redis-sentinel://` (and their `rediss-` forms): Redis Streams.
    RedisStreams,
    /// `redis+pubsub://`, `rediss+pubsub://` and cluster or sentinel forms: fire and forget.
    RedisPubSub,
}

impl Mode {
    /// Whether events are stored.
    #[must_use]
    pub fn is_durable(self) -> bool {
        !matches!(self, Self::NatsCore | Self::RedisPubSub)
    }

    /// The word for logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::JetStream => "jetstream",
            Self::NatsCore => "nats-core",
            Self::RedisStreams => "redis-streams",
            Self::RedisPubSub => "redis-pubsub",
        }
    }
}

/// How Redis is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisTopology {
    /// One primary.
    Single,
    /// A cluster.
    Cluster,
    /// Sentinels name the primary.
    Sentinel,
}

/// What is kept of each room.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Most events a room.
    pub events: usize,
    /// Most payload bytes: of each room in memory and on Redis, of the whole stream on JetStream. 0 is no bound.
    pub bytes: u64,
    /// Oldest event.
    pub age: Duration,
    /// How long an execution's head outlives its last event.
    pub head_age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { events: 10_000, bytes: 0, age: day, head_age: day }
    }
}

/// A bus, described.
#[derive(Clone, Debug)]
pub struct BusConfig {
    mode: Mode,
    topology: RedisTopology,
    /// The URL as given, for the driver; never logged, it may hold a password.
    pub url: String,
    /// First word of subjects, streams and keys (default `weft`); one to sixty-four of `A-Z a-z 0-9 _ -`, dots between.
    pub prefix: String,
    /// What is kept.
    pub retention: Retention,
    /// Within this time the same event id in the same room is stored once.
    pub dedup_window: Duration,
    /// `memory:` only: most bytes of events of all rooms together. Beyond it the oldest event of all is forgotten.
    pub memory_bytes: u64,
    /// How long a [`Record`](crate::Record) is kept after it was written last.
    pub record_age: Duration,
    /// How long a line of a [`Journal`](crate::Journal) is kept.
    pub journal_age: Duration,
    /// Most lines a journal holds. A full one refuses further lines: what it holds is somebody's safety.
    pub journal_lines: usize,
    /// Replicas of JetStream streams, when this process creates them.
    pub replicas: usize,
    /// NATS: what subjects begin with on which replies come (default `_INBOX`). One for each kind of program lets the server
    /// keep them from reading each other's.
    pub inbox: String,
    /// A NATS credentials file (`.creds`), read for each connection.
    pub credentials_file: Option<PathBuf>,
    /// A PEM file with the authority of the broker's certificate.
    pub tls_ca_file: Option<PathBuf>,
    /// A PEM file with the client certificate, and one with its key.
    pub tls_client: Option<(PathBuf, PathBuf)>,
    /// The name that the broker shows for this connection.
    pub client_name: String,
}

/// A bus setting that cannot be used; names the setting and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {rule}")]
pub struct ConfigError {
    /// The setting.
    pub setting: &'static str,
    /// The rule it broke.
    pub rule: String,
}

impl BusConfig {
    /// Reads a bus URL; everything else begins at its default.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let refuse = |rule: &str| Err(ConfigError { setting: "WEFT_BUS", rule: rule.into() });
        let Some((scheme, rest)) = url.split_once(':') else {
            return refuse(
                "must be memory:, nats://, nats+core://, redis://, redis+pubsub://, redis-cluster:// or redis-sentinel://",
            );
        };
        let (mode, topology) = match scheme {
            "memory" if rest.is_empty() || rest == "//" => (Mode::Memory, RedisTopology::Single),
            "memory" => return refuse("memory: takes no address"),
            "nats" | "nats+tls" | "tls" => (Mode::JetStream, RedisTopology::Single),
            "nats+core" | "nats+core+tls" => (Mode::NatsCore, RedisTopology::Single),
            "redis" | "rediss" => (Mode::RedisStreams, RedisTopology::Single),
            "redis+pubsub" | "rediss+pubsub" => (Mode::RedisPubSub, RedisTopology::Single),
            "redis-cluster" | "rediss-cluster" => (Mode::RedisStreams, RedisTopology::Cluster),
            "redis-cluster+pubsub" | "rediss-cluster+pubsub" => (Mode::RedisPubSub, RedisTopology::Cluster),
            "redis-sentinel" | "rediss-sentinel" => (Mode::RedisStreams, RedisTopology::Sentinel),
            "redis-sentinel+pubsub" | "rediss-sentinel+pubsub" => (Mode::RedisPubSub, RedisTopology::Sentinel),
            _ => {
                return refuse(
                    "names no bus: use memory:, nats://, nats+core://, redis://, redis+pubsub://, redis-cluster:// or redis-sentinel://",
                );
            }
        };
        if mode != Mode::Memory && rest.strip_prefix("//").is_none_or(str::is_empty) {
            return refuse("needs an address, as in nats://127.0.0.1:4222");
        }
        Ok(Self {
            mode,
            topology,
            url: url.to_owned(),
            prefix: "weft".into(),
            retention: Retention::default(),
            dedup_window: Duration::from_secs(120),
            memory_bytes: 512 * 1024 * 1024,
            record_age: Duration::from_secs(3600),
            journal_age: Duration::from_secs(24 * 3600),
            journal_lines: 100_000,
            replicas: 1,
            inbox: "_INBOX".into(),
            credentials_file: None,
            tls_ca_file: None,
            tls_client: None,
            client_name: "weft".into(),
        })
    }

    /// The mode that the URL names.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How Redis is reached; [`RedisTopology::Single`] for other brokers.
    #[must_use]
    pub fn topology(&self) -> RedisTopology {
        self.topology
    }

    /// The URL without user and password, for logs.
    #[must_use]
    pub fn url_shown(&self) -> String {
        match (self.url.find("://"), self.url.rfind('@')) {
            (Some(scheme), Some(at)) if at > scheme => format!("{}://{}", &self.url[..scheme], &self.url[at + 1..]),
            _ => self.url.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, mode) in [
            ("memory:", Mode::Memory),
            ("nats://a:1,b:2", Mode::JetStream),
            ("nats+core://a", Mode::NatsCore),
            ("rediss://:pw@a:6379/0", Mode::RedisStreams),
            ("redis+pubsub://a", Mode::RedisPubSub),
            ("redis-sentinel://a:26379/mymaster", Mode::RedisStreams),
        ] {
            assert_eq!(BusConfig::parse(url).map(|config| config.mode()), Ok(mode), "{url}");
        }
        for url in ["", "memory", "memory:x", "kafka://a", "nats:", "redis://"] {
            assert_eq!(BusConfig::parse(url).map(|_| ()).map_err(|error| error.setting), Err("WEFT_BUS"), "{url}");
        }
        assert_eq!(BusConfig::parse("redis://:secret@host:1/0").map(|config| config.url_shown()), Ok("redis://host:1/0".into()));
    }
}
