//! What a fleet took.

use super::{
    html,
    outcome::Quantiles,
    plot::{self, Line, Plot},
    say, table,
};
use crate::error::Failure;
use serde::Serialize;
use std::path::Path;

/// A fleet from the first connection to the event that everybody got.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FleetOutcome {
    pub(crate) wanted: u64,
    /// That were connected and followed.
    pub(crate) connected: u64,
    /// That were still there after the time of holding.
    pub(crate) held: u64,
    /// Why it was not as many as wanted.
    pub(crate) stopped: Option<String>,
    pub(crate) gateways: u64,
    pub(crate) client_processes: u64,
    pub(crate) rooms: u64,
    pub(crate) event_bytes: u64,
    pub(crate) connect_seconds: f64,
    pub(crate) connects_per_second: f64,
    /// Of the gateways, with the subscribe.
    pub(crate) cpu_us_per_connect: f64,
    /// Processors that all gateways used together while nothing happened but pings.
    pub(crate) idle_processors: f64,
    /// Of all gateways together before anybody connected.
    pub(crate) gateways_empty_bytes: u64,
    pub(crate) idle: Step,
    /// After everybody got an event.
    pub(crate) loaded: Step,
    pub(crate) delivered: u64,
    pub(crate) deliver_seconds: f64,
    pub(crate) cpu_us_per_delivery: f64,
    pub(crate) latency: Option<Quantiles>,
    /// Of those connections that were open at the end.
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) misordered: u64,
    pub(crate) gaps: u64,
    pub(crate) errors: u64,
    pub(crate) connections_ended: u64,
    pub(crate) remarks: Vec<String>,
    pub(crate) steps: Vec<Step>,
}

/// How things stood at one time. Bytes are of all processes of a kind together.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Step {
    pub(crate) seconds: f64,
    pub(crate) connections: u64,
    /// Private anonymous memory: what the gateways have allocated.
    pub(crate) gateways_bytes: u64,
    pub(crate) gateways_resident_bytes: u64,
    pub(crate) clients_bytes: u64,
    /// Growth of the kernel's objects since before the run, both ends of every connection.
    pub(crate) kernel_bytes: u64,
    pub(crate) socket_buffer_bytes: u64,
    pub(crate) available_bytes: u64,
}

impl FleetOutcome {
    /// Whether all that were wanted came up, stayed, and got their event once.
    pub(crate) fn is_sound(&self) -> bool {
        let wrong = [self.lost, self.duplicated, self.misordered, self.gaps, self.errors, self.connections_ended];
        self.stopped.is_none() && self.held == self.wanted && self.delivered > 0 && wrong.iter().all(|count| *count == 0)
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![vec!["figure".to_owned(), "value".to_owned()]];
        let mut row = |what: &str, value: String| rows.push(vec![what.to_owned(), value]);
        let each = |bytes: u64| bytes / self.held.max(1);
        let whole = |step: &Step| (step.gateways_bytes / 1_000_000, each(step.gateways_bytes));
        row("connections wanted / connected / held", format!("{} / {} / {}", self.wanted, self.connected, self.held));
        row("gateways, client processes, rooms", format!("{}, {}, {}", self.gateways, self.client_processes, self.rooms));
        row("connects a second", format!("{:.0}", self.connects_per_second));
        row("gateway CPU-µs a connect and subscribe", format!("{:.1}", self.cpu_us_per_connect));
        let ((idle, idle_each), (loaded, loaded_each)) = (whole(&self.idle), whole(&self.loaded));
        row("user memory of all gateways, idle", format!("{idle} MB, {idle_each} B each"));
        row("user memory of all gateways, after an event", format!("{loaded} MB, {loaded_each} B each"));
        row("of that without any client", format!("{} MB", self.gateways_empty_bytes / 1_000_000));
        let kernel = self.idle.kernel_bytes;
        row("kernel objects, both ends", format!("{} MB, {} B each", kernel / 1_000_000, each(kernel)));
        row("socket buffers", format!("{} MB", self.idle.socket_buffer_bytes / 1_000_000));
        row("memory of the client processes", format!("{} MB", self.idle.clients_bytes / 1_000_000));
        row("processors used by gateways while idle", format!("{:.3}", self.idle_processors));
        row("an event to everybody", format!("{} deliveries in {:.1} s", self.delivered, self.deliver_seconds));
        row("gateway CPU-µs a delivery", format!("{:.2}", self.cpu_us_per_delivery));
        if let Some(latency) = &self.latency {
            row("latency ms p50 / p99 / max", format!("{:.1} / {:.1} / {:.1}", latency.p50_ms, latency.p99_ms, latency.max_ms));
        }
        row("lost / duplicated / misordered", format!("{} / {} / {}", self.lost, self.duplicated, self.misordered));
        rows
    }

    /// On standard output.
    pub(crate) fn print(&self) {
        table::print(&self.rows());
        if let Some(why) = &self.stopped {
            say::result(&format!("stopped at {} connections: {why}", self.connected));
        }
        if !self.is_sound() {
            let (gaps, errors, ended) = (self.gaps, self.errors, self.connections_ended);
            say::result(&format!("NOT SOUND: {gaps} gaps, {errors} errors, {ended} ended {}", self.remarks.join("; ")));
        }
    }

    /// One page with plots.
    pub(crate) fn html(&self, path: &Path) -> Result<(), Failure> {
        let mut page = html::begin("A fleet of gateways");
        if let Some(why) = &self.stopped {
            page.push_str(&format!("<p class=\"bad\">Stopped at {} connections: {}</p>", self.connected, html::escape(why)));
        }
        html::table(&mut page, &self.rows());
        page.push_str("<div class=\"plots\">");
        for plot in self.plots() {
            page.push_str(&plot::draw(&plot)?);
        }
        page.push_str("</div>");
        html::save(path, page)
    }

    fn plots(&self) -> Vec<Plot> {
        let line = |name: &str, of: fn(&Step) -> f64| Line {
            name: name.into(),
            points: self.steps.iter().map(|step| (step.seconds, of(step))).collect(),
        };
        let plot = |title: &str, unit: &str, lines| Plot { title: title.into(), unit: unit.into(), log: false, lines };
        vec![
            plot("Connections", "open", vec![line("connections", |step| step.connections as f64)]),
            plot(
                "Memory",
                "MB",
                vec![
                    line("gateways, user", |step| step.gateways_bytes as f64 / 1e6),
                    line("kernel, both ends", |step| step.kernel_bytes as f64 / 1e6),
                    line("clients, user", |step| step.clients_bytes as f64 / 1e6),
                ],
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_stopped_short_is_not_sound() {
        let sound = FleetOutcome { wanted: 9, connected: 9, held: 9, delivered: 9, ..FleetOutcome::default() };
        assert!(sound.is_sound());
        for short in [
            FleetOutcome { stopped: Some("memory".into()), ..sound.clone() },
            FleetOutcome { held: 8, ..sound.clone() },
            FleetOutcome { lost: 1, ..sound.clone() },
            FleetOutcome { delivered: 0, ..sound.clone() },
            FleetOutcome { connections_ended: 1, ..sound.clone() },
        ] {
            assert!(!short.is_sound(), "{short:?}");
        }
        assert!(sound.plots().iter().all(|plot| plot::draw(plot).is_ok()));
    }
}
