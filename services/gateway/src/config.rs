//! Settings: flags and environment variables of the same names. A bad one stops the start with one clear line.

use crate::{
    http::{Admissions, Door, EngineLimits, HttpLimits, RequestSettings, Sockets, TlsSettings},
    hub::{HubLimits, log::LogLimits},
    session::SessionLimits,
    transport::{SocketTimes, WebSocketLimits},
};
use clap::{Args, Parser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use weft_bus::{BusConfig, BusSettings};
use weft_dialect::{
    engine, native,
    socketio::{self, FleetKey},
};
use weft_guard::GuardSettings;
use weft_telemetry::{LogOptions, TraceOptions};

/// Delivers the events of workflow and agent executions to live clients.
#[derive(Clone, Debug, Parser)]
#[command(name = "gateway", version, max_term_width = 110)]
pub struct Settings {
    /// Address that clients connect to.
    #[arg(long, env = "WEFT_LISTEN", default_value = "127.0.0.1:3001")]
    pub listen: SocketAddr,
    /// Address of /metrics, /livez and /readyz.
    #[arg(long, env = "WEFT_ADMIN_LISTEN", default_value = "127.0.0.1:9464")]
    pub admin_listen: SocketAddr,
    /// The name of this gateway in the fleet; by default a random one.
    #[arg(long, env = "WEFT_INSTANCE", default_value_t = random_instance(), hide_default_value = true)]
    pub instance: String,
    /// File that holds the key of the fleet, 32 bytes at least, the same for every gateway. Without one Socket.IO sessions
    /// live and are recovered on the gateway that they began on.
    #[arg(long, env = "WEFT_FLEET_KEY_FILE")]
    pub fleet_key_file: Option<PathBuf>,
    /// Address at which other gateways reach this one, to pass on requests of sessions that it holds; not for clients.
    /// Without one, clients that poll need a load balancer with affinity.
    #[arg(long, env = "WEFT_PEER_LISTEN")]
    pub peer_listen: Option<SocketAddr>,
    /// TLS towards clients.
    #[command(flatten)]
    pub tls: TlsSettings,
    /// Who may come in, what they may see, how much they may take.
    #[command(flatten)]
    pub guard: GuardSettings,
    /// The bus.
    #[command(flatten)]
    pub bus: BusSettings,
    /// What requests may take.
    #[command(flatten)]
    pub requests: RequestSettings,
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
    /// Largest event in bytes.
    #[arg(long, env = "WEFT_EVENT_BYTES_MAX", default_value_t = 960 * 1024)]
    pub event_bytes_max: usize,
    /// Largest client message in bytes.
    #[arg(long, env = "WEFT_MESSAGE_BYTES_MAX", default_value_t = 1024 * 1024)]
    pub message_bytes_max: usize,
    /// Seconds that a client message may take from its first byte to its last.
    #[arg(long, env = "WEFT_MESSAGE_SECS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..86_400))]
    pub message_secs: u32,
    /// Compresses what is sent to clients that offer permessage-deflate.
    #[arg(long, env = "WEFT_COMPRESSION", default_value_t = true, action = clap::ArgAction::Set)]
    pub compression: bool,
    /// Largest body of POST /api/events in bytes.
    #[arg(long, env = "WEFT_INGRESS_BYTES_MAX", default_value_t = 8 * 1024 * 1024)]
    pub ingress_bytes_max: usize,
    /// Bytes of all bodies of POST /api/events that are under way at once; further ones wait.
    #[arg(long, env = "WEFT_INGRESS_BYTES_AT_ONCE", default_value_t = 128 * 1024 * 1024)]
    pub ingress_bytes_at_once: usize,
    /// Connections at once; by default as many as the process may have files open, less a reserve.
    #[arg(long, env = "WEFT_CONNECTIONS_MAX", default_value_t = connections_max(), hide_default_value = true)]
    pub connections_max: usize,
    /// Sockets at once, connections among them; by default as many as the process may have files open, less a smaller reserve.
    #[arg(long, env = "WEFT_SOCKETS_MAX", default_value_t = sockets_max(), hide_default_value = true)]
    pub sockets_max: usize,
    /// Milliseconds that events of a hot room may wait for the next ones; 0 sends each at once.
    #[arg(long, env = "WEFT_GATHER_MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=10))]
    pub gather_ms: u64,
    /// Rooms that one connection may follow.
    #[arg(long, env = "WEFT_ROOMS_PER_CONNECTION_MAX", default_value_t = 128)]
    pub rooms_per_connection_max: usize,
    /// Rooms that this process may follow.
    #[arg(long, env = "WEFT_ROOMS_MAX", default_value_t = 200_000)]
    pub rooms_max: usize,
    /// Events held in memory for one room.
    #[arg(long, env = "WEFT_LOG_EVENTS_MAX", default_value_t = 1024)]
    pub log_events_max: usize,
    /// Bytes of events held in memory for one room.
    #[arg(long, env = "WEFT_LOG_BYTES_MAX", default_value_t = 1024 * 1024)]
    pub log_bytes_max: usize,
    /// Bytes of events held in memory for all rooms together.
    #[arg(long, env = "WEFT_LOGS_BYTES_MAX", default_value_t = 256 * 1024 * 1024)]
    pub logs_bytes_max: usize,
    /// Seconds that a room stays followed after its last follower has left.
    #[arg(long, env = "WEFT_LINGER_SECS", default_value_t = 30)]
    pub linger_secs: u64,
    /// History reads under way on the broker at once.
    #[arg(long, env = "WEFT_READS_MAX", default_value_t = 64)]
    pub reads_max: usize,
    /// Seconds between pings to a client.
    #[arg(long, env = "WEFT_PING_SECS", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..86_400))]
    pub ping_secs: u32,
    /// Seconds that a client may take to answer a ping.
    #[arg(long, env = "WEFT_PONG_SECS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..86_400))]
    pub pong_secs: u32,
    /// Seconds without a byte written, while there is something to write, until a client is closed with 4409.
    #[arg(long, env = "WEFT_STALL_SECS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..86_400))]
    pub stall_secs: u32,
    /// Seconds that a client of Socket.IO may stay away and still go on where it was.
    #[arg(long, env = "WEFT_RECOVERY_SECS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..604_800))]
    pub recovery_secs: u32,
    /// Milliseconds that an executor may take to answer a command.
    #[arg(long, env = "WEFT_COMMAND_TIMEOUT_MS", default_value_t = 5000)]
    pub command_timeout_ms: u64,
    /// Seconds over which closes are spread when this process leaves.
    #[arg(long, env = "WEFT_DRAIN_SECS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(..86_400))]
    pub drain_secs: u32,
    /// Seconds that this process, not ready any more, still accepts connections before it leaves.
    #[arg(long, env = "WEFT_DRAIN_DELAY_SECS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..86_400))]
    pub drain_delay_secs: u32,
    /// Seconds that a connection may live, a fifth more or less, before its client is asked to come back; 0: for ever.
    #[arg(long, env = "WEFT_CONNECTION_AGE_MAX_SECS", default_value_t = 1800, value_parser = clap::value_parser!(u32).range(..=31_536_000))]
    pub connection_age_max_secs: u32,
    /// Connections let in a second, and four times as many at once; further clients wait or come back later; 0: no bound.
    #[arg(long, env = "WEFT_CONNECTS_PER_SEC", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub connects_per_sec: u32,
}

/// Why the gateway does not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadSetting(pub String);

/// Largest event or message that may be allowed: no broker and few clients take more.
const EVENT_BYTES_MOST: usize = 64 * 1024 * 1024;
/// How often a session's record is written within its life: one write may fail.
const RECOVERY_RENEWALS: u32 = 3;
/// Larger counts are slips of the pen.
const COUNT_MOST: usize = 100_000_000;

impl Settings {
    /// Checks what clap cannot.
    pub fn check(&self) -> Result<(), BadSetting> {
        self.guard.check(self.listen.ip()).map_err(|error| BadSetting(error.to_string()))?;
        weft_event::id::check("WEFT_INSTANCE", &self.instance).map_err(|invalid| BadSetting(invalid.to_string()))?;
        for (name, value, least, most) in [
            ("WEFT_EVENT_BYTES_MAX", self.limits.event_bytes_max, 1024, EVENT_BYTES_MOST),
            ("WEFT_MESSAGE_BYTES_MAX", self.limits.message_bytes_max, 1024, EVENT_BYTES_MOST),
            ("WEFT_LOG_EVENTS_MAX", self.limits.log_events_max, 1, COUNT_MOST),
            ("WEFT_READS_MAX", self.limits.reads_max, 1, COUNT_MOST),
            ("WEFT_ROOMS_MAX", self.limits.rooms_max, 1, COUNT_MOST),
            ("WEFT_ROOMS_PER_CONNECTION_MAX", self.limits.rooms_per_connection_max, 1, COUNT_MOST),
            ("WEFT_CONNECTIONS_MAX", self.limits.connections_max, 1, COUNT_MOST),
            ("WEFT_SOCKETS_MAX", self.limits.sockets_max, 1, COUNT_MOST),
        ] {
            if !(least..=most).contains(&value) {
                return Err(BadSetting(format!("{name}: must be {least} to {most}")));
            }
        }
        if self.limits.command_timeout_ms == 0 {
            return Err(BadSetting("WEFT_COMMAND_TIMEOUT_MS: must be at least 1".into()));
        }
        // Records are looked after when a client is pinged.
        if self.limits.recovery_secs < RECOVERY_RENEWALS * self.limits.ping_secs {
            return Err(BadSetting(format!("WEFT_RECOVERY_SECS: must be at least {RECOVERY_RENEWALS} times WEFT_PING_SECS")));
        }
        self.fleet_key()?;
        self.tls.open()?;
        self.check_peer_listen()?;
        self.bus_config().map(|_| ())
    }

    /// How the bus is reached.
    pub fn bus_config(&self) -> Result<BusConfig, BadSetting> {
        let mut config = self.bus.config(&self.instance).map_err(|error| BadSetting(error.to_string()))?;
        config.journal_age = self.guard.journal_age();
        config.record_age = Duration::from_secs(self.limits.recovery_secs.into());
        // Apart from executors, which then need no right to read what gateways are answered.
        config.inbox = format!("_INBOX.{}-gateway", config.prefix);
        Ok(config)
    }

    fn check_peer_listen(&self) -> Result<(), BadSetting> {
        let Some(address) = self.peer_listen else { return Ok(()) };
        let bad = |reason: &str| Err(BadSetting(format!("WEFT_PEER_LISTEN: {reason}")));
        if address.ip().is_unspecified() {
            return bad("must be the address that other gateways connect to, such as the pod's own");
        }
        if self.fleet_key_file.is_none() {
            return bad("needs WEFT_FLEET_KEY_FILE, by which gateways know each other");
        }
        if self.instance.len() > INSTANCE_BYTES_MAX {
            return bad("needs a WEFT_INSTANCE of at most 100 bytes");
        }
        Ok(())
    }

    /// Bounds of the hub.
    #[must_use]
    pub fn hub_limits(&self) -> HubLimits {
        HubLimits {
            log: LogLimits { slots: self.limits.log_events_max, bytes: self.limits.log_bytes_max },
            logs_bytes: self.limits.logs_bytes_max,
            rooms: self.limits.rooms_max,
            connections: self.limits.connections_max,
            gather: (self.limits.gather_ms > 0).then(|| Duration::from_millis(self.limits.gather_ms)),
            linger: Duration::from_secs(self.limits.linger_secs),
            reads: self.limits.reads_max,
            event: self.event_limits(),
            // Half a log, so that what is folded is still in it.
            head_every: (self.bus.retention_events / 4).min(self.limits.log_events_max / 2).clamp(1, 1000) as u32,
            traced: self.traces.endpoint().is_some(),
        }
    }

    /// Bounds of an event.
    #[must_use]
    pub fn event_limits(&self) -> weft_event::Limits {
        weft_event::Limits { event_bytes_max: self.limits.event_bytes_max, ..weft_event::Limits::default() }
    }

    /// Bounds of a session.
    #[must_use]
    pub fn session_limits(&self) -> SessionLimits {
        SessionLimits {
            message: native::Limits {
                message_bytes_max: self.limits.message_bytes_max,
                rooms_max: self.limits.rooms_per_connection_max,
                ..native::Limits::default()
            },
            rooms: self.limits.rooms_per_connection_max,
            ping_secs: self.limits.ping_secs,
            pong_secs: self.limits.pong_secs,
            stall_secs: self.limits.stall_secs,
            message_secs: self.limits.message_secs,
            age_secs: self.limits.connection_age_max_secs,
            command_timeout: Duration::from_millis(self.limits.command_timeout_ms),
            packets: socketio::Limits { packet_bytes_max: self.limits.message_bytes_max, ..socketio::Limits::default() },
            replay_events_max: self.requests.replay_events_max,
            connect_secs: if self.guard.is_jwt() { self.guard.auth_secs } else { CONNECT_SECS },
            auth_secs: self.guard.auth_secs,
            recovery_renew_secs: self.limits.recovery_secs / RECOVERY_RENEWALS,
        }
    }

    /// The key of the fleet, or one for this process alone.
    pub fn fleet_key(&self) -> Result<FleetKey, BadSetting> {
        let Some(path) = &self.fleet_key_file else {
            return FleetKey::new(&rand::random::<[u8; 32]>()).map_err(|invalid| BadSetting(invalid.to_string()));
        };
        let bad = |reason: &dyn std::fmt::Display| BadSetting(format!("WEFT_FLEET_KEY_FILE: {}: {reason}", path.display()));
        let key = std::fs::read(path).map_err(|error| bad(&error))?;
        FleetKey::new(key.trim_ascii()).map_err(|invalid| bad(&invalid))
    }

    /// Bytes of what polling clients post that may be under way at once: a quarter of what publishers may have, or one body.
    #[must_use]
    pub fn polls_bytes_at_once(&self) -> usize {
        (self.limits.ingress_bytes_at_once.min(Semaphore::MAX_PERMITS) / 4).max(self.engine().payload_bytes_max)
    }

    /// Times and bounds of Engine.IO.
    #[must_use]
    pub fn engine(&self) -> EngineLimits {
        let ms = |seconds: u32| u64::from(seconds) * 1000;
        EngineLimits {
            times: Arc::new(engine::Times {
                ping_interval: ms(self.limits.ping_secs),
                ping_timeout: ms(self.limits.pong_secs),
                ..engine::Times::default()
            }),
            payload_bytes_max: self.limits.message_bytes_max,
        }
    }

    /// How sockets are taken over.
    #[must_use]
    pub fn sockets(&self) -> Sockets {
        let message_bytes_max = self.limits.message_bytes_max;
        let limits = WebSocketLimits { frame_bytes_max: message_bytes_max, message_bytes_max, ..WebSocketLimits::default() };
        // A stalled peer is to be closed with its code first.
        let unacknowledged = Duration::from_secs(u64::from(self.limits.stall_secs) + 10);
        Sockets {
            first_limits: self.guard.is_jwt().then(|| {
                let bytes = self.guard.auth_bytes_max as usize;
                Arc::new(WebSocketLimits { frame_bytes_max: bytes, message_bytes_max: bytes, ..limits })
            }),
            limits: Arc::new(limits),
            compression: self.limits.compression,
            times: SocketTimes { unacknowledged },
            engine: self.engine(),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE)),
        }
    }

    /// Bounds of requests.
    #[must_use]
    pub fn http_limits(&self) -> HttpLimits {
        HttpLimits {
            body_bytes: self.requests.body_bytes_max as usize,
            ingress_bytes: self.limits.ingress_bytes_max,
            ingress_bytes_at_once: self.limits.ingress_bytes_at_once.min(Semaphore::MAX_PERMITS),
            ingress_events: 10_000,
            event: self.event_limits(),
            body_time: self.requests.body_time(),
            retry_after_secs: 1,
            drain_secs: self.limits.drain_secs,
        }
    }

    /// How fast clients are let in.
    #[must_use]
    pub fn admissions(&self) -> Admissions {
        Admissions::new(self.limits.connects_per_sec)
    }

    /// How long this process takes to leave.
    #[must_use]
    pub fn drain_times(&self) -> weft_drain::Times {
        let secs = |secs: u32| Duration::from_secs(secs.into());
        weft_drain::Times { delay: secs(self.limits.drain_delay_secs), window: secs(self.limits.drain_secs) }
    }

    /// Who may come in.
    #[must_use]
    pub fn door(&self) -> Door {
        let loopback_only = self.listen.ip().is_loopback() && !self.guard.is_jwt();
        // A cookie comes along whoever's page it is.
        let same_host = self.guard.is_jwt() && self.guard.auth_cookie.is_none();
        Door { origins: self.guard.origins.clone(), loopback_only, same_host }
    }
}

