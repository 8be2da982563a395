//! What can be known of a bus's settings before anything is connected.

use crate::{BusConfig, ConfigError, ConnectError, Mode, nats, redis, tls};
use std::{path::Path, time::Duration};

/// Longest name of a deployment, in bytes.
const PREFIX_BYTES_MAX: usize = 64;
/// Most replicas that JetStream makes.
const REPLICAS_MAX: usize = 5;
/// Most events of a room: brokers count further, but nobody reads a room so long.
const EVENTS_MAX: usize = 1_000_000_000;
/// Ages outside are slips of the pen, and the longest ones pass the end of a broker's clock.
const AGE_MIN: Duration = Duration::from_secs(1);
const AGE_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

impl BusConfig {
    /// Checks everything that does not need the broker, and reads the files that the settings name.
    ///
    /// # Errors
    /// The first setting that cannot be used, with its rule or with the file and what is wrong with it.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !is_prefix(&self.prefix) {
            let rule = format!("must be words of A-Z a-z 0-9 _ - with dots between, at most {PREFIX_BYTES_MAX} bytes in all");
            return Err(refusal("WEFT_BUS_PREFIX", rule));
        }
        if !(1..=REPLICAS_MAX).contains(&self.replicas) {
            return Err(refusal("WEFT_BUS_REPLICAS", format!("must be 1 to {REPLICAS_MAX}")));
        }
        if !(1..=EVENTS_MAX).contains(&self.retention.events) {
            return Err(refusal("WEFT_RETENTION_EVENTS", format!("must be 1 to {EVENTS_MAX}")));
        }
        for (setting, age) in [("WEFT_RETENTION_SECS", self.retention.age), ("WEFT_HEAD_SECS", self.retention.head_age)] {
            if !(AGE_MIN..=AGE_MAX).contains(&age) {
                let rule = format!("must be {} to {} (ten years)", AGE_MIN.as_secs(), AGE_MAX.as_secs());
                return Err(refusal(setting, rule));
            }
        }
        self.check_files()?;
        let checked = match self.mode() {
            Mode::Memory => Ok(()),
            Mode::JetStream | Mode::NatsCore => nats::check(self),
            Mode::RedisStreams | Mode::RedisPubSub => redis::check(self),
        };
        checked.map_err(|error| refusal("WEFT_BUS", error.to_string()))
    }

    fn check_files(&self) -> Result<(), ConfigError> {
        let of = |setting| move |error: ConnectError| refusal(setting, error.to_string());
        if let Some(path) = &self.credentials_file {
            credentials(path).map_err(|error| refusal("WEFT_BUS_CREDENTIALS_FILE", format!("{}: {error}", path.display())))?;
        }
        if let Some(path) = &self.tls_ca_file {
            tls::authorities(path).map_err(of("WEFT_BUS_TLS_CA_FILE"))?;
        }
        if let Some((certificate, key)) = &self.tls_client {
            let chain = tls::certificates(certificate).map_err(of("WEFT_BUS_TLS_CERT_FILE"))?;
            let key_of = of("WEFT_BUS_TLS_KEY_FILE");
            tls::key(key).and_then(|found| tls::fits(chain, found, key)).map_err(key_of)?;
        }
        Ok(())
    }
}

fn refusal(setting: &'static str, rule: String) -> ConfigError {
    ConfigError { setting, rule }
}

fn is_prefix(text: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    text.len() <= PREFIX_BYTES_MAX && text.split('.').all(is_word)
}

/// Whether NATS could use the file: it holds a JWT and a seed.
fn credentials(path: &Path) -> std::io::Result<()> {
    let text = std::fs::read_to_string(path)?;
    async_nats::ConnectOptions::with_credentials(&text).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn told(change: impl FnOnce(&mut BusConfig)) -> String {
        let mut config = BusConfig::parse("redis://127.0.0.1").expect("a bus URL");
        change(&mut config);
        config.check().expect_err("refused").to_string()
    }

    #[test]
    fn defaults_and_bounds_pass() {
        let mut config = BusConfig::parse("memory:").expect("a bus URL");
        assert_eq!(config.check(), Ok(()));
        config.prefix = "Weft-1.test_2".into();
        (config.replicas, config.retention.events) = (5, EVENTS_MAX);
        (config.retention.age, config.retention.head_age) = (AGE_MIN, AGE_MAX);
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn numbers_and_names_out_of_bounds_are_refused() {
        for prefix in ["", ".", "a.", "a..b", "a b", "a*", "ä", &"a".repeat(65)] {
            assert!(told(|config| config.prefix = prefix.into()).starts_with("WEFT_BUS_PREFIX: must be"), "{prefix:?}");
        }
        for count in [0, usize::MAX] {
            assert_eq!(told(|config| config.replicas = count), "WEFT_BUS_REPLICAS: must be 1 to 5");
            assert_eq!(told(|config| config.retention.events = count), "WEFT_RETENTION_EVENTS: must be 1 to 1000000000");
        }
        for age in [Duration::ZERO, AGE_MAX + AGE_MIN, Duration::from_secs(u64::MAX)] {
            let rule = "must be 1 to 315360000 (ten years)";
            assert_eq!(told(|config| config.retention.age = age), format!("WEFT_RETENTION_SECS: {rule}"));
            assert_eq!(told(|config| config.retention.head_age = age), format!("WEFT_HEAD_SECS: {rule}"));
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let directory = std::env::temp_dir().join(format!("weft-bus-check-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let pair = || rcgen::generate_simple_self_signed(vec!["a".to_owned()]).expect("a certificate");
        let (one, other) = (pair(), pair());
        let (good, key) = (write("a.pem", &one.cert.pem()), write("a.key", &one.signing_key.serialize_pem()));
        let (text, wrong_key) = (write("text", "no PEM"), write("b.key", &other.signing_key.serialize_pem()));
        let missing = PathBuf::from("/nonexistent/file");
        for bad in [&missing, &text] {
            let names = |told: String, setting: &str| {
                assert!(told.starts_with(&format!("{setting}: {}: ", bad.display())) && !told.contains('\n'), "{told}");
            };
            names(told(|config| config.credentials_file = Some(bad.clone())), "WEFT_BUS_CREDENTIALS_FILE");
            names(told(|config| config.tls_ca_file = Some(bad.clone())), "WEFT_BUS_TLS_CA_FILE");
            names(told(|config| config.tls_client = Some((bad.clone(), key.clone()))), "WEFT_BUS_TLS_CERT_FILE");
            names(told(|config| config.tls_client = Some((good.clone(), bad.clone()))), "WEFT_BUS_TLS_KEY_FILE");
        }
        let mismatch = told(|config| config.tls_client = Some((good.clone(), wrong_key)));
        assert!(mismatch.starts_with("WEFT_BUS_TLS_KEY_FILE: "), "{mismatch}");
        let mut config = BusConfig::parse("rediss://127.0.0.1").expect("a bus URL");
        (config.tls_ca_file, config.tls_client) = (Some(good.clone()), Some((good, key)));
        assert_eq!(config.check(), Ok(()));
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
