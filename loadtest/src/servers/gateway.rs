//! A gateway of our own on free loopback ports.

use super::{
    child::{ServerProcess, free_address},
    process::Process,
};
use crate::{error::Failure, publish::http_client};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A gateway is up within a second; this only bounds a hang.
const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How gateways are started.
#[derive(Clone, Debug)]
pub(crate) struct GatewayPlan {
    /// The program; the one beside this by default.
    pub(crate) path: Option<PathBuf>,
    pub(crate) bus: String,
    pub(crate) env: Vec<(String, String)>,
}

pub(crate) struct Gateway {
    server: ServerProcess,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

impl Gateway {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(plan: &GatewayPlan) -> Result<Self, Failure> {
        let path = match &plan.path {
            Some(path) => path.clone(),
            None => beside_this_program()?,
        };
        if !path.is_file() {
            return Err(Failure::NoGateway(path.display().to_string()));
        }
        let (address, admin) = (free_address()?, free_address()?);
        let mut command = command(&path, plan, address, admin);
        let mut gateway = Self { server: ServerProcess::start("gateway", &mut command)?, address, admin };
        gateway.ready().await?;
        Ok(gateway)
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let client = http_client(Duration::from_secs(2))?;
        let url = format!("http://{}/readyz", self.admin);
        let ready = || async { client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) };
        self.server.until(PATIENCE, ready).await
    }

    /// The sum over all series of one of its metrics; 0 when there is none yet.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64, Failure> {
        let url = format!("http://{}/metrics", self.admin);
        let text = async { http_client(REQUEST_TIMEOUT)?.get(&url).send().await?.text().await.map_err(Failure::from) };
        let text = text.await?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        Ok(text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.server.pid())
    }

    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    pub(crate) fn log_tail(&self) -> String {
        self.server.log_tail()
    }
}

impl std::convert::From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Publish(format!("{error:?}"))
    }
}

fn command(path: &Path, plan: &GatewayPlan, address: SocketAddr, admin: SocketAddr) -> Command {
    let mut command = Command::new(path);
    // The developer's own settings are not the run's.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEFT_")) {
        command.env_remove(name);
    }
    command
        .env("WEFT_LISTEN", address.to_string())
        .env("WEFT_ADMIN_LISTEN", admin.to_string())
        .env("WEFT_BUS", &plan.bus)
        .env("WEFT_AUTH", "off")
        .envs(plan.env.iter().map(|(name, value)| (name, value)));
    command
}

fn beside_this_program() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().map_err(Failure::io("find this program"))?;
    let directories = program.ancestors().skip(1).take(2);
    let found = directories.map(|directory| directory.join("gateway")).find(|path| path.is_file());
    found.ok_or_else(|| Failure::NoGateway(program.with_file_name("gateway").display().to_string()))
}
