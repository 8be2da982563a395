//! `ws` and Socket.IO on Node, each with a Redis of its own.

use super::{
    Kept, Peer, PeerPlan, Running,
    install::{node_packages, node_version},
    way_in::{Door, WayIn},
    wire::Wire,
};
use crate::{
    error::Failure,
    servers::{
        child::{ServerProcess, free_address},
        process::Process,
    },
};
use std::{path::Path, process::Command, time::Duration};
use tokio::net::TcpStream;
use weft_testkit::servers::{RedisOptions, RedisServer};

/// Node takes a second or two on a busy machine; this only bounds a hang.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn start(peer: Peer, directory: &Path, plan: &PeerPlan) -> Result<Running, Failure> {
    node_packages(directory)?;
    let options = RedisOptions { append_only: false, ..RedisOptions::default() };
    let redis = RedisServer::start_with(options).await.map_err(|error| Failure::Broker(error.to_string()))?;
    let address = free_address()?;
    let (script, package) = if peer == Peer::Ws { ("ws.mjs", "ws") } else { ("socketio.mjs", "socket.io") };
    let mut command = Command::new("node");
    command.arg(script).current_dir(directory).env("NODE_ENV", "production");
    command.env("REDIS_PORT", redis.port().to_string()).env("PORT", address.port().to_string());
    let mut server = ServerProcess::start(package, &mut command)?;
    server.until(PATIENCE, || async { TcpStream::connect(address).await.is_ok() }).await?;
    let wire = Wire::connect(redis.port()).await?;
    let door = if peer == Peer::Ws { Door::Redis(wire) } else { Door::SocketIoRedis(wire) };
    Ok(Running {
        peer,
        version: node_version(directory, package),
        address,
        process: Process(server.pid()),
        way_in: WayIn { shape: plan.shape(), door },
        kept: Kept::server(server, Some(redis)),
    })
}
