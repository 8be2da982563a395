//! `loadtest compare`: Weft and what one would use instead, in one run: all servers are up with all their clients
//! connected, and take turns, event by event and in bursts, with the bare loop among them.

use crate::{
    client::speech::Speech,
    error::Failure,
    options::{compare::CompareOptions, load::Load},
    peers::{Kept, Peer, PeerPlan, Running, centrifugo, install, nats, nchan, node},
    report::{
        comparison::{Comparison, Cost, Standing},
        outcome::median,
        say,
    },
    scenario::{
        contender::{Connected, Contender, Run, WARM_UP_ROUNDS, Weighed},
        rounds::{self, at},
        stage::Stage,
    },
    servers::{broker::BusChoice, process::check_descriptors},
};
use std::time::Duration;

/// Source addresses of each one's clients are its own.
const PROCESSES_EACH: u32 = 100;
const PEERS_PROCESS_BASE: u32 = 1000;

/// Everything that is compared, and what keeps it alive.
struct Field {
    floor: Contender,
    entrants: Vec<Entrant>,
    stages: Vec<Stage>,
    _kept: Vec<Kept>,
}

struct Entrant {
    contender: Contender,
    version: String,
    ours: bool,
    connected: Connected,
    single: Vec<Run>,
    bursts: Vec<Run>,
}

/// Measures all of them.
pub(crate) async fn run(options: &CompareOptions) -> Result<Comparison, Failure> {
    let load = options.load();
    check_descriptors("a server", load.clients)?;
    let mut field = assemble(options, &load).await?;
    let (mut floors, rounds) = (Vec::new(), options.runs);
    for number in 0..rounds {
        floors.push(field.floor.run(load.deliveries, 1).await?);
        for entrant in &mut field.entrants {
            let run = entrant.contender.run(load.deliveries, 1).await?;
            say::run(&entrant.contender.name, number, rounds, &run, floors.last());
            entrant.single.push(run);
        }
        for entrant in &mut field.entrants {
            let run = entrant.contender.run(load.deliveries, load.burst).await?;
            say::run(&format!("{} in bursts", entrant.contender.name), number, rounds, &run, floors.last());
            entrant.bursts.push(run);
        }
    }
    let mut comparison = Comparison {
        clients: load.clients.into(),
        event_bytes: load.event_bytes.into(),
        burst: load.burst.into(),
        runs: rounds.into(),
        bus: load.bus.word().into(),
        floor_us_per_delivery: median(floors.iter().map(Run::cpu_us_per_delivery).collect()).unwrap_or(0.0),
        standings: Vec::new(),
    };
    for entrant in field.entrants {
        comparison.standings.push(standing(entrant, &floors, load.patience).await?);
    }
    Ok(comparison)
}

async fn assemble(options: &CompareOptions, load: &Load) -> Result<Field, Failure> {
    let mut floor = rounds::floor(load).await?.ok_or_else(|| Failure::Options("no descriptors left for the floor".into()))?;
    say::progress(&format!("the floor: {} bare sockets", floor.clients));
    floor.connect(1, Duration::ZERO).await?;
    floor.rounds(WARM_UP_ROUNDS, 1).await?;
    let mut field = Field { floor, entrants: Vec::new(), stages: Vec::new(), _kept: Vec::new() };
    for (at, speech) in options.protocol.iter().enumerate() {
        field.enter_ours(*speech, at as u32 * PROCESSES_EACH, load).await?;
    }
    for (at, peer) in options.peers()?.into_iter().enumerate() {
        let process_base = PEERS_PROCESS_BASE + at as u32 * PROCESSES_EACH;
        let plan = PeerPlan {
            clients: load.clients,
            rooms: load.rooms,
            event_bytes: load.event_bytes,
            process_base,
            patience: load.patience,
        };
        let running = start(peer, options, &plan).await?;
        let version = running.version.clone();
        let (contender, kept) = running.contend(&plan).await?;
        field._kept.push(kept);
        field.enter(contender, version, load, false).await?;
    }
    Ok(field)
}

