//! A server as a child of this process, with its log; it ends with this process, however that ends.

use crate::error::Failure;
use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(20);
const LOG_LINES: usize = 20;
/// Long enough for any server here to end by itself.
const LEAVE_PATIENCE: Duration = Duration::from_secs(3);

/// Reads a word or the end of its input; at the end it kills what this process could not.
const LEASH: &str =
    r#"trap '' INT TERM HUP; if read -r _; then exit 0; fi; kill -TERM "$1" 2>/dev/null; sleep 1; kill -9 "$1" 2>/dev/null"#;

pub(crate) struct ServerProcess {
    name: String,
    child: Child,
    leash: Child,
    log: PathBuf,
    /// Set where it has processes of its own, which it ends when it is asked to end; removed then.
    scratch: Option<PathBuf>,
}

impl ServerProcess {
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self, Failure> {
        let log = scratch_path(name, "log");
        let output = File::create(&log).map_err(Failure::io(format!("write {}", log.display())))?;
        let errors = output.try_clone().map_err(Failure::io("share a log"))?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let mut child = child.map_err(Failure::io(format!("start {program}")))?;
        match hold(child.id()) {
            Ok(leash) => Ok(Self { name: name.into(), child, leash, log, scratch: None }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(Failure::io("start sh")(error))
            }
        }
    }

    /// Waits until `answers` is true; fails when the process ends or time is up.
    pub(crate) async fn until<F: Future<Output = bool>>(
        &mut self,
        patience: Duration,
        mut answers: impl FnMut() -> F,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        while !answers().await {
            let ended = self.child.try_wait().map_err(Failure::io(format!("wait for {}", self.name)))?;
            if let Some(status) = ended {
                return Err(self.not_ready(&format!("it ended with {status}")));
            }
            if begun.elapsed() > patience {
                return Err(self.not_ready(&format!("no answer within {} s", patience.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn not_ready(&self, why: &str) -> Failure {
        Failure::NotReady { what: self.name.clone(), why: why.into(), log: self.log_tail() }
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

    /// It has processes of its own, which it ends when it is asked to end; then its directory can be removed.
    pub(crate) fn with_children(mut self, directory: PathBuf) -> Self {
        self.scratch = Some(directory);
        self
    }

    fn leave(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // It may have ended already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < LEAVE_PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(POLL);
        }
    }

    /// Kills it at once and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            self.leave();
            // A leftover in the temporary directory harms nobody.
            let _ = std::fs::remove_dir_all(scratch);
        }
        self.kill();
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

/// A name of its own in the temporary directory.
pub(crate) fn scratch_path(name: &str, ending: &str) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    std::env::temp_dir().join(format!("weft-loadtest-{}-{number}-{name}.{ending}", std::process::id()))
}

/// Somebody could take the port before the server does; then the server says so and the run fails.
pub(crate) fn free_address() -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Failure::io("find a free port"))?;
    listener.local_addr().map_err(Failure::io("find a free port"))
}
