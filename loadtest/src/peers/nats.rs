//! The NATS server's own WebSocket.

use super::{
    Kept, Peer, PeerPlan, Running,
    way_in::{Door, WayIn},
    wire::Wire,
};
use crate::{
    error::Failure,
    servers::{broker, child::free_address, process::Process},
};
use std::time::Duration;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn start(plan: &PeerPlan) -> Result<Running, Failure> {
    let address = free_address()?;
    let broken = |error: weft_testkit::Fault| Failure::Broker(error.to_string());
    let config = format!("websocket {{ listen: \"{address}\", no_tls: true, compression: false }}\n");
    let nats = broker::nats(false, &config).await.map_err(broken)?;
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let up = tokio::time::timeout(PATIENCE, listening).await;
    up.map_err(|_| Failure::Broker(format!("NATS does not listen for WebSockets; its log:\n{}", nats.log_tail())))?;
    let version = nats.raw().await.map_err(broken)?.info()["version"].as_str().unwrap_or("?").to_owned();
    let mut wire = Wire::connect(nats.port()).await?;
    // Its greeting.
    wire.lines(1).await?;
    wire.send(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n").await?;
    wire.lines(1).await?;
    Ok(Running {
        peer: Peer::Nats,
        version,
        address,
        process: Process(nats.pid()),
        way_in: WayIn { shape: plan.shape(), door: Door::Nats(wire) },
        kept: Kept::nats(nats),
    })
}
