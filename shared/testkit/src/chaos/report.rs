//! What came of a chaos run.

use crate::{history::Verdict, record::Record};
use std::{fmt, time::Duration};

/// What Socket.IO's own recovery came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recoveries {
    /// How many clients of Socket.IO took part.
    pub clients: usize,
    /// How often they came back.
    pub returns: u64,
    /// How often one came back and was recovered.
    pub recovered: u64,
    /// The fewest recoveries of any of them.
    pub recovered_min: u32,
}

impl Recoveries {
    pub(super) fn of(records: &[Record]) -> Self {
        Self {
            clients: records.len(),
            returns: records.iter().map(|record| u64::from(record.resumes)).sum(),
            recovered: records.iter().map(|record| u64::from(record.recovered)).sum(),
            recovered_min: records.iter().map(|record| record.recovered).min().unwrap_or(0),
        }
    }
}

/// The outcome, in numbers.
#[derive(Clone, Debug)]
pub struct Report {
    /// The plan, in words, with its seed.
    pub plan: String,
    /// What the checker found.
    pub verdict: Verdict,
    /// Of the clients of Socket.IO.
    pub recoveries: Recoveries,
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
        let Recoveries { clients, returns, recovered, recovered_min } = self.recoveries;
        write!(f, "chaos: {clients} clients of Socket.IO came back {returns} times, recovered {recovered} times, ")?;
        writeln!(f, "at least {recovered_min} each")?;
        if !self.converged {
            writeln!(f, "chaos: clients did not converge")?;
        }
        write!(f, "chaos: {}", self.verdict)
    }
}
