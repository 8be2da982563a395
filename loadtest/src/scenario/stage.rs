//! The servers of a run: a broker and gateways on it, or a server that runs already.

use crate::{
    client::token,
    error::Failure,
    options::load::Load,
    publish::{
        Publish,
        event::{EXECUTION, Shape},
        ingress::Ingress,
    },
    report::say,
    servers::{
        broker::{Broker, BusChoice},
        fleet_key::FleetKey,
        gateway::{Gateway, GatewayPlan},
        process::{Process, check_descriptors},
        sampler::{Group, Sampler},
    },
    swarm::{
        host::{SwarmPlan, Swarms},
        order::Rooms,
    },
};
use std::net::SocketAddr;

pub(crate) struct Stage {
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) broker: Broker,
    addresses: Vec<SocketAddr>,
    against: Vec<Process>,
    _fleet_key: Option<FleetKey>,
}

impl Stage {
    pub(crate) async fn up(load: &Load) -> Result<Self, Failure> {
        if let Some(address) = load.server.against {
            let broker = Broker::start(&BusChoice::Memory).await?;
            let against = load.server.pid.into_iter().map(Process).collect();
            return Ok(Self { gateways: Vec::new(), broker, addresses: vec![address], against, _fleet_key: None });
        }
        check_descriptors(&load.name, load.clients_a_gateway())?;
        let broker = Broker::start(&load.bus).await?;
        // Without one no session of Socket.IO is recovered on another gateway.
        let fleet_key = if load.speech.is_socket_io() { Some(FleetKey::new()?) } else { None };
        let env = settings(load, fleet_key.as_ref());
        let plan = GatewayPlan { path: load.server.gateway.path.clone(), bus: broker.url().into(), env };
        let mut gateways = Vec::new();
        for _ in 0..load.gateways {
            gateways.push(Gateway::start(&plan).await?);
        }
        let addresses = gateways.iter().map(|gateway| gateway.address).collect();
        Ok(Self { gateways, broker, addresses, against: Vec::new(), _fleet_key: fleet_key })
    }

    /// The processes of all gateways.
    pub(crate) fn processes(&self) -> Vec<Process> {
        if self.gateways.is_empty() { self.against.clone() } else { self.gateways.iter().map(Gateway::process).collect() }
    }

    /// The way in that belongs to the bus: its broker, or the first gateway's ingress.
    pub(crate) async fn publish(&self, load: &Load, shape: Shape) -> Result<Publish, Failure> {
        if self.broker.url() != "memory:" {
            return Publish::over_bus(self.broker.url(), shape, load.all_rooms).await;
        }
        let token = load.token_key.as_deref().map(token::sign_publisher);
        Ok(Publish::Ingress(Ingress::new(self.addresses[0], shape, token)?))
    }

    /// The addresses that a swarm's clients come from are its own if its base is.
    pub(crate) fn swarm_plan(&self, load: &Load, process_base: u32) -> SwarmPlan {
        SwarmPlan {
            clients: load.clients,
            speech: load.speech,
            servers: self.addresses.clone(),
            rooms: rooms(load),
            deflate: load.deflate,
            token_key: load.token_key.clone(),
            come_back: None,
            slow: None,
            process_base,
        }
    }

    pub(crate) fn sampler(&self, swarms: &Swarms) -> Sampler {
        Sampler::start(vec![
            (Group::Gateways, self.processes()),
            (Group::Broker, self.broker.process().into_iter().collect()),
            (Group::Clients, swarms.pids().into_iter().map(Process).collect()),
            (Group::Publisher, vec![Process(std::process::id())]),
        ])
    }

    /// The sum of a metric over all gateways that run; `None` where a server that runs already is loaded.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let mut sum = None;
        for gateway in &self.gateways {
            match gateway.metric(name).await {
                Ok(value) => sum = Some(sum.unwrap_or(0.0) + value),
                Err(failure) => say::note(&format!("{name} of a gateway could not be read: {failure}")),
            }
        }
        sum
    }

    /// The failure, with what a gateway wrote last where that may explain it.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match (failure, self.gateways.first()) {
            (Failure::Publish(why), Some(gateway)) => {
                Failure::Publish(format!("{why}; the end of the first gateway's log:\n{}", gateway.log_tail()))
            }
            (failure, _) => failure,
        }
    }
}

/// Of gateways that are started; what the command line says comes last, and so counts.
fn settings(load: &Load, fleet_key: Option<&FleetKey>) -> Vec<(String, String)> {
    let token_key = load.token_key.as_ref();
    let tokens = token_key.map(|key| [("WEFT_AUTH".into(), "jwt".into()), ("WEFT_JWT_SECRET".into(), key.clone())]);
    let own = tokens.into_iter().flatten().chain(fleet_key.map(FleetKey::setting));
    own.chain(load.server.gateway.env.clone()).collect()
}

/// Others for each way to talk: gateways of a comparison share a broker.
pub(crate) fn rooms(load: &Load) -> Rooms {
    Rooms { prefix: format!("{EXECUTION}load-{}-", load.speech.word()), count: load.rooms, each: load.rooms_each }
}

pub(crate) fn shape(load: &Load) -> Shape {
    Shape { rooms: rooms(load), bytes: load.event_bytes, owner: load.all_rooms }
}
