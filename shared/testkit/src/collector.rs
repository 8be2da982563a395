//! An OpenTelemetry collector that keeps the spans it is sent.

use crate::{Fault, Result};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
};
use parking_lot::Mutex;
use prost::Message;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// Larger batches are no test's.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A span as it was sent; ids in hexadecimal.
#[derive(Clone, Debug)]
pub struct Span {
    /// Of which process.
    pub service: String,
    /// Its trace.
    pub trace_id: String,
    /// Itself.
    pub span_id: String,
    /// Its parent; empty at the root.
    pub parent_id: String,
    /// Its name.
    pub name: String,
    /// From begin to end, in nanoseconds.
    pub nanos: u64,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
}

/// Takes spans over OTLP/HTTP until it is dropped.
pub struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    task: AbortHandle,
}

impl Collector {
    /// Starts one on a free port.
    ///
    /// # Errors
    /// There is no port.
    pub async fn start() -> Result<Self> {
        let failed = |error: std::io::Error| Fault::said("collector", error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let kept = spans.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Who sends nonsense shows in the spans that are missing.
                tokio::spawn(serve(stream, kept.clone()));
            }
        });
        Ok(Self { url, spans, task: task.abort_handle() })
    }

    /// What to set `WEFT_OTLP_ENDPOINT` to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().clone()
    }

    /// All spans, once they are as wanted, or after `patience`.
    pub async fn until(&self, patience: Duration, are_there: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let waited = async {
            while !are_there(&self.spans.lock()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = tokio::time::timeout(patience, waited).await;
        self.spans()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, spans: Arc<Mutex<Vec<Span>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        if length > BATCH_BYTES_MAX {
            return Err(std::io::Error::other("a batch too large"));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let request = ExportTraceServiceRequest::decode(body.as_slice()).map_err(std::io::Error::other)?;
        spans.lock().extend(read(request));
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n").await?;
    }
}

fn read(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut read = Vec::new();
    for of_process in request.resource_spans {
        let resource = attributes(of_process.resource.map(|resource| resource.attributes).unwrap_or_default());
        let service = resource.get("service.name").cloned().unwrap_or_default();
        for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            read.push(Span {
                service: service.clone(),
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_id: hex(&span.parent_span_id),
                name: span.name,
                nanos: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
                attributes: attributes(span.attributes),
            });
        }
    }
    read
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.key, pair.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
