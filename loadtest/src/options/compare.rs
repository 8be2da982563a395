//! `loadtest compare`.

use super::load::{GatewayOptions, Load, PATIENCE_SECS, REST_MS, ServerOptions};
use crate::{client::speech::Speech, error::Failure, peers::Peer, scenario::Scenario, servers::broker::BusChoice};
use clap::Args;
use std::{path::PathBuf, time::Duration};

#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    #[command(flatten)]
    gateway: GatewayOptions,
    /// How Weft's clients talk; may be repeated. Each way has a gateway and clients of its own.
    #[arg(long, value_enum, default_values_t = [Speech::Json, Speech::D, Speech::Sse])]
    pub(crate) protocol: Vec<Speech>,
    /// With what; may be repeated. All but Centrifugo by default, which needs --centrifugo.
    #[arg(long, value_enum)]
    peer: Vec<Peer>,
    /// Centrifugo's program (version 6).
    #[arg(long, value_name = "PATH")]
    pub(crate) centrifugo: Option<PathBuf>,
    /// Where the peers' scripts are: loadtest/peers of this repository.
    #[arg(long, value_name = "PATH")]
    pub(crate) peers_directory: Option<PathBuf>,
    /// Clients of each, in one room.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=19_000))]
    clients: u32,
    /// Deliveries to measure in each run of each, about.
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    deliveries: u64,
    /// Events of a burst.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    burst: u32,
    /// Bytes of an event.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(160..=900_000))]
    event_bytes: u32,
    /// How often all take their turn.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) runs: u32,
    /// Weft's bus: memory, nats, nats-core, redis, redis-pubsub, or a URL as in `WEFT_BUS`.
    #[arg(long, default_value = "nats")]
    bus: BusChoice,
    /// Milliseconds in which memory comes to rest before it is weighed.
    #[arg(long, default_value_t = REST_MS, value_name = "MS")]
    rest: u64,
    /// Seconds until what has not come is late, or lost.
    #[arg(long, default_value_t = PATIENCE_SECS, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// Also writes the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also writes a report with plots.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Also writes each plot as an SVG file into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) plots: Option<PathBuf>,
    /// Ends after so many seconds, whatever is left to do.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    time_max: u64,
}

impl CompareOptions {
    pub(crate) fn time_max(&self) -> Duration {
        Duration::from_secs(self.time_max)
    }

    pub(crate) fn peers(&self) -> Result<Vec<Peer>, Failure> {
        if self.peer.contains(&Peer::Centrifugo) && self.centrifugo.is_none() {
            return Err(Failure::Options("Centrifugo needs --centrifugo PATH".into()));
        }
        if !self.peer.is_empty() {
            return Ok(self.peer.clone());
        }
        Ok(Peer::USUAL.into_iter().chain(self.centrifugo.is_some().then_some(Peer::Centrifugo)).collect())
    }

    /// What Weft is loaded with, and so everybody.
    pub(crate) fn load(&self) -> Load {
        Load {
            name: "Weft".into(),
            scenario: Scenario::Fanout,
            clients: self.clients,
            rooms: 1,
            rooms_each: 1,
            rate: 0.0,
            burst: self.burst,
            event_bytes: self.event_bytes,
            gateways: 1,
            bus: self.bus.clone(),
            duration: Duration::ZERO,
            deliveries: self.deliveries,
            runs: self.runs,
            speech: Speech::Json,
            deflate: false,
            all_rooms: false,
            token_key: None,
            rest: Duration::from_millis(self.rest),
            patience: Duration::from_secs(self.patience),
            server: ServerOptions { gateway: self.gateway.clone(), ..ServerOptions::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Options};
    use super::*;
    use clap::Parser as _;

    #[test]
    fn with_whom_one_compares() {
        for (arguments, expected) in [
            (&[][..], Some(Peer::USUAL.to_vec())),
            (&["--peer", "ws", "--peer", "socket-io"], Some(vec![Peer::Ws, Peer::SocketIo])),
            (&["--peer", "centrifugo"], None),
            (&["--peer", "centrifugo", "--centrifugo", "/c"], Some(vec![Peer::Centrifugo])),
        ] {
            let words = ["loadtest", "compare"].iter().chain(arguments);
            let Command::Compare(options) = Options::try_parse_from(words).expect("parsed").command else { panic!("another") };
            assert_eq!(options.peers().ok(), expected, "{arguments:?}");
        }
    }
}
