//! Logs, metrics, traces and the admin port of a process.
//!
//! A `main` reads [`LogOptions`] and [`TraceOptions`] with its other settings, calls [`init_logs`] and [`init_traces`]
//! (and keeps the [`Log`] and the [`Traces`] to its end) and [`Metrics::install`], gives a
//! [`Readiness`] to whatever must be up before traffic comes, and spawns [`serve_admin`]. Code elsewhere only uses
//! the macros of `tracing` and `metrics`.

mod admin;
mod lines;
mod logs;
mod metrics;
mod process;
mod readiness;
mod runtime;
mod settings;
mod traces;

pub use self::{
    admin::serve_admin,
    logs::{Log, LogError, LogFormat, LogOptions, init_logs},
    metrics::{Metrics, MetricsError},
    readiness::Readiness,
    settings::in_one_line,
    traces::{TraceError, TraceOptions, Traces, init_traces},
};
