//! `loadtest fleet`: as many connections as one machine takes, over many gateways on one broker.
//!
//! Gateways and client processes each hold as many connections as descriptors allow; clients connect from many
//! addresses of loopback, because ports are counted for each. The fleet comes up gateway by gateway. If something stops
//! it, what has come up is measured, and what stopped it is told.

mod machine;

use crate::{
    client::{connection::ADDRESSES_A_PROCESS, mark::Mark},
    clock,
    error::Failure,
    options::{fleet::FleetOptions, load::Load},
    publish::event::{Event, Kind},
    report::{
        fleet::{FleetOutcome, Step},
        outcome::Quantiles,
        say,
    },
    scenario::{
        stage::{Stage, shape},
        verdict::{self, Span},
    },
    servers::process::{Process, cpu_time, memory},
    swarm::{
        host::{Swarms, clients_a_process},
        order::Follow,
    },
};
use machine::{Limits, MachineMemory, RESERVE_BYTES};
use std::time::{Duration, Instant};

/// When so long nothing has changed, nothing will.
const STALL: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);
/// Events a second while everybody gets one.
const ROOMS_A_SECOND: f64 = 100.0;

struct Fleet {
    load: Load,
    stage: Stage,
    swarms: Swarms,
    before: MachineMemory,
    /// Of all gateways, without clients.
    empty: u64,
    began: Instant,
    steps: Vec<Step>,
}

/// Brings the fleet up, has everybody get an event, and tells what it took.
pub(crate) async fn run(options: &FleetOptions) -> Result<FleetOutcome, Failure> {
    let load = options.load();
    check(&load, options.regardless)?;
    let mut fleet = Fleet::start(load).await?;
    let mut outcome = fleet.raise_all().await?;
    fleet.hold(&mut outcome, options.hold()).await?;
    fleet.tell_everybody(&mut outcome).await?;
    outcome.steps = fleet.steps;
    Ok(outcome)
}

/// Refuses what cannot be, unless it shall be tried all the same.
fn check(load: &Load, regardless: bool) -> Result<(), Failure> {
    let a_process = load.clients.min(clients_a_process());
    let objections = Limits::now().objections(load.clients, load.clients_a_gateway(), a_process.div_ceil(ADDRESSES_A_PROCESS));
    for objection in &objections {
        say::note(objection);
    }
    if objections.is_empty() || regardless {
        return Ok(());
    }
    Err(Failure::Options(format!("{}; --regardless tries how far it gets", objections.join("; "))))
}

impl Fleet {
    /// Gateways and client processes, none of them connected.
    async fn start(load: Load) -> Result<Self, Failure> {
        say::progress(&format!("fleet: starting {} gateways on {}", load.gateways, load.bus.word()));
        let before = MachineMemory::now();
        let stage = Stage::up(&load).await?;
        let swarms = Swarms::start(&stage.swarm_plan(&load, 0)).await?;
        tokio::time::sleep(load.rest).await;
        let empty = memory(&stage.processes())?.anonymous;
        Ok(Self { load, stage, swarms, before, empty, began: Instant::now(), steps: Vec::new() })
    }

    /// Connects everybody, gateway by gateway, as far as it goes.
    async fn raise_all(&mut self) -> Result<FleetOutcome, Failure> {
        let (mut connected, mut stopped) = (0, None);
        let cpu = cpu_time(&self.stage.processes())?;
        for server in 0..self.load.gateways {
            stopped = self.raise(server).await?;
            if stopped.is_some() {
                break;
            }
            connected = self.part(server + 1);
        }
        let (took, used) = (self.began.elapsed().as_secs_f64(), cpu_time(&self.stage.processes())?.saturating_sub(cpu));
        Ok(FleetOutcome {
            wanted: self.load.clients.into(),
            gateways: self.load.gateways.into(),
            rooms: self.load.rooms.into(),
            event_bytes: self.load.event_bytes.into(),
            client_processes: self.swarms.pids().len() as u64,
            connected: connected.into(),
            connect_seconds: took,
            connects_per_second: f64::from(connected) / took,
            cpu_us_per_connect: used.as_secs_f64() * 1e6 / f64::from(connected.max(1)),
            stopped,
            ..FleetOutcome::default()
        })
    }

    /// Where the clients of a gateway begin.
    fn part(&self, server: u32) -> u32 {
        // Never more than the clients.
        (u64::from(self.load.clients) * u64::from(server) / u64::from(self.load.gateways)) as u32
    }

    /// Connects one gateway's clients and has them follow; what stopped it, if something did.
    async fn raise(&mut self, server: u32) -> Result<Option<String>, Failure> {
        let (from, to) = (self.part(server), self.part(server + 1));
        self.swarms.connect(from, to, server, Follow::Now).await?;
        let stopped = self.follow_to(u64::from(to) * u64::from(self.load.rooms_each)).await?;
        let step = self.step().await?;
        say::line(&format!(
            "fleet: {:>8} of {} connections  {:>6.0}/s  {:>5} B of gateways' memory each  {:>5} B in the kernel, both ends  {:>6} MB left",
            step.connections,
            self.load.clients,
            step.connections as f64 / step.seconds,
            step.gateways_bytes.saturating_sub(self.empty) / step.connections.max(1),
            (step.kernel_bytes) / step.connections.max(1),
            step.available_bytes >> 20,
        ));
        self.steps.push(step);
        Ok(stopped)
    }

