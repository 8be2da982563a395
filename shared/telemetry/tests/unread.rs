//! A log that nobody reads, any more or at all.

use clap::Parser;
use std::{
    io::{PipeReader, Read, Write},
    process::{Command, Output},
};
use weft_telemetry::{LogOptions, Metrics, init_logs};

/// Set in the process that logs, to the format of its lines.
const CHILD: &str = "WEFT_TEST_UNREAD";

/// Far more than a pipe and the log's own buffer hold.
const LINES: usize = 40_000;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    log: LogOptions,
}

/// In the child: logs, and says on standard output what was dropped.
fn log(format: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let metrics = runtime.block_on(async { Metrics::install().expect("metrics") });
    let log = init_logs(&Cli::parse_from(["test", "--log-format", format, "--log", "trace"]).log).expect("set up");
    (0..LINES).for_each(|n| tracing::info!(n, "{}", "is heard by nobody ".repeat(4)));
    log.say("the last line");
    drop(log);
    writeln!(std::io::stdout(), "{}", metrics.render()).expect("standard output");
}

/// Runs one of these tests again, in a process whose standard error is `stderr`.
fn child(test: &str, format: &str, stderr: std::io::PipeWriter) -> Output {
    let this = std::env::current_exe().expect("this test");
    Command::new(this).args(["--exact", test, "--nocapture"]).env(CHILD, format).stderr(stderr).output().expect("runs")
}

/// How many lines it says were dropped.
fn dropped(output: &Output) -> u64 {
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    let counter = told.lines().find_map(|line| line.strip_prefix("weft_log_lines_dropped_total "));
    counter.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no counter in {told}"))
}

#[test]
fn whoever_logs_into_a_closed_pipe_goes_on() {
    if let Some(format) = std::env::var_os(CHILD) {
        return log(&format.to_string_lossy());
    }
    for format in ["text", "json"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        // What is said last may be under way at the end of the child, and is no line of the log.
        let dropped = dropped(&child("whoever_logs_into_a_closed_pipe_goes_on", format, writer));
        assert!(dropped >= LINES as u64, "{format}: {dropped}");
    }
}

#[test]
fn whoever_logs_into_a_pipe_that_is_full_goes_on() {
    if let Some(format) = std::env::var_os(CHILD) {
        return log(&format.to_string_lossy());
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let dropped = dropped(&child("whoever_logs_into_a_pipe_that_is_full_goes_on", "json", writer));
    assert!((1..LINES as u64).contains(&dropped), "{dropped}");
    drop(reader);
}

#[test]
fn what_is_read_is_whole_and_comes_before_the_end() {
    if let Some(format) = std::env::var_os(CHILD) {
        let log = init_logs(&Cli::parse_from(["test", "--log-format", &*format.to_string_lossy()]).log).expect("set up");
        (0..1000).for_each(|n| tracing::info!(n, "is heard"));
        log.say("the last line");
        return;
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let reading = std::thread::spawn(|| {
        let (mut reader, mut text): (PipeReader, String) = (reader, String::new());
        reader.read_to_string(&mut text).expect("text");
        text
    });
    let output = child("what_is_read_is_whole_and_comes_before_the_end", "json", writer);
    assert!(output.status.success());
    let text = reading.join().expect("read");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("is heard")).collect();
    assert_eq!(lines.len(), 1000);
    assert!(lines.iter().enumerate().all(
        |(n, line)| line.starts_with('{') && line.contains(&format!("\"n\":{n},")) || line.ends_with(&format!("\"n\":{n}}}"))
    ));
    assert_eq!(text.lines().last(), Some("the last line"));
}
