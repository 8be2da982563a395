//! Redis: one, a cluster of three, or a primary with replicas and sentinels.

use super::{
    binaries,
    broker::{Broker, Kind, broker_methods},
};
use crate::{Fault, Result, raw::RawRedis};
use std::{path::Path, process::Command, time::Duration};
use tokio::time::Instant;

/// Forming a cluster and electing takes seconds; this only bounds a hang.
const FORM_TIMEOUT: Duration = Duration::from_secs(60);

/// How a Redis server is set up.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Whether writes go to an append-only file, synced every second, and so survive a SIGKILL.
    pub append_only: bool,
    /// Clients must give this password.
    pub password: Option<String>,
    /// Further arguments, as on the command line: `["--maxmemory", "10mb"]`.
    pub arguments: Vec<String>,
    /// A fixed port instead of a free one.
    pub port: Option<u16>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { append_only: true, password: None, arguments: Vec::new(), port: None }
    }
}

#[derive(Debug)]
struct Redis {
    options: RedisOptions,
    sentinel: bool,
}

impl Kind for Redis {
    fn name(&self) -> &'static str {
        if self.sentinel { "redis-sentinel" } else { "redis" }
    }

    fn command(&self, port: u16, directory: &Path) -> Result<Command> {
        let mut command = Command::new(binaries::redis()?);
        if self.sentinel {
            // A sentinel rewrites its file, which must exist and survive a restart.
            let file = directory.join("sentinel.conf");
            if !file.exists() {
                std::fs::write(&file, "").map_err(Fault::io("write sentinel.conf"))?;
            }
            command.arg(file).arg("--sentinel");
        } else {
            let append_only = if self.options.append_only { "yes" } else { "no" };
            command.args(["--appendonly", append_only, "--appendfsync", "everysec", "--save", ""]);
        }
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no", "--dir"]).arg(directory);
        if let Some(password) = &self.options.password {
            command.args(["--requirepass", password]);
        }
        command.args(&self.options.arguments);
        Ok(command)
    }

    async fn answers(&self, port: u16) -> bool {
        let Ok(mut redis) = RawRedis::connect(port).await else { return false };
        if let Some(password) = &self.options.password
            && redis.say(&["AUTH", password]).await.is_err()
        {
            return false;
        }
        // An error means that it is still reading its file.
        redis.say(&["PING"]).await.is_ok()
    }
}

/// One Redis server.
#[derive(Debug)]
pub struct RedisServer {
    broker: Broker<Redis>,
}

impl RedisServer {
    /// With an append-only file and no password.
    ///
    /// # Errors
    /// The program is missing or does not come up.
    pub async fn start() -> Result<Self> {
        Self::start_with(RedisOptions::default()).await
    }

    /// With options.
    ///
    /// # Errors
    /// The program is missing or does not come up.
    pub async fn start_with(options: RedisOptions) -> Result<Self> {
        let port = options.port;
        Ok(Self { broker: Broker::start(Redis { options, sentinel: false }, port).await? })
    }

    /// `redis://127.0.0.1:<port>`, with the password if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        let password = self.broker.kind().options.password.as_ref();
        let user = password.map_or_else(String::new, |password| format!(":{password}@"));
        format!("redis://{user}127.0.0.1:{}", self.port())
    }

    /// A raw connection to it, authenticated.
    ///
    /// # Errors
    /// It does not run.
    pub async fn raw(&self) -> Result<RawRedis> {
        let mut redis = RawRedis::connect(self.port()).await?;
        if let Some(password) = &self.broker.kind().options.password {
            redis.say(&["AUTH", password]).await?;
        }
        Ok(redis)
    }

    broker_methods!();
}