    async fn follow_to(&self, subscribed: u64) -> Result<Option<String>, Failure> {
        let (mut last, mut changed) = (0, Instant::now());
        loop {
            let counts = self.swarms.counts().await?;
            if counts.ended > 0 {
                return Ok(Some(format!("{} connections ended: {}", counts.ended, counts.remarks.join("; "))));
            }
            if counts.errors > 0 {
                return Ok(Some(format!("{} errors were told: {}", counts.errors, counts.remarks.join("; "))));
            }
            if counts.subscribed >= subscribed {
                return Ok(None);
            }
            let available = MachineMemory::now().available;
            if available < RESERVE_BYTES {
                return Ok(Some(format!("only {} MB of memory were left", available >> 20)));
            }
            let now = counts.connected + counts.subscribed;
            if now > last {
                (last, changed) = (now, Instant::now());
            } else if changed.elapsed() > STALL {
                return Ok(Some(format!("nobody could connect or follow for {} s", STALL.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How things stand.
    async fn step(&self) -> Result<Step, Failure> {
        let (machine, counts) = (MachineMemory::now(), self.swarms.counts().await?);
        let gateways = memory(&self.stage.processes())?;
        let clients: Vec<Process> = self.swarms.pids().into_iter().map(Process).collect();
        let grown = |now: u64, before: u64| now.saturating_sub(before);
        Ok(Step {
            seconds: self.began.elapsed().as_secs_f64(),
            connections: counts.open,
            gateways_bytes: gateways.anonymous,
            gateways_resident_bytes: gateways.resident,
            clients_bytes: memory(&clients)?.anonymous,
            kernel_bytes: grown(machine.kernel_objects, self.before.kernel_objects),
            socket_buffer_bytes: grown(machine.socket_buffers, self.before.socket_buffers),
            available_bytes: machine.available,
        })
    }

    /// Lets pings go round.
    async fn hold(&mut self, outcome: &mut FleetOutcome, hold: Duration) -> Result<(), Failure> {
        say::progress(&format!("fleet: holding {} connections for {} s", outcome.connected, hold.as_secs()));
        let (processes, began) = (self.stage.processes(), Instant::now());
        let cpu = cpu_time(&processes)?;
        tokio::time::sleep(hold.max(self.load.rest)).await;
        let used = cpu_time(&processes)?.saturating_sub(cpu);
        outcome.idle_processors = used.as_secs_f64() / began.elapsed().as_secs_f64();
        let step = self.step().await?;
        outcome.held = step.connections;
        outcome.gateways_empty_bytes = self.empty;
        outcome.idle = step.clone();
        self.steps.push(step);
        Ok(())
    }

    /// One event in each room, and so one to each client for each of its rooms.
    async fn tell_everybody(&mut self, outcome: &mut FleetOutcome) -> Result<(), Failure> {
        say::progress(&format!("fleet: an event to each of {} connections", outcome.held));
        let mut publish = self.stage.publish(&self.load, shape(&self.load)).await?;
        let processes = self.stage.processes();
        let (from_us, began, cpu) = (clock::now_us(), Instant::now(), cpu_time(&processes)?);
        for room in 0..self.load.rooms {
            let due = Duration::from_secs_f64(f64::from(room) / ROOMS_A_SECOND);
            tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
            let mark = Mark { room, counter: 0, due_us: clock::now_us() };
            publish.send(&[Event { kind: Kind::Log, mark }]).await?;
        }
        publish.flush().await?;
        let missing = self.swarms.settle_open(&[1], self.load.patience).await?;
        outcome.deliver_seconds = began.elapsed().as_secs_f64();
        let counts = self.swarms.counts().await?;
        let used = cpu_time(&processes)?.saturating_sub(cpu);
        outcome.cpu_us_per_delivery = used.as_secs_f64() * 1e6 / counts.delivered.max(1) as f64;
        outcome.delivered = counts.delivered;
        outcome.lost = missing.events;
        (outcome.duplicated, outcome.misordered, outcome.gaps) = (counts.duplicated, counts.misordered, counts.gaps);
        (outcome.errors, outcome.connections_ended) = (counts.errors, counts.ended);
        outcome.remarks = counts.remarks.into_iter().chain(missing.example).collect();
        let step = self.step().await?;
        outcome.loaded = step.clone();
        self.steps.push(step);
        // The last tick tells of the last half second.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let span = Span { from_us, to_us: clock::now_us() };
        outcome.latency = Quantiles::of(&verdict::latency(&self.swarms.heard.lock().latency, &span));
        Ok(())
    }
}
