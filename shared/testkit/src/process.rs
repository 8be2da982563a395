//! Our own programs as real processes: gateways and an executor, as they would run anywhere.

use crate::{
    Fault, Result,
    running::{Running, free_port},
    scratch::Scratch,
};
use rustix::process::Signal;
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::OnceLock,
    time::Duration,
};

/// A debug build on a busy two-core machine is up within seconds; this only bounds a hang.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Somebody may take a free port between finding and using it.
const PORT_TRIES: usize = 5;

/// Which of our programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The gateway.
    Gateway,
    /// The executor.
    Executor,
}

impl Program {
    /// The name of its binary.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Executor => "executor",
        }
    }

    fn listen_variable(self) -> &'static str {
        match self {
            Self::Gateway => "WEFT_LISTEN",
            Self::Executor => "WEFT_EXECUTOR_LISTEN",
        }
    }
}

/// Finds one of our binaries: `WEFT_TEST_<NAME>`, else the one built beside the running test.
///
/// # Errors
/// It has not been built. (`cargo test -p` builds the binaries of that package only.)
pub fn binary(name: &'static str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(format!("WEFT_TEST_{}", name.to_uppercase())) {
        return Ok(path.into());
    }
    let test = std::env::current_exe().map_err(Fault::io("find the running test"))?;
    // target/debug/deps/<test>, target/debug/examples/<example>, target/debug/<program>
    let found = test.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| Fault::Missing {
        what: name,
        looked: format!("beside {}", test.display()),
        remedy: "`cargo build --workspace --bins` builds it",
    })
}

/// What looks at the log of each process when it has ended.
static AT_END: OnceLock<fn(&Path)> = OnceLock::new();

/// From now on the log of every process of these tests is looked at when its test is done with it; `look` panics at what must
/// not stand there, which fails the test. The first one counts.
pub fn at_end(look: fn(&Path)) {
    let _ = AT_END.set(look);
}

/// How a process is started.
#[derive(Clone, Debug)]
pub struct ProcessOptions {
    program: Program,
    env: Vec<(String, String)>,
}

impl ProcessOptions {
    /// A program with its default settings, but for its ports.
    #[must_use]
    pub fn new(program: Program) -> Self {
        Self { program, env: Vec::new() }
    }

    /// A gateway on this bus, `WEFT_BUS`.
    #[must_use]
    pub fn gateway(bus: &str) -> Self {
        Self::new(Program::Gateway).env("WEFT_BUS", bus)
    }

    /// An executor on this bus that runs the workflows of a directory.
    #[must_use]
    pub fn executor(bus: &str, workflows: &Path) -> Self {
        Self::new(Program::Executor).env("WEFT_BUS", bus).env("WEFT_WORKFLOW_DIR", &workflows.to_string_lossy())
    }

    /// Sets a variable of its environment; the last value of a name counts.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// One of our programs, running. Dropping it kills it, and fails the test if it has ever panicked.
#[derive(Debug)]
pub struct Process {
    options: ProcessOptions,
    port: u16,
    admin_port: u16,
    /// `None` between [`Process::kill`] and [`Process::restart`].
    running: Option<Running>,
    scratch: Scratch,
}

impl Process {
    /// Starts it on free ports and waits until it says that it is ready.
    ///
    /// # Errors
    /// It was not built, ended, or did not become ready.
    pub async fn start(options: ProcessOptions) -> Result<Self> {
        let scratch = Scratch::new(options.program.name())?;
        let mut process = Self { options, port: 0, admin_port: 0, running: None, scratch };
        let mut tries = PORT_TRIES;
        loop {
            (process.port, process.admin_port) = (free_port()?, free_port()?);
            tries -= 1;
            match process.restart().await {
                Err(Fault::Ended { detail, .. }) if tries > 0 && detail.contains("in use") => {}
                other => return other.map(|()| process),
            }
        }
    }

