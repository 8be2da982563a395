//! How the program ends: the codes that scripts compare, and the sentence that goes with each failure.

use std::{fmt, process::ExitCode};

/// What the exit code says. The large ones are those of sysexits.h, as in the other programs of Weft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; of an execution that was waited for: it completed.
    Done = 0,
    /// The gateway, the executor or the broker said no, or not everything could be stored.
    Refused = 1,
    /// The execution failed.
    Failed = 3,
    /// The execution was cancelled.
    Cancelled = 4,
    /// Flags or settings that cannot be used (`EX_USAGE`).
    Usage = 64,
    /// Input that breaks a rule (`EX_DATAERR`).
    Input = 65,
    /// Nobody there: no gateway, no broker, no executor (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// The token is missing, wrong, or does not allow it (`EX_NOPERM`).
    Denied = 77,
    /// Left by Ctrl-C.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// What an execution's last event or status says: `execution:failed` or `failed`. `None` while it goes on.
    #[must_use]
    pub fn of_execution(word: &str) -> Option<Self> {
        match word.strip_prefix("execution:").unwrap_or(word) {
            "completed" => Some(Self::Done),
            "failed" => Some(Self::Failed),
            "cancelled" => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// What an error code of the protocol means to a script.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        match code {
            "unauthenticated" | "token_expired" | "forbidden" => Self::Denied,
            "no_executor" | "unavailable" | "draining" | "overloaded" | "timeout" | "busy" => Self::Unavailable,
            _ => Self::Refused,
        }
    }
}

/// Why a command did not do what it was asked to: one sentence for standard error, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code to leave with.
    pub exit: Exit,
    /// What happened. Empty where there is nobody to tell, or all has been told.
    pub message: String,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// A failure with its code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A flag or setting that cannot be used.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Nobody there.
    pub fn away(message: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, message)
    }

    /// A refusal in the words of the service.
    #[must_use]
    pub fn told(code: &str, message: &str) -> Self {
        Self::new(Exit::of_code(code), if message.is_empty() { code.to_owned() } else { format!("{code}: {message}") })
    }
}

impl From<std::io::Error> for Failure {
    /// Standard output is gone. A reader that has seen enough, as `head` has, is no failure.
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::new(Exit::Done, ""),
            _ => Self::new(Exit::Refused, format!("standard output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_ends_with_a_code_of_its_own() {
        for (word, exit) in [
            ("execution:completed", Some(Exit::Done)),
            ("completed", Some(Exit::Done)),
            ("execution:failed", Some(Exit::Failed)),
            ("cancelled", Some(Exit::Cancelled)),
            ("running", None),
            ("node:failed", None),
            ("execution:started", None),
        ] {
            assert_eq!(Exit::of_execution(word), exit, "{word}");
        }
    }

    #[test]
    fn codes_of_the_protocol_sort_into_few() {
        for error in weft_dialect::told::ERRORS {
            let expected = match error.http {
                401 | 403 => Exit::Denied,
                503 | 504 => Exit::Unavailable,
                _ => Exit::Refused,
            };
            assert_eq!(Exit::of_code(error.code), expected, "{}", error.code);
        }
    }
}
