//! The recorder behind the macros of the crate `metrics`, and its Prometheus text.

use crate::{lines::DROPPED, process, runtime};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::runtime::{Handle, RuntimeMetrics};

/// Upper bounds for `*_seconds`: from 100 µs, a delivery inside one machine, to a minute, a client that came back late.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Upper bounds for `*_bytes`: from a ping to 16 MiB, by fours.
const BYTES: &[f64] = &[64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];

/// Upper bounds for every other histogram, which count things.
const COUNTS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0];

/// Upper bounds for how long something stayed, such as a connection: to a day.
const LIFETIMES: &[f64] = &[1.0, 10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 86_400.0];

/// Upper bounds for how far behind somebody is, in events: from not at all.
const LAGS: &[f64] = &[0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0];

/// The exporter keeps raw samples of histograms until this is done, so it bounds their memory.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Why metrics could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The exporter refused its settings.
    #[error("metrics exporter: {0}")]
    Build(#[from] BuildError),
    /// Other code installed a recorder in this process.
    #[error("another metrics recorder is installed already")]
    Installed,
}

/// What this process has measured.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    runtime: RuntimeMetrics,
}

impl Metrics {
    /// Installs the recorder of this process and a task that keeps its memory bounded. Must be called in a runtime.
    ///
    /// A process has one recorder: a later call returns the same one, so that a test can start several servers.
    ///
    /// # Errors
    /// Something else installed a recorder first.
    pub fn install() -> Result<Self, MetricsError> {
        // Held while installing: of two calls at once, the second must find what the first has installed.
        static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = match &*installed {
            Some(handle) => handle.clone(),
            None => {
                let recorder = builder()?.build_recorder();
                let handle = recorder.handle();
                metrics::set_global_recorder(recorder).map_err(|_| MetricsError::Installed)?;
                metrics::describe_counter!(DROPPED, "Log lines that standard error did not take in time");
                metrics::counter!(DROPPED).increment(0);
                crate::traces::describe();
                process::describe();
                runtime::describe();
                tell_build();
                installed.insert(handle).clone()
            }
        };
        drop(installed);
        let upkeep = handle.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(UPKEEP_EVERY);
            loop {
                tick.tick().await;
                upkeep.run_upkeep();
            }
        });
        Ok(Self { handle, runtime: Handle::current().metrics() })
    }

    /// Everything in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        process::collect();
        runtime::collect(&self.runtime);
        self.handle.render()
    }
}

/// Which program this is: dashboards join it to what else they show, so that a rollout can be seen in any of it.
fn tell_build() {
    const BUILD: &str = "weft_build_info";
    metrics::describe_gauge!(BUILD, "1; which version of the program this is");
    let revision = option_env!("WEFT_REVISION").unwrap_or("unknown");
    metrics::gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION"), "revision" => revision).set(1.0);
}

/// Every histogram gets explicit buckets: the exporter's default is a summary, whose quantiles of several processes
/// cannot be put together.
fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(COUNTS)?
        .set_buckets_for_metric(Matcher::Full("weft_gateway_connection_seconds".into()), LIFETIMES)?
        .set_buckets_for_metric(Matcher::Suffix("_lag_events".into()), LAGS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".into()), BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_histogram_has_buckets() {
        let recorder = builder().expect("builder").build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("test_wait_seconds").record(0.0002);
            metrics::histogram!("test_frame_bytes").record(100.0);
            metrics::histogram!("test_rooms").record(3.0);
            metrics::histogram!("test_lag_events").record(0.0);
            metrics::histogram!("weft_gateway_connection_seconds").record(1700.0);
        });
        let text = handle.render();
        for line in [
            "test_wait_seconds_bucket{le=\"0.00025\"} 1",
            "test_wait_seconds_bucket{le=\"60\"} 1",
            "test_frame_bytes_bucket{le=\"256\"} 1",
            "test_rooms_bucket{le=\"5\"} 1",
            "test_lag_events_bucket{le=\"0\"} 1",
            "weft_gateway_connection_seconds_bucket{le=\"1800\"} 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(!text.contains("quantile"), "{text}");
    }

    #[tokio::test]
    async fn the_process_itself_is_measured() {
        let text = Metrics::install().expect("metrics").render();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in\n{text}"));
            line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{line}"))
        };
        assert_eq!(value("weft_runtime_workers "), 1.0);
        assert!(value("weft_runtime_tasks ") >= 1.0, "the upkeep's");
        for name in ["weft_runtime_busy_seconds_total ", "weft_runtime_waiting_tasks "] {
            assert!(value(name) >= 0.0, "{name}");
        }
        for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
            assert!(value(name) >= 0.0, "{name}");
        }
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert_eq!(value("weft_build_info{"), 1.0);
    }

    #[tokio::test]
    async fn installing_again_gives_the_same_recorder() {
        let first = Metrics::install().expect("first");
        let second = Metrics::install().expect("second");
        metrics::counter!("test_installed_total").increment(1);
        assert!(first.render().contains("test_installed_total 1"));
        assert!(second.render().contains("test_installed_total 1"));
    }
}
