//! Ends what an executor has started when the executor itself was killed and could not.
//!
//! A second process of the same program, begun once, reads from a pipe which process groups there are. The pipe ends with
//! the executor, however that ends; what is left then gets SIGKILL. A group begun in the very moment of a SIGKILL, before
//! its line is written, escapes.

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    collections::HashMap,
    env, fs,
    io::{self, BufRead, Write as _},
    os::unix::process::CommandExt as _,
    process::{ChildStdin, Command, Stdio},
    sync::OnceLock,
};
use tracing::warn;

/// The only argument of a program that is to watch.
pub const ARGUMENT: &str = "watch-process-groups";

static WATCHER: OnceLock<Mutex<ChildStdin>> = OnceLock::new();

/// Starts the watcher of this process; once, by a program that hands [`ARGUMENT`] to [`serve`].
///
/// # Errors
/// The program cannot be started a second time.
pub fn begin() -> io::Result<()> {
    // In a group of its own, so that a Ctrl-C in a terminal, which all others get, leaves it to do its work.
    let mut watcher = Command::new(env::current_exe()?)
        .arg(ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let pipe = watcher.stdin.take().ok_or_else(|| io::Error::other("the watcher has no input"))?;
    let _ = WATCHER.set(Mutex::new(pipe));
    Ok(())
}

/// There is a group.
pub(super) fn hold(group: Pid) {
    let id = group.as_raw_nonzero().get();
    tell(&format!("+{id} {}\n", started(id).unwrap_or_default()));
}

/// The group has ended.
pub(super) fn let_go(group: Pid) {
    tell(&format!("-{}\n", group.as_raw_nonzero().get()));
}

fn tell(line: &str) {
    let Some(watcher) = WATCHER.get() else { return };
    if let Err(error) = watcher.lock().write_all(line.as_bytes()) {
        warn!(%error, "nobody watches the processes of this executor any more");
    }
}

/// Reads which groups there are, to the end of `input`; then ends those that are left.
pub fn serve(input: impl BufRead) {
    let mut groups = HashMap::new();
    for line in input.lines().map_while(Result::ok) {
        match line.split_at_checked(1) {
            Some(("+", begun)) => {
                let (id, started) = begun.split_once(' ').unwrap_or((begun, ""));
                if let Ok(id) = id.parse::<i32>() {
                    groups.insert(id, started.to_owned());
                }
            }
            Some(("-", ended)) => drop(ended.parse::<i32>().map(|id| groups.remove(&id))),
            _ => {}
        }
    }
    for (id, begun) in groups {
        // A number is not given out again while its group has members. Is there a leader of another age, the group is gone.
        let is_another = started(id).is_some_and(|now| now != begun);
        if let Some(group) = Pid::from_raw(id).filter(|_| !is_another) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// When a process began, in ticks since the machine did: field 22 of `/proc/<pid>/stat`, proc(5).
fn started(id: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is a name in brackets, and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Child;

    fn sleeper() -> (Child, i32) {
        let child = Command::new("sleep").arg("1000").process_group(0).spawn().expect("sleep");
        let id = i32::try_from(child.id()).expect("an id");
        (child, id)
    }

    #[test]
    fn what_was_not_let_go_is_ended_and_nothing_else() {
        let [mut held, mut free, mut other] = [sleeper(), sleeper(), sleeper()];
        let age = |id: i32| started(id).expect("it runs");
        let lines =
            format!("+{} {}\n+{} {}\n-{}\nnonsense\n+x 1\n\n+{} 1\n", held.1, age(held.1), free.1, age(free.1), free.1, other.1);
        serve(lines.as_bytes());
        assert!(!held.0.wait().expect("ended").success());
        for (child, what) in [(&mut free.0, "let go"), (&mut other.0, "of another age")] {
            assert!(child.try_wait().expect("asked").is_none(), "what was {what} runs on");
            child.kill().expect("ended");
            child.wait().expect("ended");
        }
    }
}
