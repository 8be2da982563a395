//! Runs workflows as real processes and publishes what happens.
