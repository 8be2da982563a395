//! What was found, for people and for programs.

use crate::error::Failure;
use serde::Serialize;
use std::{io::Write as _, path::Path};

/// The figures of one scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: String,
    pub(crate) clients: u64,
    pub(crate) rooms: u64,
    /// Over all rooms, the warm-up included.
    pub(crate) events_published: u64,
    /// Events that clients saw for the first time while the gateway was weighed.
    pub(crate) deliveries: u64,
    /// The gateway's processor time, its ingress included, by deliveries.
    pub(crate) cpu_us_per_delivery: f64,
    /// What a bare write of the same bytes cost on the same machine just before.
    pub(crate) floor_us_per_delivery: Option<f64>,
    pub(crate) deliveries_per_second: f64,
    /// From publishing one round to the last client's having it.
    pub(crate) round_ms_median: f64,
    pub(crate) round_ms_p99: f64,
    pub(crate) rounds_late: u64,
    /// Growth of the gateway's resident memory by connecting, by clients …
    pub(crate) bytes_per_idle_connection: u64,
    /// … by connecting and following …
    pub(crate) bytes_per_idle_follower: u64,
    /// … and after all deliveries, logs included.
    pub(crate) bytes_per_loaded_follower: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) misordered: u64,
    pub(crate) gaps: u64,
    pub(crate) errors: u64,
    pub(crate) connections_ended: u64,
    /// The first few errors and reasons of ending.
    pub(crate) remarks: Vec<String>,
}

impl Outcome {
    /// Whether every client got every event once and in order, without a gap, an error or a lost connection.
    pub(crate) fn is_sound(&self) -> bool {
        let wrong =
            [self.lost, self.duplicated, self.misordered, self.gaps, self.errors, self.connections_ended, self.rounds_late];
        self.deliveries > 0 && wrong.iter().all(|count| *count == 0)
    }
}

type Column = (&'static str, fn(&Outcome) -> String);

const COLUMNS: [Column; 11] = [
    ("scenario", |outcome| outcome.scenario.clone()),
    ("deliveries", |outcome| outcome.deliveries.to_string()),
    ("CPU-µs/delivery", |outcome| format!("{:.2}", outcome.cpu_us_per_delivery)),
    ("× floor", |outcome| {
        outcome.floor_us_per_delivery.map_or("–".into(), |floor| format!("{:.1}", outcome.cpu_us_per_delivery / floor))
    }),
    ("B/connection", |outcome| outcome.bytes_per_idle_connection.to_string()),
    ("B/follower", |outcome| outcome.bytes_per_idle_follower.to_string()),
    ("round ms p50", |outcome| format!("{:.1}", outcome.round_ms_median)),
    ("p99", |outcome| format!("{:.1}", outcome.round_ms_p99)),
    ("lost", |outcome| outcome.lost.to_string()),
    ("duplicated", |outcome| outcome.duplicated.to_string()),
    ("misordered", |outcome| outcome.misordered.to_string()),
];

/// Prints the figures, a line a scenario, and what went wrong.
pub(crate) fn table(outcomes: &[Outcome]) {
    let mut rows = vec![COLUMNS.map(|(name, _)| name.to_owned())];
    rows.extend(outcomes.iter().map(|outcome| COLUMNS.map(|(_, cell)| cell(outcome))));
    let widths: Vec<usize> =
        (0..COLUMNS.len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            let padding = " ".repeat(width - cell.chars().count());
            // Names stand left, figures right.
            if at == 0 { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
        });
        say(&cells.collect::<Vec<_>>().join("  "));
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_sound()) {
        say(&format!(
            "{}: NOT SOUND: {} gaps, {} errors, {} connections ended, {} rounds late {}",
            outcome.scenario,
            outcome.gaps,
            outcome.errors,
            outcome.connections_ended,
            outcome.rounds_late,
            outcome.remarks.join("; ")
        ));
    }
}

/// Writes the figures as a JSON array.
pub(crate) fn json(path: &Path, outcomes: &[Outcome]) -> Result<(), Failure> {
    let what = || format!("write {}", path.display());
    let text = serde_json::to_vec_pretty(outcomes).map_err(|error| Failure::io(what())(error.into()))?;
    std::fs::write(path, text).map_err(Failure::io(what()))
}

/// Says on standard error what is going on.
pub(crate) fn progress(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what} …");
}

/// Says on standard error why it did not work.
pub(crate) fn complain(failure: &Failure) {
    let _ = writeln!(std::io::stderr(), "loadtest: {failure}");
}

fn say(line: &str) {
    // Whoever closed the pipe has seen enough.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_fault_makes_an_outcome_unsound() {
        let sound = Outcome { deliveries: 1, ..Outcome::default() };
        assert!(sound.is_sound() && !Outcome::default().is_sound());
        for fault in [
            Outcome { lost: 1, ..sound.clone() },
            Outcome { duplicated: 1, ..sound.clone() },
            Outcome { misordered: 1, ..sound.clone() },
            Outcome { gaps: 1, ..sound.clone() },
            Outcome { errors: 1, ..sound.clone() },
            Outcome { connections_ended: 1, ..sound.clone() },
            Outcome { rounds_late: 1, ..sound.clone() },
        ] {
            assert!(!fault.is_sound(), "{fault:?}");
        }
    }
}
