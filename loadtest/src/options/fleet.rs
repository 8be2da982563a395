//! `loadtest fleet`.

use super::load::{GatewayOptions, Load, REST_MS, ServerOptions};
use crate::{client::speech::Speech, scenario::Scenario, servers::broker::BusChoice};
use clap::Args;
use std::{path::PathBuf, time::Duration};

/// Below the descriptors of a process, 20,000 on many machines.
const CONNECTIONS_A_GATEWAY: u32 = 19_500;
/// An answer to a ping may be late where so many are on the way.
const PONG_SECS: u64 = 90;

#[derive(Debug, Args)]
pub(crate) struct FleetOptions {
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Connections, all told.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    connections: u32,
    /// Gateways; as many as 19,500 connections each require by default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    gateways: Option<u32>,
    /// Rooms; each connection follows one.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    rooms: u32,
    /// The bus: nats, nats-core, redis, redis-pubsub (started for the run), or a URL as in `WEFT_BUS`.
    #[arg(long, default_value = "nats")]
    bus: BusChoice,
    /// Bytes of the event that everybody gets.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(160..=900_000))]
    event_bytes: u32,
    /// Seconds between the pings of a connection.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=3600))]
    ping: u64,
    /// Seconds in which all connections are held, so that pings go round.
    #[arg(long, default_value_t = 110)]
    hold: u64,
    /// Seconds until an event that has not come is lost, counted from the last that came.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// Tries how far it gets even where the machine seems too small.
    #[arg(long)]
    pub(crate) regardless: bool,
    /// Also writes the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also writes a report with plots.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Ends after so many seconds, whatever is left to do.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    time_max: u64,
}

impl FleetOptions {
    pub(crate) fn time_max(&self) -> Duration {
        Duration::from_secs(self.time_max)
    }

    pub(crate) fn hold(&self) -> Duration {
        Duration::from_secs(self.hold)
    }

    /// What the fleet is loaded with.
    pub(crate) fn load(&self) -> Load {
        let mut gateway = self.gateway.clone();
        let own = [("WEFT_PING_SECS", self.ping), ("WEFT_PONG_SECS", PONG_SECS.min(self.ping))];
        // What the command line says comes after, and counts.
        gateway.env.splice(0..0, own.map(|(name, seconds)| (name.to_owned(), seconds.to_string())));
        Load {
            name: "fleet".into(),
            scenario: Scenario::Idle,
            clients: self.connections,
            rooms: self.rooms.min(self.connections),
            rooms_each: 1,
            rate: 0.0,
            burst: 1,
            event_bytes: self.event_bytes,
            gateways: self.gateways.unwrap_or(self.connections.div_ceil(CONNECTIONS_A_GATEWAY)),
            bus: self.bus.clone(),
            duration: Duration::ZERO,
            deliveries: 0,
            runs: 1,
            speech: Speech::Json,
            deflate: false,
            all_rooms: false,
            token_key: None,
            rest: Duration::from_millis(REST_MS),
            patience: Duration::from_secs(self.patience),
            server: ServerOptions { gateway, ..ServerOptions::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Options};
    use super::*;
    use clap::Parser as _;

    #[test]
    fn gateways_follow_from_connections() {
        for (arguments, gateways, rooms) in [
            (&["--connections", "1000000"][..], 52, 1000),
            (&["--connections", "20000", "--gateways", "5"], 5, 1000),
            (&["--connections", "10"], 1, 10),
        ] {
            let words = ["loadtest", "fleet"].iter().chain(arguments);
            let Command::Fleet(options) = Options::try_parse_from(words).expect("parsed").command else { panic!("another") };
            let load = options.load();
            assert_eq!((load.gateways, load.rooms), (gateways, rooms), "{arguments:?}");
            assert!(load.clients_a_gateway() <= CONNECTIONS_A_GATEWAY);
        }
    }
}
