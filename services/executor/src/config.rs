//! Settings: flags and environment variables of the same names, checked before anything starts.

use crate::{definition, door::Door, steps::HostList, workflow::Workflow};
use clap::{Args, Parser};
use std::{collections::BTreeMap, fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use weft_bus::{BusConfig, BusSettings, Mode};
use weft_event::id;
use weft_publisher::PublisherConfig;
use weft_telemetry::{LogOptions, TraceOptions};

/// Shortest token that keeps anybody out, in bytes.
const TOKEN_BYTES_MIN: usize = 16;

/// Runs workflows as real processes and publishes what happens.
///
/// Every flag has an environment variable, named in brackets. With a broker (WEFT_BUS) events and commands travel on
/// it; without one the executor talks to a gateway (WEFT_GATEWAY_URL) by HTTP alone.
#[derive(Clone, Debug, Parser)]
#[command(name = "executor", version)]
pub struct Settings {
    /// Where HTTP is served; off loopback WEFT_EXECUTOR_TOKEN_FILE is mandatory.
    #[arg(long = "executor-listen", env = "WEFT_EXECUTOR_LISTEN", default_value = "127.0.0.1:3002")]
    pub listen: SocketAddr,
    /// Where /metrics, /livez and /readyz are served.
    #[arg(long, env = "WEFT_ADMIN_LISTEN", default_value = "127.0.0.1:9465")]
    pub admin_listen: SocketAddr,
    /// File with the bearer token that HTTP requests must carry.
    #[arg(long = "executor-token-file", env = "WEFT_EXECUTOR_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// Host names, besides loopback, that requests may be addressed to, comma separated, without ports.
    #[arg(long = "executor-hosts", env = "WEFT_EXECUTOR_HOSTS", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// Origins, besides loopback, whose pages may send requests, comma separated, compared exactly.
    #[arg(long = "executor-origins", env = "WEFT_EXECUTOR_ORIGINS", value_delimiter = ',')]
    pub origins: Vec<String>,
    /// Directory of the workflows (*.yaml); commands run in it.
    #[arg(long, env = "WEFT_WORKFLOW_DIR", default_value = "services/executor/workflows")]
    pub workflow_dir: PathBuf,
    /// The name of this executor; a random one if not given.
    #[arg(long = "executor-id", env = "WEFT_EXECUTOR_ID")]
    pub id: Option<String>,
    /// The tenant of all executions; over a gateway its token says it.
    #[arg(long, env = "WEFT_TENANT")]
    pub tenant: Option<String>,
    /// The gateway to publish to and take commands from, where WEFT_BUS names no broker.
    #[arg(long, env = "WEFT_GATEWAY_URL")]
    pub gateway_url: Option<String>,
    /// File with the bearer token for the gateway.
    #[arg(long, env = "WEFT_GATEWAY_TOKEN_FILE")]
    pub gateway_token_file: Option<PathBuf>,
    /// The bus.
    #[command(flatten)]
    pub bus: BusSettings,
    /// Bounds.
    #[command(flatten)]
    pub limits: LimitSettings,
    /// Logs.
    #[command(flatten)]
    pub log: LogOptions,
    /// Traces.
    #[command(flatten)]
    pub traces: TraceOptions,
}

/// Bounds and times.
#[derive(Clone, Debug, Args)]
#[allow(missing_docs)]
pub struct LimitSettings {
    /// Executions at once; further ones are refused.
    #[arg(long, env = "WEFT_EXECUTIONS_MAX", default_value_t = 32)]
    pub executions_max: usize,
    /// Executions remembered after their end.
    #[arg(long, env = "WEFT_EXECUTIONS_REMEMBERED", default_value_t = 500)]
    pub executions_remembered: usize,
    /// Nodes of one execution at once; further ones wait.
    #[arg(long, env = "WEFT_NODES_MAX", default_value_t = 16)]
    pub nodes_max: usize,
    /// Bytes of output of one attempt of a node that become log events; the rest is counted.
    #[arg(long, env = "WEFT_OUTPUT_BYTES_MAX", default_value_t = 1024 * 1024)]
    pub output_bytes_max: usize,
    /// Lines of output of one attempt of a node that become log events; the rest is counted.
    #[arg(long, env = "WEFT_OUTPUT_LINES_MAX", default_value_t = 5000)]
    pub output_lines_max: usize,
    /// Milliseconds between SIGTERM and SIGKILL for processes that must end.
    #[arg(long, env = "WEFT_KILL_GRACE_MS", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub kill_grace_ms: u64,
    /// Variables of the executor's own environment that commands get, comma separated.
    #[arg(
        long = "executor-pass-env",
        env = "WEFT_EXECUTOR_PASS_ENV",
        value_delimiter = ',',
        default_value = "PATH,HOME,USER,LANG,LC_ALL,TZ,TMPDIR,RUSTUP_HOME,CARGO_HOME,RUSTUP_TOOLCHAIN"
    )]
    pub pass_env: Vec<String>,
    /// Hosts that an http step may reach where its workflow leaves the host to an input, comma separated, without ports.
    #[arg(
        long = "executor-http-hosts",
        env = "WEFT_EXECUTOR_HTTP_HOSTS",
        value_delimiter = ',',
        default_value = "localhost,127.0.0.1,[::1]"
    )]
    pub http_hosts: Vec<String>,
    /// Seconds that an event is tried again before it is given up.
    #[arg(long, env = "WEFT_PUBLISH_RETRY_SECS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=110))]
    pub publish_retry_secs: u64,
    /// Bytes of events that wait to be stored; when they are so many, what produces them waits.
    #[arg(long, env = "WEFT_PUBLISH_BUFFER_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub publish_buffer_bytes: usize,
    /// Seconds for leaving: executions end, then what they told is stored.
    #[arg(long, env = "WEFT_DRAIN_SECS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub drain_secs: u64,
}

