//! Spans, sent to an OpenTelemetry collector over OTLP/HTTP.
//!
//! Off unless an endpoint is set. Whoever makes spans uses the API of the `opentelemetry` crate and its global tracer
//! provider, which does nothing where this is off.

use clap::Args;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter as Export},
};
use std::time::Duration;

/// How long the end of a process waits for its last spans to be sent.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// The settings of traces. `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES` are read as OpenTelemetry
/// specifies them.
#[derive(Args, Clone, Debug)]
pub struct TraceOptions {
    /// OTLP/HTTP endpoint of a collector, such as `http://collector:4318`; without it there are no traces
    #[arg(long, env = "WEFT_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Share of executions that are traced, from 0 to 1, where whoever began them has not decided
    #[arg(long, env = "WEFT_TRACE_RATIO", default_value_t = 0.01, value_parser = ratio)]
    pub trace_ratio: f64,
}

impl TraceOptions {
    /// Where spans go to: the setting, or else `OTEL_EXPORTER_OTLP_ENDPOINT`, which everything else in a cluster may have
    /// already.
    #[must_use]
    pub fn endpoint(&self) -> Option<String> {
        let set = self.otlp_endpoint.clone().filter(|endpoint| !endpoint.is_empty());
        set.or_else(|| std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|endpoint| !endpoint.is_empty()))
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err("must be from 0 to 1".into()) }
}

/// Why traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The endpoint is no URL that spans can be sent to.
    #[error("WEFT_OTLP_ENDPOINT: must begin with http:// or https://")]
    Scheme,
    /// The exporter refuses the settings.
    #[error("WEFT_OTLP_ENDPOINT: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// The traces of this process. Keep it until the end of `main`: dropping it sends the last spans, for two seconds at most.
#[must_use = "the last spans are sent when it is dropped"]
pub struct Traces(Option<SdkTracerProvider>);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = &self.0 {
            // What could not be sent is counted by the exporter.
            let _ = provider.shutdown_with_timeout(LAST_SPANS);
        }
    }
}

/// Sets up the traces of this process; once, before its runtime: the exporter is a thread of its own, and its client may
/// not be made inside one.
///
/// At most 2,048 spans wait to be sent; more are dropped. Those sent and those that the collector did not take are counted
/// in `weft_trace_spans_total`.
///
/// # Errors
/// The endpoint cannot be used.
pub fn init_traces(options: &TraceOptions, service: &'static str, instance: &str) -> Result<Traces, TraceError> {
    let Some(endpoint) = options.endpoint() else {
        return Ok(Traces(None));
    };
    if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        return Err(TraceError::Scheme);
    }
    let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/').trim_end_matches("/v1/traces"));
    // One of the process may be there already; any does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(endpoint).build()?;
    let resource = Resource::builder().with_service_name(service).with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.to_owned()),
    ]);
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Counted(exporter))
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.trace_ratio))))
        .with_resource(resource.build())
        .build();
    global::set_tracer_provider(provider.clone());
    Ok(Traces(Some(provider)))
}

/// Counts what it sends.
#[derive(Debug)]
struct Counted(SpanExporter);

impl Export for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.0.export(batch).await;
        let result = if sent.is_ok() { "sent" } else { "failed" };
        metrics::counter!("weft_trace_spans_total", "result" => result).increment(spans);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// Makes the counters known from the start.
pub(crate) fn describe() {
    metrics::describe_counter!("weft_trace_spans_total", "Spans sent to the collector, or not taken by it");
    for result in ["sent", "failed"] {
        metrics::counter!("weft_trace_spans_total", "result" => result).absolute(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        let options = |endpoint: &str| TraceOptions { otlp_endpoint: Some(endpoint.into()), trace_ratio: 1.0 };
        for bad in ["collector:4318", "grpc://collector:4317", "ftp://x"] {
            let told = init_traces(&options(bad), "test", "t").err().expect(bad).to_string();
            assert!(told.starts_with("WEFT_OTLP_ENDPOINT: "), "{told}");
        }
        assert!(init_traces(&options(""), "test", "t").is_ok_and(|traces| traces.0.is_none()));
        for (text, good) in
            [("0", true), ("1", true), ("0.25", true), ("1.1", false), ("-0.1", false), ("NaN", false), ("x", false)]
        {
            assert_eq!(ratio(text).is_ok(), good, "{text}");
        }
    }
}
