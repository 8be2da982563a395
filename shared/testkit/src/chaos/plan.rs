//! What a chaos run consists of.

use crate::{seed::Seed, socketio::Runtime};
use std::{fmt, path::PathBuf, time::Duration};

/// Which broker carries the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusKind {
    /// The current NATS with JetStream on file storage.
    Nats,
    /// Debian's NATS with JetStream on file storage.
    NatsDebian,
    /// Three current NATS servers, three replicas.
    NatsCluster,
    /// Redis with an append-only file.
    Redis,
    /// Three Redis primaries.
    RedisCluster,
    /// A Redis primary with two replicas and three sentinels.
    RedisSentinel,
}

/// A real executor that takes part.
#[derive(Clone, Debug)]
pub struct ExecutorPlan {
    /// The directory of its workflows.
    pub workflows: PathBuf,
    /// The workflows to start, in turn.
    pub names: Vec<String>,
    /// How many of them to start before each kill.
    pub at_once: usize,
}

/// A chaos run.
#[derive(Clone, Debug)]
pub struct ChaosPlan {
    /// Which broker.
    pub bus: BusKind,
    /// How many gateways.
    pub gateways: usize,
    /// How many recording clients, of all dialects together. Each follows one execution from its start; of the native ones
    /// every third its user's room as well, every fifth the room of its agent.
    pub clients: usize,
    /// What clients of Socket.IO run on; none take part without it.
    pub socketio: Option<Runtime>,
    /// How many executions, each with its own publishers.
    pub executions: usize,
    /// How many sources publish into each execution at once.
    pub sources: usize,
    /// Events a second that each source publishes, in bursts four times a second.
    pub rate: u64,
    /// At least so many kills.
    pub kills: u32,
    /// About the time from one kill to the next.
    pub kill_interval: Duration,
    /// At least so long.
    pub duration: Duration,
    /// Whether the broker is killed and started again, half-way.
    pub restart_broker: bool,
    /// A real executor, if one takes part.
    pub executor: Option<ExecutorPlan>,
    /// Further settings of the gateways.
    pub gateway_env: Vec<(String, String)>,
    /// Of the kills, pauses and choices.
    pub seed: Seed,
}

impl ChaosPlan {
    /// The short form, about 20 seconds.
    #[must_use]
    pub fn short(bus: BusKind, seed: Seed) -> Self {
        Self {
            bus,
            gateways: 2,
            clients: 60,
            socketio: None,
            executions: 10,
            sources: 1,
            rate: 20,
            kills: 4,
            kill_interval: Duration::from_secs(4),
            duration: Duration::from_secs(16),
            restart_broker: false,
            executor: None,
            gateway_env: Vec::new(),
            seed,
        }
    }

    /// The long form: 200 clients, 20 executions, at least 10 kills, more than 500,000 deliveries.
    #[must_use]
    pub fn long(bus: BusKind, seed: Seed) -> Self {
        Self {
            clients: 200,
            executions: 20,
            rate: 20,
            kills: 12,
            kill_interval: Duration::from_secs(8),
            duration: Duration::from_secs(120),
            ..Self::short(bus, seed)
        }
    }

    /// Who owns an execution: four of them share a user.
    pub(super) fn user(&self, execution: usize) -> String {
        format!("user-{}", execution / 4)
    }

    pub(super) fn execution(&self, index: usize) -> String {
        format!("chaos-{}", index % self.executions.max(1))
    }
}

impl fmt::Display for ChaosPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {} gateways, {} clients, {} executions", self.bus, self.gateways, self.clients, self.executions)?;
        write!(f, " with {} sources of {} events/s, ", self.sources, self.rate)?;
        write!(f, "{} kills about every {:?}, at least {:?}", self.kills, self.kill_interval, self.duration)?;
        if self.restart_broker {
            write!(f, ", broker restarted")?;
        }
        if let Some(executor) = &self.executor {
            write!(f, ", real executor running {}", executor.names.join(", "))?;
        }
        write!(f, ", {}", self.seed)
    }
}