/// Why the executor does not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(pub String);

/// How events leave and commands come.
#[derive(Clone, Debug)]
pub enum Link {
    /// A broker.
    Bus(Box<BusConfig>),
    /// A gateway, by HTTP.
    Gateway {
        /// Its URL.
        url: String,
        /// The bearer token for it.
        token: Option<String>,
    },
}

/// Settings that have been checked, and what they name on disk.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this executor.
    pub id: String,
    /// The tenant of all executions.
    pub tenant: Option<String>,
    /// The workflow directory, absolute.
    pub dir: PathBuf,
    /// The workflows in it.
    pub workflows: BTreeMap<String, Arc<Workflow>>,
    /// Who may come in.
    pub door: Door,
    /// The variables that commands get.
    pub environment: Vec<(String, String)>,
    /// Hosts that a substituted URL may name.
    pub http_hosts: HostList,
    /// Bounds.
    pub limits: LimitSettings,
}

impl Settings {
    /// Checks what clap cannot, and loads the workflows and the tokens.
    pub fn check(&self) -> Result<(Config, Link), BadSetting> {
        let bad = |setting: &str, rule: &str| Err(BadSetting(format!("{setting}: {rule}")));
        let token = self.token_file.as_ref().map(|path| read_token("WEFT_EXECUTOR_TOKEN_FILE", path)).transpose()?;
        if !self.listen.ip().is_loopback() && token.is_none() {
            return bad("WEFT_EXECUTOR_TOKEN_FILE", "is mandatory where WEFT_EXECUTOR_LISTEN is not loopback");
        }
        let id = self.id.clone().unwrap_or_else(|| format!("executor-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]));
        id::check("WEFT_EXECUTOR_ID", &id).map_err(|invalid| BadSetting(invalid.to_string()))?;
        if let Some(tenant) = &self.tenant {
            id::check_tenant(tenant).map_err(|invalid| BadSetting(format!("WEFT_TENANT: {}", invalid.rule)))?;
        }
        for (setting, value) in [
            ("WEFT_EXECUTIONS_MAX", self.limits.executions_max),
            ("WEFT_NODES_MAX", self.limits.nodes_max),
            ("WEFT_PUBLISH_BUFFER_BYTES", self.limits.publish_buffer_bytes),
        ] {
            if value == 0 {
                return bad(setting, "must be at least 1");
            }
        }
        let dir = fs::canonicalize(&self.workflow_dir)
            .map_err(|error| BadSetting(format!("WEFT_WORKFLOW_DIR: {}: {error}", self.workflow_dir.display())))?;
        let workflows = definition::load_dir(&dir).map_err(|flaw| BadSetting(flaw.to_string()))?;
        let config = Config {
            tenant: self.tenant.clone(),
            dir,
            workflows,
            door: Door::new(token, &self.hosts, &self.origins),
            environment: environment(&self.limits.pass_env),
            http_hosts: HostList::new(self.limits.http_hosts.clone()),
            limits: self.limits.clone(),
            id,
        };
        let link = self.link(&config.id)?;
        Ok((config, link))
    }

    fn link(&self, client_name: &str) -> Result<Link, BadSetting> {
        let config = self.bus.config(client_name).map_err(|error| BadSetting(error.to_string()))?;
        if config.mode() != Mode::Memory {
            return Ok(Link::Bus(Box::new(config)));
        }
        let Some(url) = self.gateway_url.clone().filter(|url| !url.is_empty()) else {
            return Err(BadSetting(
                "WEFT_GATEWAY_URL: is mandatory where WEFT_BUS names no broker, as in http://127.0.0.1:3001".into(),
            ));
        };
        crate::gateway::base_url(&url).map_err(|error| BadSetting(error.to_string()))?;
        let token = self.gateway_token_file.as_ref().map(|path| read_token("WEFT_GATEWAY_TOKEN_FILE", path)).transpose()?;
        Ok(Link::Gateway { url, token })
    }
}

impl LimitSettings {
    /// How the publisher keeps events, where the bus keeps `retention_events` of a room.
    #[must_use]
    pub fn publisher(&self, tenant: Option<&str>, retention_events: usize) -> PublisherConfig {
        PublisherConfig {
            tenant: tenant.map(str::to_owned),
            retry_age: Duration::from_secs(self.publish_retry_secs),
            buffer_bytes: self.publish_buffer_bytes,
            // An execution's head must move before retention takes the events that it has not seen.
            head_every: (retention_events as u64 / 4).clamp(1, 250),
            ..PublisherConfig::default()
        }
    }
}

/// The listed variables that are set and are text.
fn environment(names: &[String]) -> Vec<(String, String)> {
    names.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))).collect()
}