/// Descriptors for what is no connection: requests, clients that are turned away, and the next.
const DESCRIPTORS_RESERVED: u64 = 512;
/// Descriptors for what is no client's: the broker, the admin port, operators, key sets and the hook, and sockets that are only
/// told that there is no place.
const DESCRIPTORS_OWN: u64 = 256;
/// Longest name of a gateway to which requests are passed on: it stands in what shows that they are.
const INSTANCE_BYTES_MAX: usize = 100;
/// Seconds in which a client of Socket.IO must have asked for a namespace; its own library does so at once.
const CONNECT_SECS: u32 = 30;
/// Clients that are told at once that there is no place; further ones get a plain 503.
const TURNED_AWAY_AT_ONCE: usize = 128;

/// What the process's limit of descriptors leaves for connections; at least half of it.
fn connections_max() -> usize {
    let open_files = open_files_max();
    usize::try_from(open_files.saturating_sub(DESCRIPTORS_RESERVED).max(open_files / 2)).unwrap_or(usize::MAX)
}

/// The same for sockets; at least three quarters of it.
fn sockets_max() -> usize {
    let open_files = open_files_max();
    usize::try_from(open_files.saturating_sub(DESCRIPTORS_OWN).max(open_files / 4 * 3)).unwrap_or(usize::MAX)
}

fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u32::MAX))
}

/// Raises the soft limit of descriptors to the hard one, before the settings that rest on it are read. Container runtimes start
/// processes with a soft limit of 1,024, which is there for programs that use `select`; the hard one says what is allowed.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // Where that is refused the gateway takes fewer connections, as it says in `weft_gateway_connections_max`.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn random_instance() -> String {
    format!("gateway-{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use weft_telemetry::in_one_line;

    fn checked(arguments: &[&str]) -> Result<(), String> {
        let arguments = ["gateway"].iter().chain(arguments).copied();
        let settings = Settings::try_parse_from(arguments).map_err(|error| in_one_line(&error, &Settings::command()))?;
        settings.check().map_err(|error| error.to_string())
    }

    #[test]
    fn bad_settings_name_themselves() {
        assert_eq!(checked(&[]), Ok(()));
        for (arguments, named) in [
            (&["--listen", "0.0.0.0:1"][..], "WEFT_AUTH"),
            (&["--listen", "0.0.0.0:1", "--auth", "off"], "WEFT_ALLOW_ANONYMOUS_REMOTE"),
            (&["--bus", "kafka://x"], "WEFT_BUS"),
            (&["--retention-events", "0"], "WEFT_RETENTION_EVENTS"),
            (&["--ping-secs", "0"], "WEFT_PING_SECS"),
            (&["--reads-max", "18446744073709551615"], "WEFT_READS_MAX"),
            (&["--event-bytes-max", "0"], "WEFT_EVENT_BYTES_MAX"),
            (&["--message-bytes-max", "99999999"], "WEFT_MESSAGE_BYTES_MAX"),
            (&["--command-timeout-ms", "0"], "WEFT_COMMAND_TIMEOUT_MS"),
            (&["--bus", "redis://127.0.0.1:99999"], "WEFT_BUS"),
            (&["--auth", "jwt"], "WEFT_AUTH"),
            (&["--listen", "nowhere"], "WEFT_LISTEN"),
            (&["--bus-prefix", "a..b"], "WEFT_BUS_PREFIX"),
            (&["--retention-secs", "0"], "WEFT_RETENTION_SECS"),
            (&["--head-secs", "18446744073709551615"], "WEFT_HEAD_SECS"),
            (&["--bus", "nats://127.0.0.1:1", "--bus-credentials-file", "/nowhere"], "WEFT_BUS_CREDENTIALS_FILE"),
            (&["--origins", "*"], "WEFT_ORIGINS"),
            (&["--peer-listen", "127.0.0.1:0"], "WEFT_PEER_LISTEN"),
            (&["--peer-listen", "0.0.0.0:3002"], "WEFT_PEER_LISTEN"),
            (&["--fleet-key-file", "/nowhere"], "WEFT_FLEET_KEY_FILE"),
            (&["--tls-cert-file", "/nowhere", "--tls-key-file", "/nowhere"], "WEFT_TLS_CERT_FILE: /nowhere"),
            (&["--tls-cert-file", "/nowhere"], "WEFT_TLS_KEY_FILE: must be set"),
            (&["--header-secs", "0"], "WEFT_HEADER_SECS"),
            (&["--header-bytes-max", "8192"], "WEFT_HEADER_BYTES_MAX"),
            (&["--body-bytes-max", "100000000"], "WEFT_BODY_BYTES_MAX"),
            (&["--no-such-flag"], "--no-such-flag"),
        ] {
            let refused = checked(arguments).expect_err(named);
            assert!(refused.contains(named), "{refused}");
        }
    }
}