async fn start(peer: Peer, options: &CompareOptions, plan: &PeerPlan) -> Result<Running, Failure> {
    let directory = || install::peers_directory(options.peers_directory.as_deref());
    match peer {
        Peer::Ws | Peer::SocketIo => node::start(peer, &directory()?, plan).await,
        Peer::Nchan => nchan::start(&directory()?, plan).await,
        Peer::Nats => nats::start(plan).await,
        Peer::Centrifugo => {
            let program = options.centrifugo.as_deref();
            centrifugo::start(program.ok_or_else(|| Failure::Options("Centrifugo needs --centrifugo PATH".into()))?, plan).await
        }
    }
}

impl Field {
    /// A gateway of its own for each way to talk, on the broker of the first.
    async fn enter_ours(&mut self, speech: Speech, process_base: u32, load: &Load) -> Result<(), Failure> {
        let bus = match self.stages.first() {
            Some(first) if load.bus != BusChoice::Memory => BusChoice::Url(first.broker.url().into()),
            _ => load.bus.clone(),
        };
        let load = Load { name: our_name(speech).into(), speech, bus, ..load.clone() };
        let stage = Stage::up(&load).await?;
        let weft = rounds::weft(&load, &stage, process_base).await?;
        self.stages.push(stage);
        self.enter(weft, env!("CARGO_PKG_VERSION").into(), &load, true).await
    }

    async fn enter(&mut self, mut contender: Contender, version: String, load: &Load, ours: bool) -> Result<(), Failure> {
        say::progress(&format!("{} {version}: connecting {} clients", contender.name, contender.clients));
        let connected = contender.connect(1, load.rest).await?;
        contender.rounds(WARM_UP_ROUNDS, 1).await?;
        self.entrants.push(Entrant { contender, version, ours, connected, single: Vec::new(), bursts: Vec::new() });
        Ok(())
    }
}

fn our_name(speech: Speech) -> &'static str {
    match speech {
        Speech::Msgpack => "Weft, MessagePack",
        Speech::A => "Weft, Socket.IO (A)",
        Speech::D => "Weft, Socket.IO (D)",
        Speech::Sse => "Weft, SSE",
        _ => "Weft",
    }
}

async fn standing(entrant: Entrant, floors: &[Run], patience: Duration) -> Result<Standing, Failure> {
    let Entrant { contender, version, ours, connected, single, bursts } = entrant;
    let missing = contender.swarms.settle(&[contender.counter], patience).await?;
    let counts = contender.swarms.counts().await?;
    let processes = match &contender.weighed {
        Weighed::Floor(_) => 0,
        Weighed::Processes(processes) => processes.len() as u64,
    };
    Ok(Standing {
        name: contender.name,
        version,
        ours,
        processes,
        single: cost(&single, floors),
        bursts: cost(&bursts, floors),
        bytes_per_idle_connection: connected.following.resident,
        anonymous_bytes_per_idle_connection: connected.following.anonymous,
        connects_per_second: connected.per_second,
        cpu_us_per_connect: connected.cpu_us_with_subscribe,
        lost: missing.events,
        duplicated: counts.duplicated,
        misordered: counts.misordered,
        rounds_late: contender.rounds_late,
        connections_ended: counts.ended,
        remarks: counts.remarks.into_iter().chain(missing.example).collect(),
    })
}

fn cost(runs: &[Run], floors: &[Run]) -> Cost {
    let ratios = runs.iter().zip(floors).map(|(run, floor)| run.cpu_us_per_delivery() / floor.cpu_us_per_delivery());
    let mut rounds: Vec<Duration> = runs.iter().flat_map(|run| run.rounds.clone()).collect();
    rounds.sort_unstable();
    Cost {
        cpu_us_per_delivery: median(runs.iter().map(Run::cpu_us_per_delivery).collect()).unwrap_or(0.0),
        times_floor: median(ratios.collect()).unwrap_or(0.0),
        round_ms_median: at(&rounds, 0.5),
        round_ms_p99: at(&rounds, 0.99),
        runs_us_per_delivery: runs.iter().map(Run::cpu_us_per_delivery).collect(),
    }
}
