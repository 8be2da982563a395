//! What is done to a system, and what is learnt by it.
//!
//! A [`stage`] has the servers; a [`contender`] is one system with its clients and its way in. [`rounds`] publishes
//! the next event when all clients have the last; [`steady`] publishes at a rate; the other files are scenarios with a
//! story of their own.

pub(crate) mod climb;
pub(crate) mod contender;
pub(crate) mod idle;
pub(crate) mod mixed;
pub(crate) mod resume;
pub(crate) mod rounds;
pub(crate) mod stage;
pub(crate) mod steady;
pub(crate) mod verdict;
pub(crate) mod weighing;

use crate::{error::Failure, options::load::Load, report::outcome::Outcome};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Clients that follow rooms in which nothing happens: connecting, memory, and what waiting costs.
    Idle,
    /// One hot room that everyone follows.
    Fanout,
    /// Many small rooms.
    Rooms,
    /// Agents that stream: 50 tokens a second to each client, each in a room of its own.
    Tokens,
    /// A gateway is killed and its clients return to a sibling, all at once.
    ResumeStorm,
    /// One client in ten reads far more slowly than events come.
    SlowReaders,
    /// A day of a platform, compressed: executions of many kinds of events, late joiners, people who come and go.
    Mixed,
}

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Fanout => "fanout",
            Self::Rooms => "rooms",
            Self::Tokens => "tokens",
            Self::ResumeStorm => "resume-storm",
            Self::SlowReaders => "slow-readers",
            Self::Mixed => "mixed",
        }
    }
}

/// Runs one load from beginning to end.
pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    match load.scenario {
        Scenario::Idle => idle::run(load).await,
        Scenario::ResumeStorm => resume::run(load).await,
        Scenario::Mixed => mixed::run(load).await,
        Scenario::Fanout | Scenario::Rooms if load.rate == 0.0 => rounds::run(load).await,
        Scenario::Fanout | Scenario::Rooms | Scenario::Tokens | Scenario::SlowReaders => steady::run(load).await,
    }
}

/// Clients connect and subscribe at thousands a second; this only bounds a hang.
pub(crate) const CONNECT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
