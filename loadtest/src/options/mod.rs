//! The command line.

pub(crate) mod bench;
pub(crate) mod compare;
pub(crate) mod fleet;
pub(crate) mod load;

use bench::BenchOptions;
use clap::{Parser, Subcommand};
use compare::CompareOptions;
use fleet::FleetOptions;
use load::RunOptions;

/// Load on real gateways.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs scenarios, each on servers of its own.
    Run(Box<RunOptions>),
    /// What a delivery and an idle connection cost a gateway: three fixed loads.
    Bench(BenchOptions),
    /// Measures Weft beside what one would use instead, in the same run.
    Compare(Box<CompareOptions>),
    /// As many connections as the machine takes, over many gateways.
    Fleet(Box<FleetOptions>),
    /// Clients, as a process of a run; speaks on standard input and output.
    #[command(hide = true)]
    Swarm,
}

/// As in `--env NAME=VALUE`.
fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.into(), value.into()))
}
