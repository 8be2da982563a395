//! One process and everything it starts: its group, its output line by line, and its end.
//!
//! The process leads a group of its own. A stop sends SIGTERM to the whole group and SIGKILL after the grace. When
//! the first process ends by itself, whatever it left behind in the group is ended too: a node is over when its
//! command is. Signals go out only while the leader has not been reaped, so its group id cannot have become
//! somebody else's. When the executor is killed, [`watch`] ends them. A process that leaves the group (setsid) escapes; a container or a unit is the fence for that.

mod output;
pub mod watch;

use self::output::{Budget, read_lines};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::{future::Future, io, path::Path, pin::pin, process::Stdio, time::Duration};
use tokio::{
    process::{Child, Command},
    signal::unix::SignalKind,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use self::output::{Cut, LINE_BYTES_MAX, Stream, TEXT_BYTES_MAX};

/// What to run.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// Where it runs.
    pub dir: &'a Path,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Most bytes of output that are told line by line.
    pub output_bytes_max: usize,
    /// Most lines of output that are told.
    pub output_lines_max: usize,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` when it succeeded, else how it failed.
    pub failure: Option<String>,
    /// Whether it was stopped from outside.
    pub stopped: bool,
    /// The beginning of its standard output, without the last line break.
    pub text: String,
    /// What of its output was not told.
    pub cut: Cut,
}

/// Runs a process to its end, or until `stop`; `told` gets its output line by line.
///
/// # Errors
/// It could not be started or waited for.
pub async fn run<F, T>(launch: Launch<'_>, stop: &CancellationToken, told: F) -> io::Result<Ended>
where
    F: Fn(Stream, String) -> T,
    T: Future<Output = ()>,
{
    let mut group = Group::spawn(&launch)?;
    let budget = Budget::new(launch.output_bytes_max, launch.output_lines_max);
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let mut readers = pin!(futures_util::future::join(
        read_lines(stdout, Stream::Out, &budget, &told),
        read_lines(stderr, Stream::Err, &budget, &told),
    ));
    let (mut drained, mut stopped) = (false, false);
    {
        let mut leader = pin!(group.end_of_leader(stop, launch.grace, &mut stopped));
        loop {
            tokio::select! {
                ended = &mut leader => break ended?,
                _ = &mut readers, if !drained => drained = true,
            }
        }
    }
    // What the leader left behind: asked, given time as long as it still writes, and ended.
    group.signal(Signal::TERM);
    if !drained {
        drained = timeout(launch.grace, &mut readers).await.is_ok();
    }
    group.signal(Signal::KILL);
    if !drained && timeout(launch.grace, &mut readers).await.is_err() {
        warn!(pid = group.pid.as_raw_nonzero().get(), "a process has left its group and keeps its output open");
    }
    let status = group.reap().await?;
    let (text, cut) = budget.finish();
    Ok(Ended { failure: failure(status), stopped, text, cut })
}

fn failure(status: std::process::ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("the command ended with exit status {code}")),
        (None, Some(signal)) => Some(format!("the command was ended by signal {signal}")),
        (None, None) => Some("the command ended in an unknown way".into()),
    }
}

/// A process group, ended with SIGKILL when dropped before its end.
struct Group {
    child: Child,
    pid: Pid,
    reaped: bool,
}

impl Group {
    fn spawn(launch: &Launch<'_>) -> io::Result<Self> {
        let (program, arguments) =
            launch.argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(launch.dir)
            .env_clear()
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the process has no id"))?;
        watch::hold(pid);
        Ok(Self { child, pid, reaped: false })
    }

    /// Waits until the leader has ended, without reaping it; makes it end once `stop` is cancelled.
    async fn end_of_leader(&self, stop: &CancellationToken, grace: Duration, stopped: &mut bool) -> io::Result<()> {
        let mut ended = pin!(self.leader_ended());
        tokio::select! {
            ended = &mut ended => return ended,
            () = stop.cancelled() => {}
        }
        *stopped = true;
        self.signal(Signal::TERM);
        match timeout(grace, &mut ended).await {
            Ok(ended) => ended,
            Err(_) => {
                self.signal(Signal::KILL);
                ended.await
            }
        }
    }

    async fn leader_ended(&self) -> io::Result<()> {
        // Listening begins before the first look, so that no end falls between the two.
        let mut changes = tokio::signal::unix::signal(SignalKind::child())?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        loop {
            if rustix::io::retry_on_intr(|| waitid(WaitId::Pid(self.pid), options))?.is_some() {
                return Ok(());
            }
            changes.recv().await;
        }
    }

    fn signal(&self, signal: Signal) {
        // An error means that nobody is left to hear it.
        let _ = kill_process_group(self.pid, signal);
    }

    async fn reap(&mut self) -> io::Result<std::process::ExitStatus> {
        let status = self.child.wait().await?;
        self.reaped = true;
        watch::let_go(self.pid);
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
            watch::let_go(self.pid);
        }
    }
}

#[cfg(test)]
mod tests;
