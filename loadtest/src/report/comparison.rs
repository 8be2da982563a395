//! What a comparison found: a table, a page with plots, JSON.

use super::{
    html,
    plot::{Bars, draw_bars},
    say, table,
};
use crate::error::Failure;
use serde::Serialize;
use std::path::Path;

/// All that were compared, under the same load.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Comparison {
    pub(crate) clients: u64,
    pub(crate) event_bytes: u64,
    pub(crate) burst: u64,
    pub(crate) runs: u64,
    /// Weft's.
    pub(crate) bus: String,
    /// Median over all runs, one event at a time.
    pub(crate) floor_us_per_delivery: f64,
    pub(crate) standings: Vec<Standing>,
}

/// One of them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Whether it is a gateway of Weft's.
    pub(crate) ours: bool,
    /// Whose processor time and memory counts.
    pub(crate) processes: u64,
    pub(crate) single: Cost,
    pub(crate) bursts: Cost,
    /// Growth of memory, connected and following, by clients.
    pub(crate) bytes_per_idle_connection: u64,
    pub(crate) anonymous_bytes_per_idle_connection: u64,
    pub(crate) connects_per_second: f64,
    /// With its subscribe.
    pub(crate) cpu_us_per_connect: f64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) misordered: u64,
    pub(crate) rounds_late: u64,
    pub(crate) connections_ended: u64,
    pub(crate) remarks: Vec<String>,
}

/// What a delivery costs, medians over the runs.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_us_per_delivery: f64,
    /// Of the floor of the same run, always one event at a time.
    pub(crate) times_floor: f64,
    pub(crate) round_ms_median: f64,
    pub(crate) round_ms_p99: f64,
    pub(crate) runs_us_per_delivery: Vec<f64>,
}

impl Standing {
    fn is_sound(&self) -> bool {
        self.lost + self.duplicated + self.misordered + self.rounds_late + self.connections_ended == 0
    }
}

impl Comparison {
    /// Whether what was measured of Weft was sound; what becomes of the others is only told.
    pub(crate) fn is_sound(&self) -> bool {
        let mut ours = self.standings.iter().filter(|standing| standing.ours).peekable();
        ours.peek().is_some() && ours.all(Standing::is_sound)
    }

    fn rows(&self) -> Vec<Vec<String>> {
        table::rows(COLUMNS, &self.standings)
    }

    /// On standard output.
    pub(crate) fn print(&self) {
        table::print(&self.rows());
        say::result(&format!(
            "floor {:.2} CPU-µs; {} clients in one room, events of {} bytes, bursts of {}, medians of {} runs in turns; Weft's bus {}",
            self.floor_us_per_delivery, self.clients, self.event_bytes, self.burst, self.runs, self.bus
        ));
        for standing in self.standings.iter().filter(|standing| !standing.is_sound()) {
            let (late, ended) = (standing.rounds_late, standing.connections_ended);
            let remarks = standing.remarks.join("; ");
            say::result(&format!("{}: NOT SOUND: {late} rounds late, {ended} connections ended {remarks}", standing.name));
        }
    }

    /// One page with plots.
    pub(crate) fn html(&self, path: &Path) -> Result<(), Failure> {
        let mut page = html::begin("Weft and what one would use instead");
        page.push_str(&format!(
            "<p>{} clients in one room, events of {} bytes, one at a time and in bursts of {}; medians of {} runs in turns. \
             The floor, a bare loop of writes, cost {:.2} CPU-µs a delivery. Weft's bus: {}.</p>",
            self.clients,
            self.event_bytes,
            self.burst,
            self.runs,
            self.floor_us_per_delivery,
            html::escape(&self.bus)
        ));
        html::table(&mut page, &self.rows());
        page.push_str("<div class=\"plots\">");
        for plot in self.plots()? {
            page.push_str(&plot);
        }
        page.push_str("</div>");
        html::save(path, page)
    }

    /// The plots, each an `<svg>` element.
    pub(crate) fn plots(&self) -> Result<Vec<String>, Failure> {
        self.bars().iter().map(draw_bars).collect()
    }

    fn bars(&self) -> Vec<Bars> {
        let both = || vec!["one at a time".to_owned(), format!("bursts of {}", self.burst)];
        let bars = |title: &str, unit: &str, kinds: Vec<String>, of: fn(&Standing) -> Vec<Option<f64>>| {
            let groups = self.standings.iter().map(|standing| (standing.name.clone(), of(standing))).collect();
            Bars { title: title.into(), unit: unit.into(), kinds, groups }
        };
        let memory = vec!["resident".to_owned(), "anonymous".to_owned()];
        vec![
            bars("CPU for each delivery", "× floor", both(), |standing| {
                vec![Some(standing.single.times_floor), Some(standing.bursts.times_floor)]
            }),
            bars("CPU for each delivery", "µs", both(), |standing| {
                vec![Some(standing.single.cpu_us_per_delivery), Some(standing.bursts.cpu_us_per_delivery)]
            }),
            bars("Memory for each idle connection", "bytes", memory, |standing| {
                let bytes = [standing.bytes_per_idle_connection, standing.anonymous_bytes_per_idle_connection];
                bytes.map(|bytes| Some(bytes as f64)).to_vec()
            }),
            bars("CPU for each connect and subscribe", "µs", vec!["connect".into()], |standing| {
                vec![Some(standing.cpu_us_per_connect)]
            }),
        ]
    }
}

const COLUMNS: &[table::Column<Standing>] = &[
    ("system", |standing| standing.name.clone()),
    ("version", |standing| standing.version.clone()),
    ("× floor", |standing| format!("{:.2}", standing.single.times_floor)),
    ("CPU-µs", |standing| format!("{:.2}", standing.single.cpu_us_per_delivery)),
    ("round ms p50", |standing| format!("{:.1}", standing.single.round_ms_median)),
    ("× floor, bursts", |standing| format!("{:.2}", standing.bursts.times_floor)),
    ("CPU-µs, bursts", |standing| format!("{:.2}", standing.bursts.cpu_us_per_delivery)),
    ("B/connection", |standing| standing.bytes_per_idle_connection.to_string()),
    ("anonymous", |standing| standing.anonymous_bytes_per_idle_connection.to_string()),
    ("CPU-µs/connect", |standing| format!("{:.0}", standing.cpu_us_per_connect)),
    ("lost", |standing| standing.lost.to_string()),
    ("duplicated", |standing| standing.duplicated.to_string()),
    ("misordered", |standing| standing.misordered.to_string()),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_as_sound_as_what_is_said_of_weft() {
        let standing = |ours, lost| Standing { ours, lost, ..Standing::default() };
        for (standings, sound) in [
            (vec![standing(true, 0), standing(true, 0), standing(false, 5)], true),
            (vec![standing(true, 0), standing(true, 1), standing(false, 0)], false),
            (vec![standing(false, 0)], false),
            (vec![], false),
        ] {
            let comparison = Comparison { standings, ..Comparison::default() };
            assert_eq!(comparison.is_sound(), sound);
            for bars in comparison.bars() {
                assert!(draw_bars(&bars).expect("drawn").starts_with("<svg"));
            }
        }
    }
}
