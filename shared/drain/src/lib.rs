//! How a process leaves: signals, phases, deadlines.
