//! The bus's settings as flags and environment variables, the same in every program that has a bus.

use crate::{BusConfig, ConfigError, Retention};
use clap::Args;
use std::{path::PathBuf, time::Duration};

/// The bus and what it keeps.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs)] // the help texts are the documentation
pub struct BusSettings {
    /// memory:, nats://, nats+core://, redis://, redis+pubsub://, redis-cluster:// or redis-sentinel://.
    #[arg(long, env = "WEFT_BUS", default_value = "memory:")]
    pub bus: String,
    /// First word of subjects, streams and keys.
    #[arg(long, env = "WEFT_BUS_PREFIX", default_value = "weft")]
    pub bus_prefix: String,
    /// Replicas of JetStream streams that this process creates.
    #[arg(long, env = "WEFT_BUS_REPLICAS", default_value_t = 1)]
    pub bus_replicas: usize,
    /// NATS credentials file.
    #[arg(long, env = "WEFT_BUS_CREDENTIALS_FILE")]
    pub bus_credentials_file: Option<PathBuf>,
    /// PEM file with the authority of the broker's certificate.
    #[arg(long, env = "WEFT_BUS_TLS_CA_FILE")]
    pub bus_tls_ca_file: Option<PathBuf>,
    /// PEM file with the client certificate.
    #[arg(long, env = "WEFT_BUS_TLS_CERT_FILE", requires = "bus_tls_key_file")]
    pub bus_tls_cert_file: Option<PathBuf>,
    /// PEM file with the client certificate's key.
    #[arg(long, env = "WEFT_BUS_TLS_KEY_FILE", requires = "bus_tls_cert_file")]
    pub bus_tls_key_file: Option<PathBuf>,
    /// Events kept of each room, the same in every process.
    #[arg(long, env = "WEFT_RETENTION_EVENTS", default_value_t = 10_000)]
    pub retention_events: usize,
    /// Bytes kept: of each room in memory and on Redis, of the whole stream on JetStream; 0 is no bound.
    #[arg(long, env = "WEFT_RETENTION_BYTES", default_value_t = 0)]
    pub retention_bytes: u64,
    /// How long events are kept, in seconds.
    #[arg(long, env = "WEFT_RETENTION_SECS", default_value_t = 86_400)]
    pub retention_secs: u64,
    /// With `memory:`, most bytes of events of all rooms together; beyond it the oldest of all is forgotten.
    #[arg(long, env = "WEFT_BUS_MEMORY_BYTES", default_value_t = 512 * 1024 * 1024)]
    pub bus_memory_bytes: u64,
    /// How long an execution's record outlives its last event, in seconds.
    #[arg(long, env = "WEFT_HEAD_SECS", default_value_t = 86_400)]
    pub head_secs: u64,
}

impl BusSettings {
    /// The bus, described and checked; the broker shows the connection as `client_name`.
    ///
    /// # Errors
    /// The first setting that cannot be used, named as its variable.
    pub fn config(&self, client_name: &str) -> Result<BusConfig, ConfigError> {
        let mut config = BusConfig::parse(&self.bus)?;
        config.prefix.clone_from(&self.bus_prefix);
        config.replicas = self.bus_replicas;
        config.credentials_file.clone_from(&self.bus_credentials_file);
        config.tls_ca_file.clone_from(&self.bus_tls_ca_file);
        config.tls_client = self.bus_tls_cert_file.clone().zip(self.bus_tls_key_file.clone());
        config.retention = self.retention();
        config.memory_bytes = self.bus_memory_bytes;
        config.client_name = client_name.to_owned();
        config.check()?;
        Ok(config)
    }

    /// What is kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention {
            events: self.retention_events,
            bytes: self.retention_bytes,
            age: Duration::from_secs(self.retention_secs),
            head_age: Duration::from_secs(self.head_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        bus: BusSettings,
    }

    fn config(flags: &[&str]) -> Result<BusConfig, String> {
        let cli = Cli::try_parse_from(["test"].iter().chain(flags)).map_err(|error| error.to_string())?;
        cli.bus.config("name").map_err(|error| error.to_string())
    }

    #[test]
    fn every_setting_reaches_the_bus() {
        let flags = ["--bus", "nats://a:1", "--bus-prefix", "p", "--bus-replicas", "3", "--retention-events", "7"];
        let more = ["--retention-bytes", "8", "--retention-secs", "9", "--head-secs", "10"];
        let config = config(&[&flags[..], &more[..]].concat()).expect("valid");
        assert_eq!((&*config.url, &*config.prefix, config.replicas, &*config.client_name), ("nats://a:1", "p", 3, "name"));
        let Retention { events, bytes, age, head_age } = config.retention;
        assert_eq!((events, bytes, age.as_secs(), head_age.as_secs()), (7, 8, 9, 10));
    }

    #[test]
    fn without_any_it_is_the_default() {
        let (ours, default) = (config(&[]).expect("valid"), BusConfig::parse("memory:").expect("valid"));
        assert_eq!((ours.mode(), &ours.prefix, ours.replicas), (default.mode(), &default.prefix, default.replicas));
        assert_eq!(format!("{:?}", ours.retention), format!("{:?}", Retention::default()));
    }

    #[test]
    fn bad_ones_name_themselves() {
        for (flags, told) in [
            (&["--bus", "kafka://x"][..], "WEFT_BUS: names no bus"),
            (&["--bus", "nats://127.0.0.1:99999"], "WEFT_BUS: the bus URL"),
            (&["--bus", "nats://a b"], "WEFT_BUS: the bus URL"),
            (&["--bus", "nats://a/path"], "WEFT_BUS: the bus URL has a path"),
            (&["--bus", "redis://127.0.0.1:99999"], "WEFT_BUS: the bus URL"),
            (&["--bus", "redis://127.0.0.1:1/zz"], "WEFT_BUS: the Redis database must be a number"),
            (&["--bus", "redis-sentinel://127.0.0.1:1"], "WEFT_BUS: redis-sentinel:// needs the primary's name"),
            (&["--bus", "redis-cluster://:"], "WEFT_BUS: the bus URL"),
            (&["--bus-prefix", "a*"], "WEFT_BUS_PREFIX: must be"),
            (&["--bus-replicas", "0"], "WEFT_BUS_REPLICAS: must be"),
            (&["--retention-events", "0"], "WEFT_RETENTION_EVENTS: must be 1 to"),
            (&["--retention-secs", "18446744073709551615"], "WEFT_RETENTION_SECS: must be 1 to"),
            (&["--head-secs", "0"], "WEFT_HEAD_SECS: must be 1 to"),
            (&["--bus-credentials-file", "/nowhere"], "WEFT_BUS_CREDENTIALS_FILE: /nowhere: "),
            (&["--bus-tls-ca-file", "/nowhere"], "WEFT_BUS_TLS_CA_FILE: /nowhere: "),
        ] {
            let refused = config(flags).expect_err(told);
            assert!(refused.starts_with(told), "{refused}");
        }
        assert!(config(&["--bus-tls-cert-file", "/c"]).expect_err("alone").contains("--bus-tls-key-file"));
    }
}
