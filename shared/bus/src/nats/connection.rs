//! How NATS is reached: one connection for requests and publications, one for followed rooms.

use super::{
    credentials::Credentials,
    wire::{Connection, Wire},
};
use crate::{BusConfig, ConnectError, endpoint::Endpoint, tls};
use async_nats::{Auth, AuthError, Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// Events of the connections that may wait for the watch; a lost one costs a second, the time of its next round.
const EVENTS_MAX: usize = 64;

/// Replies under way on the data connection; a page is one request with many replies.
const REPLIES_CAPACITY: usize = 65_536;

/// What a connection reports, and which it was.
pub(super) struct Report {
    pub(super) is_live: bool,
    pub(super) event: Event,
}

pub(super) struct Clients {
    pub(super) data: Client,
    pub(super) live: Wire,
    /// The live connection's first, to be run.
    pub(super) first: Connection,
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) refusals: Arc<Refusals>,
}

/// Subjects that the server refused to subscribe, kept until somebody asks; the crate tells a callback only.
#[derive(Default)]
pub(super) struct Refusals(Mutex<FxHashSet<String>>);

/// Most refusals kept; more than that is one cause many times.
const REFUSALS_MAX: usize = 1024;

impl Refusals {
    /// Takes note of `Permissions Violation for Subscription to "<subject>"`.
    pub(super) fn note(&self, event: &Event) {
        if let Event::ServerError(ServerError::Other(text)) = event
            && text.contains("ubscription to")
            && let Some(subject) = text.split('"').nth(1)
        {
            let mut refused = self.0.lock();
            if refused.len() < REFUSALS_MAX {
                refused.insert(subject.to_owned());
            }
        }
    }

    /// Whether there are any at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Whether this subject was refused; forgets it.
    pub(super) fn take(&self, subject: &str) -> bool {
        self.0.lock().remove(subject)
    }
}

pub(super) fn check(config: &BusConfig) -> Result<(), ConnectError> {
    servers(&endpoint(config)?).map(|_| ())
}

fn endpoint(config: &BusConfig) -> Result<Endpoint, ConnectError> {
    let endpoint = Endpoint::parse(&config.url, 4222)?;
    endpoint.allow_parameters(&[])?;
    match endpoint.path {
        Some(_) => Err(ConnectError::new("the bus URL has a path, which NATS does not know")),
        None => Ok(endpoint),
    }
}

fn servers(endpoint: &Endpoint) -> Result<Vec<ServerAddr>, ConnectError> {
    let scheme = if endpoint.scheme.contains("tls") { "tls" } else { "nats" };
    let servers = endpoint.hosts.iter().map(|(host, port)| {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("{scheme}://{host}:{port}").parse::<ServerAddr>()
    });
    servers.collect::<Result<_, _>>().map_err(|error| ConnectError::new(format!("the bus URL: {error}")))
}

pub(super) async fn clients(config: &BusConfig) -> Result<Clients, ConnectError> {
    tls::install_provider();
    let endpoint = endpoint(config)?;
    let (sender, reports) = mpsc::channel(EVENTS_MAX);
    let refusals = Arc::<Refusals>::default();
    let data = data(config, &endpoint, sender.clone(), refusals.clone()).await?;
    let (live, first) = Wire::open(config, endpoint, sender, refusals.clone()).await?;
    Ok(Clients { data, live, first, reports, refusals })
}

/// Who we are, as the file says now.
fn shown(path: &Path, nonce: &[u8]) -> Result<Auth, AuthError> {
    let shown = Credentials::read(path).and_then(|credentials| credentials.show(nonce)).map_err(AuthError::new)?;
    let mut auth = Auth::new();
    (auth.jwt, auth.signature) = (Some(shown.jwt), Some(shown.signature));
    Ok(auth)
}

async fn data(
    config: &BusConfig,
    endpoint: &Endpoint,
    reports: mpsc::Sender<Report>,
    refusals: Arc<Refusals>,
) -> Result<Client, ConnectError> {
    let is_tls = endpoint.scheme.contains("tls");
    let servers = servers(endpoint)?;
    let options = match config.credentials_file.clone() {
        Some(path) => ConnectOptions::with_auth_callback(move |nonce| std::future::ready(shown(&path, &nonce))),
        None => ConnectOptions::new(),
    };
    let mut options = options
        .custom_inbox_prefix(&config.inbox)
        .name(format!("{}-data", config.client_name))
        .ping_interval(Duration::from_secs(5))
        .connection_timeout(Duration::from_secs(3))
        .request_timeout(Some(Duration::from_secs(2)))
        .subscription_capacity(REPLIES_CAPACITY)
        .reconnect_delay_callback(|attempt| Duration::from_millis((50 << attempt.min(6)) as u64).min(Duration::from_secs(2)))
        .max_reconnects(None)
        .event_callback(move |event| {
            refusals.note(&event);
            // Full: the watch is behind, and finds the state out by itself in its next round.
            let _ = reports.try_send(Report { is_live: false, event });
            std::future::ready(())
        });
    options = match (&endpoint.user, &endpoint.password) {
        (Some(user), Some(password)) => options.user_and_password(user.clone(), password.clone()),
        (Some(token), None) => options.token(token.clone()),
        (None, _) => options,
    };
    if is_tls || config.tls_ca_file.is_some() || config.tls_client.is_some() {
        options = options.require_tls(true).tls_client_config(tls::client_config(config)?);
    }
    options.connect(servers).await.map_err(|error| {
        let reason = format!("{}: {error}", config.url_shown());
        match error.kind() {
            ConnectErrorKind::Dns | ConnectErrorKind::TimedOut | ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => {
                ConnectError::Away(reason)
            }
            _ => ConnectError::Refused(reason),
        }
    })
}
