//! `loadtest bench`.

use super::load::{GatewayOptions, Load, PATIENCE_SECS, REST_MS, ServerOptions};
use crate::{client::speech::Speech, scenario::Scenario, servers::broker::BusChoice};
use clap::{Args, ValueEnum};
use std::{path::PathBuf, time::Duration};

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
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Which scenario; may be repeated. All of them by default.
    #[arg(long, value_enum)]
    scenario: Vec<Named>,
    /// A scenario of your own: this many clients …
    #[arg(long, requires = "rooms", conflicts_with = "scenario", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    clients: Option<u32>,
    /// … in this many rooms.
    #[arg(long, requires = "clients", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    rooms: Option<u32>,
    /// Deliveries to measure in each scenario, about.
    #[arg(long, default_value_t = 300_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    deliveries: u64,
    /// Events published to each room at once; the next ones follow when all clients have got these.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    burst: u32,
    /// Bytes of an event, about.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(160..=900_000))]
    event_bytes: u32,
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

    pub(crate) fn loads(&self) -> Vec<Load> {
        if let (Some(clients), Some(rooms)) = (self.clients, self.rooms) {
            return vec![self.load(format!("{clients} in {rooms}"), clients, rooms.min(clients))];
        }
        let all = [Named::Fanout1000, Named::Fanout5000, Named::Rooms500];
        let chosen = if self.scenario.is_empty() { &all[..] } else { &self.scenario[..] };
        let load = |named: &Named| match named {
            Named::Fanout1000 => self.load("1,000 in one room".into(), 1000, 1),
            Named::Fanout5000 => self.load("5,000 in one room".into(), 5000, 1),
            Named::Rooms500 => self.load("5,000 in 500 rooms".into(), 5000, 500),
        };
        chosen.iter().map(load).collect()
    }

    fn load(&self, name: String, clients: u32, rooms: u32) -> Load {
        let server = ServerOptions { gateway: self.gateway.clone(), ..ServerOptions::default() };
        Load {
            name,
            scenario: if rooms == 1 { Scenario::Fanout } else { Scenario::Rooms },
            clients,
            rooms,
            rooms_each: 1,
            rate: 0.0,
            burst: self.burst,
            event_bytes: self.event_bytes,
            gateways: 1,
            bus: BusChoice::Memory,
            duration: Duration::ZERO,
            deliveries: self.deliveries,
            runs: 1,
            speech: Speech::Json,
            deflate: false,
            all_rooms: false,
            token_key: None,
            rest: Duration::from_millis(REST_MS),
            patience: Duration::from_secs(PATIENCE_SECS),
            server,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Options};
    use clap::Parser as _;

    fn loads(arguments: &[&str]) -> Option<Vec<(u32, u32)>> {
        let words = ["loadtest", "bench"].iter().chain(arguments);
        let Command::Bench(options) = Options::try_parse_from(words).ok()?.command else { return None };
        Some(options.loads().iter().map(|load| (load.clients, load.rooms)).collect())
    }

    #[test]
    fn which_loads_run() {
        for (arguments, expected) in [
            (&[][..], Some(vec![(1000, 1), (5000, 1), (5000, 500)])),
            (&["--scenario", "rooms500"], Some(vec![(5000, 500)])),
            (&["--clients", "20", "--rooms", "4"], Some(vec![(20, 4)])),
            (&["--clients", "2", "--rooms", "4"], Some(vec![(2, 2)])),
            (&["--clients", "20"], None),
            (&["--clients", "0", "--rooms", "1"], None),
            (&["--env", "WEFT_BUS"], None),
        ] {
            assert_eq!(loads(arguments), expected, "{arguments:?}");
        }
    }
}
