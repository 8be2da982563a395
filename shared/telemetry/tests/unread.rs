//! A log that nobody reads any more.

use clap::Parser;
use std::process::Command;
use weft_telemetry::{LogOptions, init_logs};

/// Set in the process that logs.
const CHILD: &str = "WEFT_TEST_UNREAD";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    log: LogOptions,
}

/// Runs itself again with a standard error whose reader is gone.
#[test]
fn whoever_logs_into_a_closed_pipe_goes_on() {
    if let Some(format) = std::env::var_os(CHILD) {
        let format = format.to_string_lossy().into_owned();
        init_logs(&Cli::parse_from(["test", "--log-format", &format, "--log", "trace"]).log).expect("set up");
        (0..100).for_each(|n| tracing::info!(n, "is heard by nobody"));
        return;
    }
    for format in ["text", "json"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "whoever_logs_into_a_closed_pipe_goes_on", "--nocapture"])
            .env(CHILD, format)
            .stderr(writer)
            .output()
            .expect("runs");
        let told = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && told.contains("1 passed"), "{format}: {told}");
    }
}
