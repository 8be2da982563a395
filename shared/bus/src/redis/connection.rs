//! How Redis is reached: one client for data, one for subscriptions.

use crate::{BusConfig, BusError, ConnectError, PublishError, RedisTopology, endpoint::Endpoint, tls};
use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    types::{
        Builder, RespVersion,
        config::{Config, ReconnectError, ReconnectPolicy, Server, ServerConfig, TcpConfig, TlsConnector, UnresponsiveConfig},
    },
};
use std::time::Duration;

/// A command that has no answer after this long has failed.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// Live events between the socket and the reader task. Beyond it the oldest are dropped, counted, and every room is
/// reconciled.
const LIVE_CAPACITY: usize = 65_536;

/// Commands that may wait for the socket; beyond it they fail as unavailable.
const COMMANDS_MAX: usize = 20_000;

/// The two connections. Subscriptions have their own, which runs nothing else but PING.
pub(super) struct Clients {
    pub(super) data: Client,
    pub(super) subscriber: Client,
}

pub(super) fn clients(config: &BusConfig) -> Result<Clients, ConnectError> {
    let config = client_config(config)?;
    let build = || builder(config.clone()).build().map_err(|error| ConnectError::new(format!("the bus URL: {error}")));
    Ok(Clients { data: build()?, subscriber: build()? })
}

pub(super) fn check(config: &BusConfig) -> Result<(), ConnectError> {
    crate::tls::install_provider();
    client_config(config).map(|_| ())
}

fn client_config(config: &BusConfig) -> Result<Config, ConnectError> {
    let sentinel = config.topology() == RedisTopology::Sentinel;
    let endpoint = Endpoint::parse(&config.url, if sentinel { 26379 } else { 6379 })?;
    endpoint.allow_parameters(if sentinel { &["sentinel_user", "sentinel_password"] } else { &[] })?;
    let servers: Vec<Server> = endpoint.hosts.iter().map(|(host, port)| Server::new(host.as_str(), *port)).collect();
    let path = endpoint.path.as_deref();
    let (server, database) = match config.topology() {
        RedisTopology::Single => match <[Server; 1]>::try_from(servers) {
            Ok([server]) => (ServerConfig::Centralized { server }, path),
            Err(_) => return Err(ConnectError::new("redis:// takes one address; use redis-cluster:// or redis-sentinel://")),
        },
        RedisTopology::Cluster => (ServerConfig::Clustered { hosts: servers, policy: Default::default() }, path),
        RedisTopology::Sentinel => {
            let path = path.ok_or_else(|| ConnectError::new("redis-sentinel:// needs the primary's name, as in /mymaster"))?;
            let (name, database) = path.split_once('/').map_or((path, None), |(name, number)| (name, Some(number)));
            let server = ServerConfig::Sentinel {
                hosts: servers,
                service_name: name.to_owned(),
                username: endpoint.parameter("sentinel_user").map(str::to_owned),
                password: endpoint.parameter("sentinel_password").map(str::to_owned),
            };
            (server, database)
        }
    };
    let database = database
        .map(|text| text.parse().map_err(|_| ConnectError::new(format!("the Redis database must be a number, not {text:?}"))))
        .transpose()?;
    if config.topology() == RedisTopology::Cluster && database.is_some_and(|number: u8| number != 0) {
        return Err(ConnectError::new("a Redis Cluster has database 0 only"));
    }
    let tls =
        if endpoint.scheme.starts_with("rediss") { Some(TlsConnector::from(tls::client_config(config)?).into()) } else { None };
    Ok(Config {
        fail_fast: true,
        username: endpoint.user,
        password: endpoint.password,
        server,
        // RESP2 refuses commands on a subscribed connection and so would refuse the barrier.
        version: RespVersion::RESP3,
        database,
        tls,
        ..Config::default()
    })
}

fn builder(config: Config) -> Builder {
    let mut builder = Builder::from_config(config);
    builder
        .with_performance_config(|performance| {
            performance.broadcast_channel_capacity = LIVE_CAPACITY;
            performance.default_command_timeout = COMMAND_TIMEOUT;
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = Duration::from_secs(3);
            connection.internal_command_timeout = Duration::from_secs(3);
            // A second attempt after a lost reply would run a script twice.
            connection.max_command_attempts = 1;
            connection.max_command_buffer_len = COMMANDS_MAX;
            connection.unresponsive =
                UnresponsiveConfig { max_timeout: Some(Duration::from_secs(3)), interval: Duration::from_millis(500) };
            connection.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
            connection.reconnect_errors =
                vec![ReconnectError::ReadOnly, ReconnectError::Loading, ReconnectError::ClusterDown, ReconnectError::MasterDown];
        })
        .set_policy(ReconnectPolicy::new_exponential(0, 50, 2_000, 2));
    builder
}

/// The broker's refusals, for rights or because it knows no such command.
fn is_refusal(error: &Error) -> bool {
    let text = error.details();
    *error.kind() == ErrorKind::Auth
        || ["NOPERM", "NOAUTH", "WRONGPASS", "ERR unknown command", "WRONGTYPE"].iter().any(|word| text.starts_with(word))
        || text.contains("The user executing the script can't")
        || text.contains("ACL failure in script")
}

/// Why the first connection failed.
pub(super) fn connect_error(config: &BusConfig, error: &Error) -> ConnectError {
    let reason = format!("{}: {error}", config.url_shown());
    let is_wrong = matches!(error.kind(), ErrorKind::Tls | ErrorKind::Config | ErrorKind::Url | ErrorKind::InvalidArgument);
    if is_wrong || is_refusal(error) { ConnectError::Refused(reason) } else { ConnectError::Away(reason) }
}

pub(super) fn bus_error(error: &Error) -> BusError {
    if is_refusal(error) { BusError::Refused(error.to_string()) } else { BusError::Unavailable(error.to_string()) }
}

pub(super) fn publish_error(error: &Error) -> PublishError {
    let text = error.details();
    if is_refusal(error) {
        PublishError::Refused(error.to_string())
    } else if text.contains("OOM command not allowed") || text.starts_with("OOM") || text.starts_with("MISCONF") {
        PublishError::Full(error.to_string())
    } else if text.contains("exceeds maximum allowed size") || text.contains("invalid bulk length") {
        PublishError::TooLarge(error.to_string())
    } else {
        PublishError::Unavailable(error.to_string())
    }
}
