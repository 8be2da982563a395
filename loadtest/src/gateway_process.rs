//! A gateway of our own on free loopback ports, ended with this process however that ends.

use crate::{error::Failure, publish::http_client};
use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A gateway is up within a second; this only bounds a hang.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const LOG_LINES: usize = 20;

/// Reads a word or the end of its input; at the end it kills what this process could not.
const LEASH: &str = r#"trap '' INT TERM HUP; if read -r _; then exit 0; fi; kill -9 "$1" 2>/dev/null"#;

pub(crate) struct GatewayProcess {
    child: Child,
    leash: Child,
    log: PathBuf,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

impl GatewayProcess {
    /// Starts it on the in-process bus and waits until it is ready.
    pub(crate) async fn start(path: Option<&Path>, env: &[(String, String)]) -> Result<Self, Failure> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => beside_this_program()?,
        };
        if !path.is_file() {
            return Err(Failure::NoGateway(path.display().to_string()));
        }
        let (address, admin) = (free_address()?, free_address()?);
        let log = std::env::temp_dir().join(format!("weft-loadtest-{}-{}.log", std::process::id(), address.port()));
        let output = File::create(&log).map_err(Failure::io(format!("write {}", log.display())))?;
        let errors = output.try_clone().map_err(Failure::io("share the gateway's log"))?;
        let mut command = Command::new(&path);
        command
            .env("WEFT_LISTEN", address.to_string())
            .env("WEFT_ADMIN_LISTEN", admin.to_string())
            .env("WEFT_BUS", "memory:")
            .env("WEFT_AUTH", "off")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let mut child = command.spawn().map_err(Failure::io(format!("start {}", path.display())))?;
        let leash = match hold(child.id()) {
            Ok(leash) => leash,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::io("start sh")(error));
            }
        };
        let mut gateway = Self { child, leash, log, address, admin };
        gateway.ready().await?;
        Ok(gateway)
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let client = http_client(Duration::from_secs(2))?;
        let url = format!("http://{}/readyz", self.admin);
        let begun = Instant::now();
        loop {
            if client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let ended = self.child.try_wait().map_err(Failure::io("wait for the gateway"))?;
            if let Some(status) = ended {
                return Err(self.not_ready(&format!("it ended with {status}")));
            }
            if begun.elapsed() > PATIENCE {
                return Err(self.not_ready(&format!("{url} did not answer 200")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn not_ready(&self, why: &str) -> Failure {
        Failure::NotReady { why: why.into(), log: self.log_tail() }
    }

    /// The last lines it wrote.
    pub(crate) fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Only now may its number be given to another process, so the leash is let go last.
        if let Some(mut input) = self.leash.stdin.take() {
            let _ = std::io::Write::write_all(&mut input, b"done\n");
        }
        let _ = self.leash.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

fn hold(pid: u32) -> std::io::Result<Child> {
    let mut shell = Command::new("sh");
    shell.args(["-c", LEASH, "leash", &pid.to_string()]);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn beside_this_program() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().map_err(Failure::io("find this program"))?;
    let directories = program.ancestors().skip(1).take(2);
    let found = directories.map(|directory| directory.join("gateway")).find(|path| path.is_file());
    found.ok_or_else(|| Failure::NoGateway(program.with_file_name("gateway").display().to_string()))
}

/// Somebody could take the port before the gateway does; then the gateway says so and the run fails.
fn free_address() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Failure::io("find a free port"))?;
    listener.local_addr().map_err(Failure::io("find a free port"))
}