fn read_token(setting: &str, path: &std::path::Path) -> Result<String, BadSetting> {
    let text = fs::read_to_string(path).map_err(|error| BadSetting(format!("{setting}: {}: {error}", path.display())))?;
    let token = text.trim();
    if token.len() < TOKEN_BYTES_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadSetting(format!("{setting}: must hold one token of at least {TOKEN_BYTES_MIN} visible ASCII characters")));
    }
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[&str]) -> Settings {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/workflows");
        let all = ["executor", "--workflow-dir", dir, "--gateway-url", "http://127.0.0.1:3001"];
        Settings::try_parse_from(all.iter().chain(flags)).expect("flags")
    }

    #[test]
    fn good_settings_pass() {
        let (config, link) = settings(&[]).check().expect("valid");
        assert!(config.workflows.contains_key("demo") && matches!(link, Link::Gateway { .. }));
        let (_, link) = settings(&["--bus", "nats://127.0.0.1:4222"]).check().expect("valid");
        assert!(matches!(link, Link::Bus(_)));
        let token = std::env::temp_dir().join(format!("weft-token-{}", std::process::id()));
        fs::write(&token, "0123456789abcdef\n").expect("written");
        let checked =
            settings(&["--executor-listen", "0.0.0.0:0", "--executor-token-file", &token.display().to_string()]).check();
        fs::remove_file(&token).expect("removed");
        assert!(checked.is_ok());
    }

    #[test]
    fn bad_settings_name_themselves() {
        for (flags, told) in [
            (&["--executor-listen", "0.0.0.0:3002"][..], "WEFT_EXECUTOR_TOKEN_FILE: is mandatory"),
            (&["--executor-token-file", "/nowhere"], "WEFT_EXECUTOR_TOKEN_FILE: /nowhere"),
            (&["--executor-token-file", "/dev/null"], "WEFT_EXECUTOR_TOKEN_FILE: must hold one token"),
            (&["--executor-id", "a b"], "WEFT_EXECUTOR_ID: may hold only"),
            (&["--tenant", "a.b"], "WEFT_TENANT: must be"),
            (&["--bus", "kafka://x"], "WEFT_BUS: names no bus"),
            (&["--retention-secs", "18446744073709551615"], "WEFT_RETENTION_SECS: must be 1 to"),
            (&["--executions-max", "0"], "WEFT_EXECUTIONS_MAX: must be at least 1"),
        ] {
            let refused = settings(flags).check().expect_err(told).to_string();
            assert!(refused.starts_with(told), "{refused}");
        }
        let nowhere = Settings::try_parse_from(["executor", "--workflow-dir", "/nowhere"]).expect("flags").check();
        assert!(nowhere.expect_err("no such directory").to_string().starts_with("WEFT_WORKFLOW_DIR: /nowhere"));
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/workflows");
        for url in ["foo", "ftp://x", "http://"] {
            let all = ["executor", "--workflow-dir", dir, "--gateway-url", url];
            let refused = Settings::try_parse_from(all).expect("flags").check().expect_err(url).to_string();
            assert!(refused.starts_with("WEFT_GATEWAY_URL: "), "{refused}");
        }
        let alone = Settings::try_parse_from(["executor", "--workflow-dir", dir]).expect("flags").check();
        assert!(alone.expect_err("reaches nobody").to_string().starts_with("WEFT_GATEWAY_URL: is mandatory"));
    }
}
