//! NATS: one server of either version, or a cluster of three of the current one.

use super::{
    binaries,
    broker::{Broker, Kind, broker_methods},
};
use crate::{Fault, Result, raw::RawNats, running::free_port};
use std::{fmt::Write, path::Path, process::Command, time::Duration};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatsVersion {
    /// The one that Debian ships (2.9).
    Debian,
    /// The latest release.
    Current,
}

/// How a NATS server is set up.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Which server.
    pub version: NatsVersion,
    /// Whether JetStream is on, with its files in the server's own directory.
    pub jetstream: bool,
    /// Further lines of its configuration file.
    pub config: String,
    /// A fixed port instead of a free one.
    pub port: Option<u16>,
}

impl NatsOptions {
    /// JetStream on, everything else plain.
    #[must_use]
    pub fn new(version: NatsVersion) -> Self {
        Self { version, jetstream: true, config: String::new(), port: None }
    }
}

#[derive(Debug)]
struct Nats {
    options: NatsOptions,
    member: Option<Member>,
}

/// What a server of a cluster knows of the others.
#[derive(Debug)]
struct Member {
    name: String,
    route_port: u16,
    routes: Vec<u16>,
}

impl Nats {
    fn config(&self, port: u16, directory: &Path) -> String {
        let mut text = format!("listen: \"127.0.0.1:{port}\"\n");
        if self.options.jetstream {
            let store = directory.join("jetstream");
            // Bounds that a test machine has for sure: without them the server takes a share of what it finds.
            let _ = writeln!(text, "jetstream {{ store_dir: {store:?}, max_memory_store: 64MB, max_file_store: 4GB }}");
        }
        if let Some(member) = &self.member {
            let routes: Vec<_> = member.routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
            let _ = writeln!(text, "server_name: {}", member.name);
            let (own, routes) = (member.route_port, routes.join(", "));
            let _ = writeln!(text, "cluster {{ name: weft-test, listen: \"127.0.0.1:{own}\", routes: [{routes}] }}");
        }
        text + &self.options.config
    }
}

impl Kind for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn command(&self, port: u16, directory: &Path) -> Result<Command> {
        let mut command = Command::new(binaries::nats(self.options.version)?);
        let file = directory.join("nats.conf");
        std::fs::write(&file, self.config(port, directory)).map_err(Fault::io("write nats.conf"))?;
        command.arg("--config").arg(file);
        Ok(command)
    }

    async fn answers(&self, port: u16) -> bool {
        let Ok(mut nats) = RawNats::connect(port).await else {
            // A server that demands credentials refuses us, but it is up.
            return !self.options.config.is_empty() && tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        };
        if !self.options.jetstream || !self.options.config.is_empty() {
            return true;
        }
        // A cluster answers here only when it has a leader.
        let answer = nats.request("$JS.API.INFO", b"", Duration::from_secs(2)).await;
        answer.is_ok_and(|answer| !String::from_utf8_lossy(&answer).contains("\"error\""))
    }
}

/// One NATS server.
#[derive(Debug)]
pub struct NatsServer {
    broker: Broker<Nats>,
}

impl NatsServer {
    /// With JetStream on file storage.
    ///
    /// # Errors
    /// The program is missing or does not come up.
    pub async fn start(version: NatsVersion) -> Result<Self> {
        Self::start_with(NatsOptions::new(version)).await
    }

    /// With options.
    ///
    /// # Errors
    /// The program is missing or does not come up.
    pub async fn start_with(options: NatsOptions) -> Result<Self> {
        let port = options.port;
        Ok(Self { broker: Broker::start(Nats { options, member: None }, port).await? })
    }

    /// `nats://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// A raw connection to it.
    ///
    /// # Errors
    /// It does not run, or demands credentials.
    pub async fn raw(&self) -> Result<RawNats> {
        RawNats::connect(self.port()).await
    }

    broker_methods!();
}

/// Three servers of the current version with replicated JetStream. (Debian's must not be clustered: a member can
/// fail to restart.)
#[derive(Debug)]
pub struct NatsCluster {
    /// Its members.
    pub nodes: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three and waits until JetStream has a leader.
    ///
    /// # Errors
    /// The program is missing, or no leader is found.
    pub async fn start() -> Result<Self> {
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect::<Result<_>>()?;
        let mut nodes = Vec::new();
        for (index, &route_port) in routes.iter().enumerate() {
            let member = Member { name: format!("n{index}"), route_port, routes: routes.clone() };
            let kind = Nats { options: NatsOptions::new(NatsVersion::Current), member: Some(member) };
            nodes.push(NatsServer { broker: Broker::launched(kind)? });
        }
        for node in &mut nodes {
            node.broker.ready().await?;
        }
        Ok(Self { nodes })
    }

    /// `nats://` with all members.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("nats://{}", hosts.join(","))
    }

    /// The index of the server that leads `stream` at this moment, if any does.
    ///
    /// # Errors
    /// No server answers, or there is no such stream.
    pub async fn leader(&self, stream: &str) -> Result<Option<usize>> {
        let mut fault = None;
        for node in self.nodes.iter().filter(|node| node.pid() != 0) {
            match leader_of(node, stream).await {
                Ok(name) => return Ok(name.and_then(|name| name.strip_prefix('n')?.parse().ok())),
                Err(error) => fault = Some(error),
            }
        }
        Err(fault.unwrap_or_else(|| Fault::said("NATS cluster", "no server runs")))
    }
}

async fn leader_of(node: &NatsServer, stream: &str) -> Result<Option<String>> {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    let answer = node.raw().await?.request(&subject, b"", Duration::from_secs(2)).await?;
    let info: serde_json::Value = serde_json::from_slice(&answer).map_err(|error| Fault::said(&subject, error))?;
    if let Some(error) = info.get("error") {
        return Err(Fault::said(subject, error));
    }
    Ok(info["cluster"]["leader"].as_str().map(str::to_owned))
}