    /// Starts it again with the same ports and settings, killing it first if it runs; waits until it is ready.
    ///
    /// # Errors
    /// It ended or did not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// [`Process::restart`] without waiting.
    ///
    /// # Errors
    /// It was not built.
    pub fn launch(&mut self) -> Result<()> {
        self.kill();
        let program = self.options.program;
        let mut command = Command::new(binary(program.name())?);
        // The developer's own settings are not the test's.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEFT_")) {
            command.env_remove(name);
        }
        command
            .env(program.listen_variable(), format!("127.0.0.1:{}", self.port))
            .env("WEFT_ADMIN_LISTEN", format!("127.0.0.1:{}", self.admin_port))
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.scratch.path());
        self.running = Some(Running::start(program.name(), &mut command, &self.log(), self.scratch.path())?);
        Ok(())
    }

    /// Waits until its admin port says that it is ready.
    ///
    /// # Errors
    /// It ended or did not become ready.
    pub async fn ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz", self.admin_url());
        let running = self.running.as_mut().ok_or_else(|| killed(self.options.program))?;
        let client = crate::http::client();
        running
            .until(START_TIMEOUT, || async { client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) })
            .await
    }

    /// `127.0.0.1:<port>`, where clients connect; the same after a restart.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `http://127.0.0.1:<admin port>`.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// The admin port does not answer.
    pub async fn metrics(&self) -> Result<String> {
        crate::http::get_text(&format!("{}/metrics", self.admin_url())).await
    }

    /// The sum over all series of one counter or gauge; 0 when there is none yet.
    ///
    /// # Errors
    /// The admin port does not answer.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.metrics().await?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        Ok(text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| running.exited().is_none())
    }

    /// Its process; 0 while killed.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.as_ref().map_or(0, Running::pid)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// SIGTERM, then waits until it has ended by itself.
    ///
    /// # Errors
    /// It does not run, or does not end in time.
    pub async fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let program = self.options.program;
        let running = self.running.as_mut().ok_or_else(|| killed(program))?;
        running.signal(Signal::TERM)?;
        running.wait(timeout).await
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Errors
    /// It does not run.
    pub fn ask_to_leave(&mut self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        let program = self.options.program;
        self.running.as_mut().ok_or_else(|| killed(program))?.signal(signal)
    }

    /// User and system time it has used since it was started last.
    ///
    /// # Errors
    /// It does not run.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.running.as_ref().ok_or_else(|| killed(self.options.program))?.cpu_time()
    }

    /// Bytes of memory it holds in RAM.
    ///
    /// # Errors
    /// It does not run.
    pub fn rss_bytes(&self) -> Result<u64> {
        self.running.as_ref().ok_or_else(|| killed(self.options.program))?.rss_bytes()
    }

    /// Everything it has written, over all restarts.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// The lines in which it said that something panicked, over all restarts; there are to be none, whatever was done to it.
    ///
    /// # Panics
    /// Its log cannot be read: then nobody knows.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        let log = std::fs::read(self.log()).expect("the log of a process is there as long as this");
        String::from_utf8_lossy(&log).lines().filter(|line| line.contains("panicked")).map(str::to_owned).collect()
    }

    /// The last lines it wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        crate::running::tail_of(&self.log())
    }
}

impl Drop for Process {
    /// Ends it; a test in whose course it panicked has failed.
    fn drop(&mut self) {
        self.kill();
        // A test that has failed says why already.
        if !std::thread::panicking() {
            let panics = self.panics();
            assert!(panics.is_empty(), "{}: {panics:?}", self.options.program.name());
            AT_END.get().into_iter().for_each(|look| look(&self.log()));
        }
    }
}

fn killed(program: Program) -> Fault {
    Fault::Ended { what: program.name().into(), detail: "it was killed".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_was_not_built_is_an_error_that_says_what_to_do() {
        let error = binary("no-such-program").expect_err("it does not exist").to_string();
        assert!(error.contains("no-such-program") && error.contains("cargo build"), "{error}");
    }
}
