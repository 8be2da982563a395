//! Log lines on standard error, as JSON or text.

use crate::lines::Lines;
use clap::{Args, ValueEnum};
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for collectors.
    Json,
    /// For people.
    #[default]
    Text,
}

/// The settings of the log.
#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// How log lines look
    #[arg(long, env = "WEFT_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: a level, or a filter such as `info,weft_bus=debug`
    #[arg(long = "log", env = "WEFT_LOG", value_name = "FILTER", default_value = "info")]
    pub log_level: String,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("WEFT_LOG: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A word that is no level: the filter would take it for a part of the program, and log nothing else.
    #[error("WEFT_LOG: '{0}' is no level (off, error, warn, info, debug, trace); for a part of the program write {0}=debug")]
    NoLevel(String),
    /// Standard error, or a thread for it, cannot be had.
    #[error("no log: {0}")]
    Unwritable(#[from] std::io::Error),
    /// This process logs already.
    #[error("a log is set up already: {0}")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// The log of this process. Keep it until the end of `main`: dropping it waits, for a second at most, until the last
/// lines are written.
#[must_use = "the last lines are written when it is dropped"]
pub struct Log(Lines);

impl Log {
    /// Says one line in plain words, after all that was logged, whatever the filter is: why the process ends.
    ///
    /// It goes the way of the others because writing to standard error directly waits for ever where nobody reads it.
    pub fn say(&self, line: &str) {
        self.0.push(format!("{line}\n").as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Sets up the log of this process; once.
///
/// Logging never waits: lines that standard error does not take are dropped, and counted in
/// `weft_log_lines_dropped_total`.
///
/// # Errors
/// The filter cannot be read, there is nothing to write to, or a log is set up already.
pub fn init_logs(options: &LogOptions) -> Result<Log, LogError> {
    check_levels(&options.log_level)?;
    let filter = EnvFilter::try_new(&options.log_level)?;
    let log = Lines::to_stderr()?;
    // A line that cannot be formatted is lost. Reporting that, to standard error itself, would wait as any write does.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone()).log_internal_errors(false);
    match options.log_format {
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
        // Colour codes are noise in a file.
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).finish().try_init()?,
    }
    Ok(Log(log))
}

fn check_levels(filter: &str) -> Result<(), LogError> {
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let mut words = filter.split(',').map(str::trim).filter(|word| !word.is_empty() && !word.contains(['=', '[']));
    words.find(|word| !is_level(word)).map_or(Ok(()), |word| Err(LogError::NoLevel(word.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        log: LogOptions,
    }

    #[test]
    fn options_have_defaults_and_flags() {
        let cli = Cli::parse_from(["test", "--log-format", "json", "--log", "warn"]);
        assert_eq!((cli.log.log_format, cli.log.log_level.as_str()), (LogFormat::Json, "warn"));
        assert!(Cli::try_parse_from(["test", "--log-format", "xml"]).is_err());
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in ["info", "INFO", "off", "info,weft_bus=debug", "warn,weft_gateway[session]=trace", "weft_bus=debug"] {
            check_levels(good).expect(good);
        }
        for bad in ["verbose", "information", "info,weft_bus", "warning"] {
            let told = check_levels(bad).expect_err(bad).to_string();
            assert!(told.starts_with("WEFT_LOG: '") && told.contains("is no level"), "{told}");
        }
    }

    #[test]
    fn a_bad_filter_is_refused_before_anything_is_installed() {
        let options = LogOptions { log_format: LogFormat::Text, log_level: "weft=loud".into() };
        let error = init_logs(&options).err().expect("no such level");
        assert!(error.to_string().starts_with("WEFT_LOG: "), "{error}");
    }
}
