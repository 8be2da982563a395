//! `loadtest run`: what is loaded, and with what.

use super::name_and_value;
use crate::{client::speech::Speech, error::Failure, scenario::Scenario, servers::broker::BusChoice};
use clap::Args;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// jemalloc gives memory back within a second or two.
pub(crate) const REST_MS: u64 = 2000;

/// A round of deliveries takes milliseconds.
pub(crate) const PATIENCE_SECS: u64 = 5;

/// How gateways are started.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GatewayOptions {
    /// The gateway to run; the one beside this program by default.
    #[arg(long = "gateway", value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
    /// A setting of the gateways, as NAME=VALUE; may be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) env: Vec<(String, String)>,
}

/// What is loaded.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServerOptions {
    #[command(flatten)]
    pub(crate) gateway: GatewayOptions,
    /// Loads a server that runs already instead of starting one, publishing through its ingress …
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) against: Option<SocketAddr>,
    /// … and weighs this process of it.
    #[arg(long, value_name = "PID", requires = "against")]
    pub(crate) pid: Option<u32>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    /// Which scenarios, one after the other.
    #[arg(required = true, value_enum)]
    pub(crate) scenario: Vec<Scenario>,
    #[command(flatten)]
    server: ServerOptions,
    /// Clients, all told.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: Option<u32>,
    /// Rooms, all told.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rooms: Option<u32>,
    /// Rooms that each client follows.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=128))]
    rooms_each: u32,
    /// Events published a second, over all rooms; 0 publishes the next when all clients have the last.
    #[arg(long, value_name = "EVENTS/S")]
    rate: Option<f64>,
    /// Events of one room that are published at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    burst: u32,
    /// Bytes of an event.
    #[arg(long, value_parser = clap::value_parser!(u32).range(160..=900_000))]
    event_bytes: Option<u32>,
    /// Gateways to start.
    #[arg(long, conflicts_with = "against", value_parser = clap::value_parser!(u32).range(1..=200))]
    gateways: Option<u32>,
    /// memory, nats, nats-core, redis, redis-pubsub (started for the run), or a URL as in `WEFT_BUS`.
    #[arg(long, conflicts_with = "against")]
    bus: Option<BusChoice>,
    /// Seconds to publish at a rate.
    #[arg(long, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: u64,
    /// Deliveries to measure in each run, about, where events are published one after the other.
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    deliveries: u64,
    /// Measures so many times, in turns with the floor, and reports medians.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// How clients talk: the native protocol in JSON or MessagePack, Socket.IO in the namespaces /executions (a) or / (d), or
    /// event streams.
    #[arg(long, value_enum, default_value_t = Speech::Json)]
    protocol: Speech,
    /// Clients offer compression.
    #[arg(long)]
    deflate: bool,
    /// Stores events in all rooms that they reach (of tokens: the execution's, its owner's, the agent's) as the library
    /// does, instead of in the execution's alone.
    #[arg(long)]
    all_rooms: bool,
    /// Signs each client a token (HS256) with this key, of 32 bytes at least, which gateways that are started then ask for.
    #[arg(long, value_name = "KEY")]
    token_key: Option<String>,
    /// Repeats a scenario that has a rate, each time at a quarter more, until events are lost or the 99th percentile of
    /// their latency passes this many milliseconds.
    #[arg(long, value_name = "MS", num_args = 0..=1, require_equals = true, default_missing_value = "1000")]
    pub(crate) climb: Option<f64>,
    /// Also writes the figures as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also writes a report with plots.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Also writes each plot as an SVG file into this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) plots: Option<PathBuf>,
    /// Milliseconds in which memory and timers come to rest before anything is weighed.
    #[arg(long, default_value_t = REST_MS, value_name = "MS")]
    rest: u64,
    /// Seconds until what has not come is late, or lost.
    #[arg(long, default_value_t = PATIENCE_SECS, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    patience: u64,
    /// Ends after so many seconds, whatever is left to do.
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    time_max: u64,
}

