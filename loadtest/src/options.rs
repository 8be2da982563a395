//! The command line.

use crate::scenario::Scenario;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Load on real gateways.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What a delivery and an idle connection cost a gateway.
    Bench(BenchOptions),
}

/// A named set of clients and rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Named {
    /// 1,000 clients in one room.
    Fanout1000,
    /// 5,000 clients in one room.
    Fanout5000,
    /// 5,000 clients in 500 rooms.
    Rooms500,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// The gateway to run; the one beside this program by default.
    #[arg(long, value_name = "PATH")]
    pub(crate) gateway: Option<PathBuf>,
    /// Which scenario; may be repeated. All of them by default.
    #[arg(long, value_enum)]
    pub(crate) scenario: Vec<Named>,
    /// A scenario of your own: this many clients …
    #[arg(long, requires = "rooms", conflicts_with = "scenario", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) clients: Option<u32>,
    /// … in this many rooms.
    #[arg(long, requires = "clients", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub(crate) rooms: Option<u32>,
    /// Deliveries to measure in each scenario, about.
    #[arg(long, default_value_t = 300_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) deliveries: u64,
    /// Events published to each room at once; the next ones follow when all clients have got these.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) burst: u32,
    /// Bytes of an event, about.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(120..=900_000))]
    pub(crate) event_bytes: u32,
    /// A setting of the gateway, as NAME=VALUE; may be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) gateway_env: Vec<(String, String)>,
    /// Also writes the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Ends after so many seconds, whatever is left to do.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    time_max: u64,
}

impl BenchOptions {
    pub(crate) fn time_max(&self) -> Duration {
        Duration::from_secs(self.time_max)
    }

    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        if let (Some(clients), Some(rooms)) = (self.clients, self.rooms) {
            return vec![Scenario { name: format!("{clients} in {rooms}"), clients, rooms: rooms.min(clients) }];
        }
        let all = [Named::Fanout1000, Named::Fanout5000, Named::Rooms500];
        let chosen = if self.scenario.is_empty() { &all[..] } else { &self.scenario[..] };
        chosen.iter().map(|named| scenario(*named)).collect()
    }
}

fn scenario(named: Named) -> Scenario {
    let (name, clients, rooms) = match named {
        Named::Fanout1000 => ("1,000 in one room", 1000, 1),
        Named::Fanout5000 => ("5,000 in one room", 5000, 1),
        Named::Rooms500 => ("5,000 in 500 rooms", 5000, 500),
    };
    Scenario { name: name.into(), clients, rooms }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenarios(arguments: &[&str]) -> Option<Vec<(u32, u32)>> {
        let words = ["loadtest", "bench"].iter().chain(arguments);
        let Command::Bench(options) = Options::try_parse_from(words).ok()?.command;
        Some(options.scenarios().iter().map(|scenario| (scenario.clients, scenario.rooms)).collect())
    }

    #[test]
    fn which_scenarios_run() {
        for (arguments, expected) in [
            (&[][..], Some(vec![(1000, 1), (5000, 1), (5000, 500)])),
            (&["--scenario", "rooms500"], Some(vec![(5000, 500)])),
            (&["--clients", "20", "--rooms", "4"], Some(vec![(20, 4)])),
            (&["--clients", "2", "--rooms", "4"], Some(vec![(2, 2)])),
            (&["--clients", "20"], None),
            (&["--clients", "0", "--rooms", "1"], None),
            (&["--env", "WEFT_BUS"], None),
        ] {
            assert_eq!(scenarios(arguments), expected, "{arguments:?}");
        }
    }
}
