//! What one would use instead of Weft, each set up as its own documentation has it, with its own way in.
//!
//! Every peer becomes a [`Contender`] as Weft's gateway does: the same clients, the same events, weighed the same way.

pub(crate) mod centrifugo;
pub(crate) mod install;
pub(crate) mod nats;
pub(crate) mod nchan;
pub(crate) mod node;
pub(crate) mod way_in;
pub(crate) mod wire;

use crate::{
    client::speech::Speech,
    error::Failure,
    publish::{Publish, event::Shape},
    scenario::contender::{Contender, Weighed},
    servers::{child::ServerProcess, process::Process},
    swarm::{
        host::{SwarmPlan, Swarms},
        order::Rooms,
    },
};
use std::{net::SocketAddr, time::Duration};
use way_in::WayIn;
use weft_testkit::servers::{NatsServer, RedisServer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    /// nginx with the nchan module, by HTTP.
    Nchan,
    /// Node's `ws`, fed by Redis.
    Ws,
    /// The NATS server's own WebSocket, fed by NATS.
    Nats,
    /// Socket.IO 4.8 with its Redis adapter, fed by Redis.
    SocketIo,
    /// Centrifugo, by HTTP; needs --centrifugo.
    Centrifugo,
}

impl Peer {
    /// Those that need no path.
    pub(crate) const USUAL: [Self; 4] = [Self::Nchan, Self::Ws, Self::Nats, Self::SocketIo];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nchan => "nginx + nchan",
            Self::Ws => "Node ws",
            Self::Nats => "NATS WebSocket",
            Self::SocketIo => "Socket.IO",
            Self::Centrifugo => "Centrifugo",
        }
    }

    fn speech(self) -> Speech {
        match self {
            // Our own server script, which may as well speak as we do.
            Self::Ws => Speech::Json,
            Self::Nchan => Speech::Nchan,
            Self::Nats => Speech::Nats,
            Self::SocketIo => Speech::SocketIo,
            Self::Centrifugo => Speech::Centrifugo,
        }
    }
}

/// How many clients, in which rooms, and what they get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerPlan {
    pub(crate) clients: u32,
    pub(crate) rooms: u32,
    pub(crate) event_bytes: u32,
    pub(crate) process_base: u32,
    pub(crate) patience: Duration,
}

impl PeerPlan {
    /// Names that are legal everywhere.
    pub(crate) fn rooms(&self) -> Rooms {
        Rooms { prefix: "load-".into(), count: self.rooms, each: 1 }
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape { rooms: self.rooms(), bytes: self.event_bytes, owner: false }
    }
}

/// A peer's server, running, and how to reach it.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    pub(crate) way_in: WayIn,
    pub(crate) kept: Kept,
}

/// What must live as long as the peer.
pub(crate) struct Kept {
    _server: Option<ServerProcess>,
    _nats: Option<NatsServer>,
    _redis: Option<RedisServer>,
}

impl Kept {
    pub(crate) fn server(server: ServerProcess, redis: Option<RedisServer>) -> Self {
        Self { _server: Some(server), _nats: None, _redis: redis }
    }

    pub(crate) fn nats(nats: NatsServer) -> Self {
        Self { _server: None, _nats: Some(nats), _redis: None }
    }
}

impl Running {
    /// With clients of its own, not yet connected.
    pub(crate) async fn contend(self, plan: &PeerPlan) -> Result<(Contender, Kept), Failure> {
        let swarm = SwarmPlan {
            clients: plan.clients,
            speech: self.peer.speech(),
            servers: vec![self.address],
            rooms: plan.rooms(),
            deflate: false,
            token_key: None,
            come_back: None,
            slow: None,
            process_base: plan.process_base,
        };
        let contender = Contender {
            name: self.peer.name().into(),
            clients: plan.clients,
            rooms: plan.rooms,
            swarms: Swarms::start(&swarm).await?,
            publish: Publish::Peer(Box::new(self.way_in)),
            // Workers that it has started count as well.
            weighed: Weighed::Processes(std::iter::once(self.process).chain(self.process.descendants()).collect()),
            counter: 0,
            rounds_late: 0,
            patience: plan.patience,
        };
        Ok((contender, self.kept))
    }
}