/// One scenario with all its figures settled.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) name: String,
    pub(crate) scenario: Scenario,
    pub(crate) clients: u32,
    pub(crate) rooms: u32,
    pub(crate) rooms_each: u32,
    pub(crate) rate: f64,
    pub(crate) burst: u32,
    pub(crate) event_bytes: u32,
    pub(crate) gateways: u32,
    pub(crate) bus: BusChoice,
    pub(crate) duration: Duration,
    pub(crate) deliveries: u64,
    pub(crate) runs: u32,
    pub(crate) speech: Speech,
    pub(crate) deflate: bool,
    pub(crate) all_rooms: bool,
    pub(crate) token_key: Option<String>,
    pub(crate) rest: Duration,
    pub(crate) patience: Duration,
    pub(crate) server: ServerOptions,
}

/// What a scenario is unless the command line says otherwise.
struct Usual {
    clients: u32,
    /// 0 for as many as clients.
    rooms: u32,
    /// Negative for so many for each room.
    rate: f64,
    event_bytes: u32,
    gateways: u32,
    bus: BusChoice,
}

fn usual(scenario: Scenario) -> Usual {
    let usual = |clients, rooms, rate, event_bytes, gateways, bus| Usual { clients, rooms, rate, event_bytes, gateways, bus };
    match scenario {
        Scenario::Idle => usual(5000, 500, 0.0, 16 * 1024, 1, BusChoice::Memory),
        Scenario::Fanout => usual(5000, 1, 0.0, 200, 1, BusChoice::Memory),
        Scenario::Rooms => usual(5000, 500, 1000.0, 300, 1, BusChoice::Nats),
        Scenario::Tokens => usual(500, 0, -50.0, 200, 1, BusChoice::Nats),
        Scenario::ResumeStorm => usual(19_000, 100, 100.0, 300, 2, BusChoice::Nats),
        Scenario::SlowReaders => usual(1000, 10, 300.0, 1000, 1, BusChoice::Nats),
        Scenario::Mixed => usual(1000, 250, 0.0, 300, 2, BusChoice::Nats),
    }
}

impl RunOptions {
    pub(crate) fn time_max(&self) -> Duration {
        Duration::from_secs(self.time_max)
    }

    pub(crate) fn loads(&self) -> Result<Vec<Load>, Failure> {
        let loads = self.scenario.iter().map(|scenario| self.load(*scenario)).collect::<Result<Vec<_>, _>>()?;
        match loads.iter().find(|load| load.rate == 0.0) {
            Some(load) if self.climb.is_some() => Err(Failure::Options(format!("{}: has no rate to climb from", load.name))),
            _ => Ok(loads),
        }
    }

    fn load(&self, scenario: Scenario) -> Result<Load, Failure> {
        let usual = usual(scenario);
        let clients = self.clients.unwrap_or(usual.clients);
        let rooms = self.rooms.unwrap_or(if usual.rooms == 0 { clients } else { usual.rooms.min(clients * self.rooms_each) });
        let rate = self.rate.unwrap_or(if usual.rate < 0.0 { -usual.rate * f64::from(rooms) } else { usual.rate });
        // A server that runs already is one, and its bus is not known.
        let (gateways, bus) = match self.server.against {
            Some(_) => (1, BusChoice::Memory),
            None => (self.gateways.unwrap_or(usual.gateways), self.bus.clone().unwrap_or(usual.bus)),
        };
        let load = Load {
            name: scenario.name().into(),
            scenario,
            clients,
            rooms,
            rooms_each: self.rooms_each.min(rooms),
            rate,
            burst: self.burst,
            event_bytes: self.event_bytes.unwrap_or(usual.event_bytes),
            gateways,
            bus,
            duration: Duration::from_secs(self.duration),
            deliveries: self.deliveries,
            runs: self.runs,
            speech: self.protocol,
            deflate: self.deflate,
            all_rooms: self.all_rooms,
            token_key: self.token_key.clone(),
            rest: Duration::from_millis(self.rest),
            patience: Duration::from_secs(self.patience),
            server: self.server.clone(),
        };
        load.check().map(|()| load)
    }
}

