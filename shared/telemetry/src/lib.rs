//! Logs, metrics and the admin port of a process.
