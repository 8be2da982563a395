//! What is said while a run goes on, on standard error, and its results, on standard output.

use crate::{error::Failure, scenario::contender::Run, swarm::host::Swarms};
use std::{convert::Infallible, io::Write as _, time::Duration};

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// What is going on.
pub(crate) fn progress(what: &str) {
    line(&format!("{what} …"));
}

/// A whole line.
pub(crate) fn line(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Something worth knowing that is no failure.
pub(crate) fn note(what: &str) {
    line(&format!("note: {what}"));
}

/// Why it did not work.
pub(crate) fn complain(failure: &Failure) {
    line(&format!("loadtest: {failure}"));
}

/// A result.
pub(crate) fn result(line: &str) {
    // Whoever closed the pipe has seen enough.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// One of several runs.
pub(crate) fn run(name: &str, number: u32, runs: u32, run: &Run, floor: Option<&Run>) {
    let floor = floor.map_or(String::new(), |floor| {
        let (cpu, base) = (run.cpu_us_per_delivery(), floor.cpu_us_per_delivery());
        format!(", {:.2} × the floor of {base:.2}", cpu / base)
    });
    let cpu = run.cpu_us_per_delivery();
    line(&format!("{name}: run {} of {runs}: {} deliveries, {cpu:.2} CPU-µs each{floor}", number + 1, run.deliveries));
}

/// Says every second how far it is, until it is dropped.
pub(crate) async fn watch(name: &str, swarms: &Swarms, duration: Duration) -> Infallible {
    let begun = tokio::time::Instant::now();
    let mut delivered = swarms.last_counts().delivered;
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let counts = swarms.last_counts();
        let (seconds, of) = (begun.elapsed().as_secs(), duration.as_secs());
        let fresh = counts.delivered.saturating_sub(delivered);
        delivered = counts.delivered;
        let wrong = format!("{} doubled, {} out of order, {} gaps", counts.duplicated, counts.misordered, counts.gaps);
        line(&format!("{name}: {seconds:>3} of {of} s  {} connections  {fresh:>8} deliveries/s  {wrong}", counts.open));
    }
}
