//! Centrifugo, where its program is given by a path (version 6).

use super::{
    Kept, Peer, PeerPlan, Running,
    way_in::{Door, WayIn},
};
use crate::{
    error::Failure,
    publish::http_client,
    servers::{
        child::{ServerProcess, free_address, scratch_path},
        process::Process,
    },
};
use serde_json::json;
use std::{path::Path, process::Command, time::Duration};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn start(program: &Path, plan: &PeerPlan) -> Result<Running, Failure> {
    let address = free_address()?;
    let config = json!({
        "http_server": {"address": "127.0.0.1", "port": address.port().to_string()},
        "client": {"insecure": true, "allowed_origins": ["*"]},
        "http_api": {"insecure": true},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true}},
        "log": {"level": "warn"},
    });
    let directory = scratch_path("centrifugo", "d");
    let path = directory.join("config.json");
    let write = || std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, config.to_string()));
    write().map_err(Failure::io(format!("write {}", path.display())))?;
    let mut command = Command::new(program);
    command.arg("--config").arg(&path);
    let mut server = ServerProcess::start("centrifugo", &mut command)?.with_children(directory);
    server.until(PATIENCE, || async { TcpStream::connect(address).await.is_ok() }).await?;
    let client = http_client(REQUEST_TIMEOUT)?;
    Ok(Running {
        peer: Peer::Centrifugo,
        version: version(program),
        address,
        process: Process(server.pid()),
        way_in: WayIn { shape: plan.shape(), door: Door::Centrifugo { client, base: format!("http://{address}") } },
        kept: Kept::server(server, None),
    })
}

fn version(program: &Path) -> String {
    let output = Command::new(program).arg("version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    said.split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit() || first == 'v'))
        .unwrap_or("?")
        .into()
}