/// A Redis Cluster of three primaries, which share the slots evenly.
#[derive(Debug)]
pub struct RedisCluster {
    /// Its members.
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts three and waits until each says that the cluster is whole.
    ///
    /// # Errors
    /// The program is missing, or the cluster does not form.
    pub async fn start() -> Result<Self> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            nodes.push(start_with_arguments(&arguments).await?);
        }
        let ranges = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        let first = nodes[0].port().to_string();
        for (node, (from, to)) in nodes.iter().zip(ranges) {
            let mut redis = node.raw().await?;
            redis.say(&["CLUSTER", "ADDSLOTSRANGE", from, to]).await?;
            redis.say(&["CLUSTER", "MEET", "127.0.0.1", &first]).await?;
        }
        let cluster = Self { nodes };
        cluster.is_whole().await?;
        Ok(cluster)
    }

    /// Waits until each member says that all slots are served, as is not so for seconds after one was away.
    ///
    /// # Errors
    /// A member does not run, or they never agree.
    pub async fn is_whole(&self) -> Result<()> {
        for node in &self.nodes {
            until_says(node, &["CLUSTER", "INFO"], |info| {
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
            .await?;
        }
        Ok(())
    }

    /// `redis-cluster://` with all members.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }
}

/// A primary with two replicas, watched by three sentinels.
#[derive(Debug)]
pub struct RedisSentinel {
    /// The servers; the first began as primary.
    pub servers: Vec<RedisServer>,
    /// The sentinels.
    pub sentinels: Vec<RedisServer>,
}

/// The name under which the sentinels know the primary.
const PRIMARY: &str = "mymaster";

impl RedisSentinel {
    /// Starts three servers and three sentinels and waits until the replicas are in sync and the sentinels know of each other.
    ///
    /// # Errors
    /// The program is missing, or the group does not form.
    pub async fn start() -> Result<Self> {
        let mut servers = vec![start_with_arguments(&["--repl-diskless-sync-delay", "0"]).await?];
        let primary = servers[0].port().to_string();
        for _ in 0..2 {
            let arguments = ["--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", &primary];
            servers.push(start_with_arguments(&arguments).await?);
        }
        // A failover before the first sync loses everything, which is not what a test of failover wants to see.
        until_says(&servers[0], &["INFO", "replication"], |info| info.matches("state=online").count() == 2).await?;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(start_sentinel(&primary).await?);
        }
        for sentinel in &sentinels {
            until_says(sentinel, &["INFO", "sentinel"], |info| {
                info.contains("status=ok,") && info.contains("slaves=2,sentinels=3")
            })
            .await?;
        }
        Ok(Self { servers, sentinels })
    }

    /// `redis-sentinel://` with all sentinels and the primary's name.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis-sentinel://{}/{PRIMARY}", hosts.join(","))
    }

    /// The port of the server that the sentinels call primary at this moment.
    ///
    /// # Errors
    /// No sentinel answers.
    pub async fn primary_port(&self) -> Result<u16> {
        let mut fault = None;
        for sentinel in &self.sentinels {
            match primary_of(sentinel).await {
                Ok(port) => return Ok(port),
                Err(error) => fault = Some(error),
            }
        }
        Err(fault.unwrap_or_else(|| Fault::said("sentinels", "there are none")))
    }
}

async fn primary_of(sentinel: &RedisServer) -> Result<u16> {
    let reply = sentinel.raw().await?.say(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY]).await?.to_string();
    reply.lines().nth(1).and_then(|port| port.parse().ok()).ok_or_else(|| Fault::said("sentinel", reply))
}

async fn start_sentinel(primary: &str) -> Result<RedisServer> {
    let options = RedisOptions { append_only: false, ..RedisOptions::default() };
    let server = RedisServer { broker: Broker::start(Redis { options, sentinel: true }, None).await? };
    let mut redis = server.raw().await?;
    redis.say(&["SENTINEL", "MONITOR", PRIMARY, "127.0.0.1", primary, "2"]).await?;
    redis.say(&["SENTINEL", "SET", PRIMARY, "down-after-milliseconds", "1000", "failover-timeout", "5000"]).await?;
    Ok(server)
}

async fn start_with_arguments(arguments: &[&str]) -> Result<RedisServer> {
    let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    RedisServer::start_with(RedisOptions { arguments, ..RedisOptions::default() }).await
}

async fn until_says(server: &RedisServer, words: &[&str], holds: impl Fn(&str) -> bool) -> Result<()> {
    let until = Instant::now() + FORM_TIMEOUT;
    let mut redis = server.raw().await?;
    loop {
        let said = redis.say(words).await?.to_string();
        if holds(&said) {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(Fault::late("the forming of a Redis group", FORM_TIMEOUT, format!("; it says:\n{said}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
