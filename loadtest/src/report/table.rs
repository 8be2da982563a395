//! Figures for people, on standard output.

use super::{outcome::Outcome, say};

/// A head, and what stands below it.
pub(crate) type Column<T> = (&'static str, fn(&T) -> String);

const BENCH: &[Column<Outcome>] = &[
    ("scenario", |outcome| outcome.scenario.clone()),
    ("deliveries", |outcome| outcome.deliveries.to_string()),
    ("CPU-µs/delivery", |outcome| format!("{:.2}", outcome.cpu_us_per_delivery)),
    ("× floor", |outcome| outcome.times_floor().map_or("–".into(), |times| format!("{times:.1}"))),
    ("B/connection", |outcome| outcome.bytes_per_idle_connection.to_string()),
    ("B/follower", |outcome| outcome.bytes_per_idle_follower.to_string()),
    ("round ms p50", |outcome| format!("{:.1}", outcome.round_ms_median)),
    ("p99", |outcome| format!("{:.1}", outcome.round_ms_p99)),
    ("lost", |outcome| outcome.lost.to_string()),
    ("duplicated", |outcome| outcome.duplicated.to_string()),
    ("misordered", |outcome| outcome.misordered.to_string()),
];

const RUN: &[Column<Outcome>] = &[
    ("scenario", |outcome| outcome.scenario.clone()),
    ("clients", |outcome| outcome.clients.to_string()),
    ("rooms", |outcome| outcome.rooms.to_string()),
    ("bus", |outcome| outcome.bus.clone()),
    ("protocol", |outcome| outcome.protocol.clone()),
    ("deliveries", |outcome| outcome.deliveries.to_string()),
    ("deliveries/s", |outcome| format!("{:.0}", outcome.deliveries_per_second)),
    ("CPU-µs/delivery", |outcome| format!("{:.2}", outcome.cpu_us_per_delivery)),
    ("× floor", |outcome| outcome.times_floor().map_or("–".into(), |times| format!("{times:.2}"))),
    ("p50 ms", |outcome| latency(outcome, |latency| latency.p50_ms)),
    ("p99", |outcome| latency(outcome, |latency| latency.p99_ms)),
    ("p99.9", |outcome| latency(outcome, |latency| latency.p999_ms)),
    ("max", |outcome| latency(outcome, |latency| latency.max_ms)),
    ("lost", |outcome| outcome.lost.to_string()),
    ("duplicated", |outcome| outcome.duplicated.to_string()),
    ("misordered", |outcome| outcome.misordered.to_string()),
];

fn latency(outcome: &Outcome, of: fn(&super::outcome::Quantiles) -> f64) -> String {
    // Figures of time that the load itself has bent are marked.
    let mark = if outcome.strained.is_empty() { "" } else { "*" };
    outcome.latency.as_ref().map_or("–".into(), |latency| format!("{:.1}{mark}", of(latency)))
}

/// As `bench` prints them.
pub(crate) fn bench(outcomes: &[Outcome]) {
    print(&rows(BENCH, outcomes));
    unsound(outcomes);
}

/// As `run` prints them.
pub(crate) fn run(outcomes: &[Outcome]) {
    print(&rows(RUN, outcomes));
    for outcome in outcomes {
        further(outcome);
    }
    unsound(outcomes);
}

fn further(outcome: &Outcome) {
    let name = &outcome.scenario;
    if outcome.connects_per_second > 0.0 {
        say::result(&format!(
            "{name}: {:.0} connects/s, {:.1} CPU-µs a connect, {:.1} with its subscribe; bytes (anonymous): {} ({}) connected, {} ({}) following, {} ({}) loaded",
            outcome.connects_per_second,
            outcome.cpu_us_per_connect,
            outcome.cpu_us_per_connect_and_subscribe,
            outcome.bytes_per_idle_connection,
            outcome.anonymous_bytes_per_idle_connection,
            outcome.bytes_per_idle_follower,
            outcome.anonymous_bytes_per_idle_follower,
            outcome.bytes_per_loaded_follower,
            outcome.anonymous_bytes_per_loaded_follower,
        ));
    }
    let broker = outcome.broker_cpu_us_per_event.map(|cpu| format!("broker {cpu:.1} CPU-µs an event"));
    let resident = outcome.broker_bytes.map(|bytes| format!("broker {:.0} MB", bytes as f64 / 1e6));
    let own = outcome.further.iter().map(|(what, figure)| format!("{what}: {}", short(*figure)));
    let all: Vec<String> = broker.into_iter().chain(resident).chain(own).collect();
    if !all.is_empty() {
        say::result(&format!("{name}: {}", all.join(", ")));
    }
    for what in &outcome.strained {
        say::result(&format!("{name}: * the load itself was a limit: {what}"));
    }
}

/// Without a fraction where it says nothing.
pub(crate) fn short(figure: f64) -> String {
    if figure.fract() == 0.0 || figure.abs() >= 1000.0 { format!("{figure:.0}") } else { format!("{figure:.2}") }
}

fn unsound(outcomes: &[Outcome]) {
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_sound()) {
        say::result(&format!(
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

/// A head and a row for each.
pub(crate) fn rows<T>(columns: &[Column<T>], of: &[T]) -> Vec<Vec<String>> {
    let head = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let row = |one: &T| columns.iter().map(|(_, cell)| cell(one)).collect();
    std::iter::once(head).chain(of.iter().map(row)).collect()
}

/// Names stand left, figures right.
pub(crate) fn print(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| {
            let padding = " ".repeat(width - cell.chars().count());
            if at == 0 { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
        });
        say::result(&cells.collect::<Vec<_>>().join("  "));
    }
}
