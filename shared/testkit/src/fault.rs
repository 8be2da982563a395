//! What can go wrong in the test's own machinery.

use std::time::Duration;

/// Why a test could not do what it set out to do; its text is written for the person who reads the failed test.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A program that the test needs is not there.
    #[error("{what} not found ({looked}); {remedy}")]
    Missing {
        /// The program.
        what: &'static str,
        /// Where it was looked for.
        looked: String,
        /// How to get it.
        remedy: &'static str,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {after:?}{detail}")]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// What is known, such as the end of a log; may be empty.
        detail: String,
    },
    /// A process ended that should have gone on.
    #[error("{what} ended: {detail}")]
    Ended {
        /// The process.
        what: String,
        /// Its status and the end of its log.
        detail: String,
    },
    /// Files, sockets, processes.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The other side said something that its protocol does not allow, or an error.
    #[error("{what}: {said}")]
    Said {
        /// What was being done.
        what: String,
        /// What came back.
        said: String,
    },
}

/// The outcome of everything in this crate.
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn said(what: impl Into<String>, said: impl std::fmt::Display) -> Self {
        Self::Said { what: what.into(), said: said.to_string() }
    }

    pub(crate) fn late(what: impl Into<String>, after: Duration, detail: impl Into<String>) -> Self {
        Self::Late { what: what.into(), after, detail: detail.into() }
    }
}
