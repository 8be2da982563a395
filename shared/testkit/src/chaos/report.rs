//! What came of a chaos run.

use crate::history::Verdict;
use std::{fmt, time::Duration};

/// The outcome, in numbers.
#[derive(Clone, Debug)]
pub struct Report {
    /// The plan, in words, with its seed.
    pub plan: String,
    /// What the checker found.
    pub verdict: Verdict,
    /// How many gateways were killed.
    pub kills: u32,
    /// How many times the broker was killed.
    pub broker_restarts: u32,
    /// How many executions the real executor ran.
    pub executions_run: usize,
    /// How many events the sources tried to publish.
    pub events: usize,
    /// How many batches had to be repeated.
    pub retries: u64,
    /// Whether every client had everything that is stored, in the time allowed.
    pub converged: bool,
    /// From the first process to the last.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "chaos: {}", self.plan)?;
        write!(f, "chaos: {} gateways killed, {} broker restarts, ", self.kills, self.broker_restarts)?;
        write!(f, "{} executions run by the executor, {} events published, ", self.executions_run, self.events)?;
        writeln!(f, "{} batches repeated, {:.1} s", self.retries, self.took.as_secs_f64())?;
        if !self.converged {
            writeln!(f, "chaos: clients did not converge")?;
        }
        write!(f, "chaos: {}", self.verdict)
    }
}
