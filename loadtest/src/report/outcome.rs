//! What was found.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// The figures of one scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: String,
    pub(crate) clients: u64,
    pub(crate) rooms: u64,
    pub(crate) gateways: u64,
    pub(crate) bus: String,
    pub(crate) protocol: String,
    pub(crate) deflate: bool,
    pub(crate) event_bytes: u64,
    pub(crate) burst: u64,
    /// Over all rooms, the warm-up included.
    pub(crate) events_published: u64,
    /// Events that clients saw for the first time while the system was weighed.
    pub(crate) deliveries: u64,
    pub(crate) seconds: f64,
    pub(crate) deliveries_per_second: f64,
    /// The gateways' processor time, an ingress included, by deliveries.
    pub(crate) cpu_us_per_delivery: f64,
    /// What a bare write of the same bytes cost on the same machine in turns with it.
    pub(crate) floor_us_per_delivery: Option<f64>,
    /// Each run by itself, where there was more than one; the figures above are then medians.
    pub(crate) runs: Vec<OneRun>,
    /// From when an event was due to a client's having it.
    pub(crate) latency: Option<Quantiles>,
    /// From publishing one round to the last client's having it.
    pub(crate) round_ms_median: f64,
    pub(crate) round_ms_p99: f64,
    pub(crate) rounds_late: u64,
    pub(crate) connects_per_second: f64,
    pub(crate) cpu_us_per_connect: f64,
    pub(crate) cpu_us_per_connect_and_subscribe: f64,
    /// Growth of the gateways' resident memory by connecting, by clients …
    pub(crate) bytes_per_idle_connection: u64,
    /// … by connecting and following …
    pub(crate) bytes_per_idle_follower: u64,
    /// … and after all deliveries, logs included.
    pub(crate) bytes_per_loaded_follower: u64,
    /// The same of private anonymous memory alone: what the process has allocated.
    pub(crate) anonymous_bytes_per_idle_connection: u64,
    pub(crate) anonymous_bytes_per_idle_follower: u64,
    pub(crate) anonymous_bytes_per_loaded_follower: u64,
    /// Processor time of the broker for each event published, and what it holds in RAM.
    pub(crate) broker_cpu_us_per_event: Option<f64>,
    pub(crate) broker_bytes: Option<u64>,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) misordered: u64,
    pub(crate) gaps: u64,
    pub(crate) errors: u64,
    /// Connections that ended and were not meant to.
    pub(crate) connections_ended: u64,
    /// What belongs to this scenario alone.
    pub(crate) further: BTreeMap<&'static str, f64>,
    /// What says that the load itself was the limit; figures of time are then not the system's.
    pub(crate) strained: Vec<String>,
    /// The first few errors and reasons of ending.
    pub(crate) remarks: Vec<String>,
    pub(crate) series: Vec<Moment>,
}

/// One of several runs.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct OneRun {
    pub(crate) cpu_us_per_delivery: f64,
    pub(crate) floor_us_per_delivery: Option<f64>,
}

/// Of latencies, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl Quantiles {
    /// `None` for nothing.
    pub(crate) fn of(micros: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| micros.value_at_quantile(quantile) as f64 / 1000.0;
        let max_ms = micros.max() as f64 / 1000.0;
        (!micros.is_empty()).then(|| Self { p50_ms: at(0.5), p99_ms: at(0.99), p999_ms: at(0.999), max_ms })
    }
}

/// One second of a run, for the plots.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Moment {
    pub(crate) second: f64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) latency: Option<Quantiles>,
    /// Processors used: 1 is one of them, fully.
    pub(crate) gateways_cpu: f64,
    pub(crate) broker_cpu: f64,
    pub(crate) clients_cpu: f64,
    pub(crate) publisher_cpu: f64,
    pub(crate) gateways_bytes: u64,
    pub(crate) broker_bytes: u64,
}

impl Outcome {
    /// Whether every client got every event once and in order, without a gap, an error or a lost connection.
    pub(crate) fn is_sound(&self) -> bool {
        let wrong =
            [self.lost, self.duplicated, self.misordered, self.gaps, self.errors, self.connections_ended, self.rounds_late];
        self.deliveries > 0 && wrong.iter().all(|count| *count == 0)
    }

    pub(crate) fn times_floor(&self) -> Option<f64> {
        let ratios = self.runs.iter().filter_map(|run| Some(run.cpu_us_per_delivery / run.floor_us_per_delivery?));
        median(ratios.collect()).or_else(|| Some(self.cpu_us_per_delivery / self.floor_us_per_delivery?))
    }
}

/// The middle one, or the mean of the middle two; `None` of none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
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

    #[test]
    fn medians_are_of_ratios_where_runs_have_their_own_floor() {
        for (values, expected) in
            [(vec![], None), (vec![3.0], Some(3.0)), (vec![9.0, 1.0], Some(5.0)), (vec![9.0, 1.0, 2.0], Some(2.0))]
        {
            assert_eq!(median(values.clone()), expected, "{values:?}");
        }
        let run = |cpu, floor| OneRun { cpu_us_per_delivery: cpu, floor_us_per_delivery: Some(floor) };
        let noisy = vec![run(3.0, 2.0), run(6.0, 4.0), run(5.0, 1.0)];
        let outcome = Outcome { runs: noisy, cpu_us_per_delivery: 5.0, floor_us_per_delivery: Some(2.0), ..Outcome::default() };
        assert_eq!(outcome.times_floor(), Some(1.5));
        assert_eq!(Outcome { runs: Vec::new(), ..outcome }.times_floor(), Some(2.5));
    }
}
