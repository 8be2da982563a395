//! nginx with nchan.

use super::{
    Kept, Peer, PeerPlan, Running,
    install::{Nginx, nginx},
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
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For nginx' own files beside the clients' connections.
const DESCRIPTORS_BESIDE: u32 = 500;

pub(crate) async fn start(directory: &Path, plan: &PeerPlan) -> Result<Running, Failure> {
    let nginx = nginx(directory)?;
    let address = free_address()?;
    let scratch = scratch_path("nchan", "d");
    let config = write_config(directory, &nginx, &scratch, address, plan)?;
    let mut command = Command::new(&nginx.program);
    command.arg("-p").arg(&scratch).arg("-c").arg(&config);
    let mut server = ServerProcess::start("nginx", &mut command)?.with_children(scratch);
    server.until(PATIENCE, || async { TcpStream::connect(address).await.is_ok() }).await?;
    let client = http_client(REQUEST_TIMEOUT)?;
    Ok(Running {
        peer: Peer::Nchan,
        version: version(&nginx),
        address,
        process: Process(server.pid()),
        way_in: WayIn { shape: plan.shape(), door: Door::Nchan { client, base: format!("http://{address}") } },
        kept: Kept::server(server, None),
    })
}

fn write_config(peers: &Path, nginx: &Nginx, scratch: &Path, address: SocketAddr, plan: &PeerPlan) -> Result<PathBuf, Failure> {
    let template = peers.join("nchan.conf");
    let text = std::fs::read_to_string(&template).map_err(Failure::io(format!("read {}", template.display())))?;
    let text = text
        .replace("@MODULE@", &nginx.module.to_string_lossy())
        .replace("@DESCRIPTORS@", &(plan.clients + DESCRIPTORS_BESIDE).to_string())
        // nchan has more of nginx' connections than it has clients.
        .replace("@CONNECTIONS@", &(plan.clients * 2 + DESCRIPTORS_BESIDE).to_string())
        .replace("@DIRECTORY@", &scratch.to_string_lossy())
        .replace("@ADDRESS@", &address.to_string());
    let path = scratch.join("nginx.conf");
    let write = || std::fs::create_dir_all(scratch).and_then(|()| std::fs::write(&path, text));
    write().map_err(Failure::io(format!("write {}", path.display())))?;
    Ok(path)
}

fn version(nginx: &Nginx) -> String {
    let output = Command::new(&nginx.program).arg("-v").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    said.rsplit('/').next().unwrap_or("?").trim().to_owned()
}
