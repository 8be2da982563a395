//! The report: one file without scripts, with its plots inside, that opens anywhere and without a network.

use super::{
    outcome::Outcome,
    plot::{self, Line, Plot},
    table::short,
};
use crate::error::Failure;
use std::{fmt::Write as _, path::Path};

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Weft load report</title><style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right}\
th:first-child,td:first-child{text-align:left}.bad{color:#b00020;font-weight:600}.note{color:#8a5a00}\
.wide{overflow-x:auto}.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(500px,1fr));gap:1rem}svg{max-width:100%;height:auto}\
</style></head><body>";

/// Writes the report of `run`.
pub(crate) fn write(path: &Path, outcomes: &[Outcome]) -> Result<(), Failure> {
    let mut page = format!("{HEAD}<h1>Weft load report</h1>");
    for outcome in outcomes {
        section(&mut page, outcome)?;
    }
    save(path, page)
}

/// Ends a page and writes it.
pub(crate) fn save(path: &Path, page: String) -> Result<(), Failure> {
    std::fs::write(path, page + "</body></html>\n").map_err(Failure::io(format!("write {}", path.display())))
}

/// A page's beginning.
pub(crate) fn begin(title: &str) -> String {
    format!("{HEAD}<h1>{}</h1>", escape(title))
}

/// A table; the first row is its head.
pub(crate) fn table(page: &mut String, rows: &[Vec<String>]) {
    page.push_str("<div class=\"wide\"><table>");
    for (at, row) in rows.iter().enumerate() {
        let tag = if at == 0 { "th" } else { "td" };
        let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        let _ = write!(page, "<tr>{cells}</tr>");
    }
    page.push_str("</table></div>");
}

fn section(page: &mut String, outcome: &Outcome) -> Result<(), Failure> {
    let _ = write!(page, "<h2>{}</h2><p>{}</p>", escape(&outcome.scenario), escape(&set_up(outcome)));
    if !outcome.is_sound() {
        let _ = write!(page, "<p class=\"bad\">Not sound: {}</p>", escape(&outcome.remarks.join("; ")));
    }
    for what in &outcome.strained {
        let _ = write!(page, "<p class=\"note\">The load itself was a limit: {}.</p>", escape(what));
    }
    table(page, &figures(outcome));
    page.push_str("<div class=\"plots\">");
    for plot in drawn(outcome)? {
        page.push_str(&plot);
    }
    page.push_str("</div>");
    Ok(())
}

/// The plots of an outcome, each an `<svg>` element.
pub(crate) fn drawn(outcome: &Outcome) -> Result<Vec<String>, Failure> {
    plots(outcome).iter().map(plot::draw).collect()
}

fn set_up(outcome: &Outcome) -> String {
    format!(
        "{} clients, {} rooms, {} gateways, bus {}, {}{}, events of {} bytes{}.",
        outcome.clients,
        outcome.rooms,
        outcome.gateways,
        outcome.bus,
        outcome.protocol,
        if outcome.deflate { " with deflate" } else { "" },
        outcome.event_bytes,
        if outcome.burst > 1 { format!(" in bursts of {}", outcome.burst) } else { String::new() },
    )
}

fn figures(outcome: &Outcome) -> Vec<Vec<String>> {
    let mut rows = vec![vec!["figure".to_owned(), "value".to_owned()]];
    let mut row = |what: &str, value: String| rows.push(vec![what.to_owned(), value]);
    row("events published", outcome.events_published.to_string());
    row("deliveries", outcome.deliveries.to_string());
    row("deliveries a second", short(outcome.deliveries_per_second));
    row("lost / duplicated / misordered", format!("{} / {} / {}", outcome.lost, outcome.duplicated, outcome.misordered));
    row("gateway CPU-µs a delivery", short(outcome.cpu_us_per_delivery));
    if let Some(times) = outcome.times_floor() {
        row("× floor", format!("{times:.2}"));
    }
    if let Some(latency) = &outcome.latency {
        let values = [latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms].map(|ms| format!("{ms:.1}"));
        row("latency ms p50 / p99 / p99.9 / max", values.join(" / "));
    }
    if outcome.connects_per_second > 0.0 {
        row("connects a second", short(outcome.connects_per_second));
        row("gateway CPU-µs a connect, with its subscribe", short(outcome.cpu_us_per_connect_and_subscribe));
        let bytes = [outcome.bytes_per_idle_connection, outcome.bytes_per_idle_follower, outcome.bytes_per_loaded_follower];
        row("bytes a connection: connected / following / loaded", bytes.map(|bytes| bytes.to_string()).join(" / "));
    }
    if let Some(cpu) = outcome.broker_cpu_us_per_event {
        row("broker CPU-µs an event", short(cpu));
    }
    outcome.further.iter().for_each(|(what, figure)| row(what, short(*figure)));
    rows
}

fn plots(outcome: &Outcome) -> Vec<Plot> {
    let line = |name: &'static str, of: &dyn Fn(&super::outcome::Moment) -> Option<f64>| Line {
        name: name.into(),
        points: outcome.series.iter().filter_map(|moment| Some((moment.second, of(moment)?))).collect(),
    };
    let plot = |title: &str, unit: &str, log, lines| Plot { title: title.into(), unit: unit.into(), log, lines };
    vec![
        plot(
            "Latency",
            "ms",
            true,
            vec![
                line("p50", &|moment| Some(moment.latency?.p50_ms)),
                line("p99", &|moment| Some(moment.latency?.p99_ms)),
                line("p99.9", &|moment| Some(moment.latency?.p999_ms)),
                line("max", &|moment| Some(moment.latency?.max_ms)),
            ],
        ),
        plot("Deliveries", "a second", false, vec![line("deliveries", &|moment| Some(moment.deliveries_per_second))]),
        plot(
            "Processor time",
            "processors",
            false,
            vec![
                line("gateways", &|moment| Some(moment.gateways_cpu)),
                line("broker", &|moment| Some(moment.broker_cpu)),
                line("clients", &|moment| Some(moment.clients_cpu)),
                line("publisher", &|moment| Some(moment.publisher_cpu)),
            ],
        ),
        plot(
            "Memory (resident)",
            "MB",
            false,
            vec![
                line("gateways", &|moment| Some(moment.gateways_bytes as f64 / 1e6)),
                line("broker", &|moment| Some(moment.broker_bytes as f64 / 1e6)),
            ],
        ),
    ]
}

/// Text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Moment, Quantiles};
    use super::*;

    #[test]
    fn the_report_stands_alone_and_says_what_is_wrong() {
        let latency = Some(Quantiles { p50_ms: 0.5, p99_ms: 2.0, p999_ms: 9.0, max_ms: 40.0 });
        let moment = |second| Moment { second, latency, deliveries_per_second: 100.0, ..Moment::default() };
        let outcome = Outcome {
            scenario: "rooms".into(),
            lost: 3,
            remarks: vec!["<script>".into()],
            strained: vec!["slow".into()],
            series: (0..5).map(|second| moment(f64::from(second))).collect(),
            ..Outcome::default()
        };
        let mut page = begin("a & b");
        section(&mut page, &outcome).expect("drawn");
        for part in ["Not sound", "&lt;script&gt;", "The load itself was a limit: slow", "<svg", "p99.9", "a &amp; b"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("src=") && !page.contains("<script") && page.matches("<svg").count() == 4);
    }
}