impl Load {
    fn check(&self) -> Result<(), Failure> {
        let refuse = |why: &str| Err(Failure::Options(format!("{}: {why}", self.name)));
        if !(self.rate.is_finite() && (0.0..=1e7).contains(&self.rate)) {
            return refuse("--rate must be between 0 and 10,000,000");
        }
        if self.bus == BusChoice::Memory && self.gateways > 1 {
            return refuse("the bus in memory has one gateway: name another --bus, or --gateways 1");
        }
        if self.scenario == Scenario::ResumeStorm && self.gateways < 2 {
            return refuse("needs --gateways 2 at least: one is killed");
        }
        if self.clients as u64 * u64::from(self.rooms_each) < u64::from(self.rooms) {
            return refuse("has rooms that nobody follows: fewer --rooms, or more --clients or --rooms-each");
        }
        if self.rate == 0.0 && matches!(self.scenario, Scenario::Tokens | Scenario::ResumeStorm | Scenario::SlowReaders) {
            return refuse("needs a --rate");
        }
        self.unspoken().map_or(Ok(()), refuse)
    }

    /// Why clients that talk so cannot do this.
    fn unspoken(&self) -> Option<&'static str> {
        // A session of more rooms is not recovered.
        const RECOVERED_ROOMS_MAX: u32 = 32;
        match (self.speech, self.scenario) {
            (Speech::Sse, _) if self.rooms_each > 1 => Some("an event stream is of one room: --rooms-each 1"),
            (Speech::Sse, _) if self.deflate => Some("event streams are not compressed: without --deflate"),
            (Speech::A, Scenario::Tokens) => Some("clients of a hear no tokens: another --protocol"),
            (Speech::A | Speech::D, Scenario::Mixed) => {
                Some("who comes late to Socket.IO is told the state, not the events: another --protocol")
            }
            (Speech::A | Speech::D, Scenario::ResumeStorm) if self.rooms_each > RECOVERED_ROOMS_MAX => {
                Some("a session of more than 32 rooms is not recovered: fewer --rooms-each")
            }
            _ => None,
        }
    }

    /// Of these clients one gateway holds at most so many.
    pub(crate) fn clients_a_gateway(&self) -> u32 {
        self.clients.div_ceil(self.gateways)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Command, Options};
    use super::*;
    use clap::Parser as _;

    fn load(arguments: &str) -> Result<Load, String> {
        let words = ["loadtest", "run"].into_iter().chain(arguments.split(' '));
        let options = Options::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Run(options) = options.command else { return Err("another command".into()) };
        let mut loads = options.loads().map_err(|failure| failure.to_string())?;
        loads.pop().ok_or_else(|| "no load".into())
    }

    #[test]
    fn scenarios_have_usual_figures() {
        for (arguments, clients, rooms, rate, bus) in [
            ("fanout", 5000, 1, 0.0, BusChoice::Memory),
            ("tokens", 500, 500, 25_000.0, BusChoice::Nats),
            ("tokens --clients 20", 20, 20, 1000.0, BusChoice::Nats),
            ("rooms --clients 100 --bus redis", 100, 100, 1000.0, BusChoice::Redis),
            ("idle --clients 10 --rooms-each 64", 10, 500, 0.0, BusChoice::Memory),
            ("rooms --against 127.0.0.1:1", 5000, 500, 1000.0, BusChoice::Memory),
        ] {
            let load = load(arguments).expect(arguments);
            assert_eq!((load.clients, load.rooms, load.rate, load.bus), (clients, rooms, rate, bus), "{arguments}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (arguments, why) in [
            ("resume-storm --gateways 1 --bus nats", "needs --gateways 2"),
            ("mixed --bus memory", "has one gateway"),
            ("rooms --clients 5 --rooms 9", "nobody follows"),
            ("tokens --rate 0", "needs a --rate"),
            ("fanout --climb", "no rate to climb"),
            ("rooms --rate nan", "--rate must be"),
            ("idle --pid 7", "--against"),
            ("mixed --against 127.0.0.1:1 --gateways 2", "cannot be used with"),
            ("resume-storm --against 127.0.0.1:1", "needs --gateways 2"),
            ("swim", "invalid value"),
            ("idle --protocol socket-io", "invalid value"),
            ("rooms --protocol sse --rooms-each 2", "of one room"),
            ("rooms --protocol sse --deflate", "not compressed"),
            ("tokens --protocol a", "hear no tokens"),
            ("mixed --protocol d", "the state"),
            ("resume-storm --protocol d --rooms-each 33", "not recovered"),
        ] {
            let error = load(arguments).expect_err(arguments);
            assert!(error.contains(why), "{arguments}: {error}");
        }
    }
}
