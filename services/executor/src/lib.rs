//! Runs workflows as real processes and publishes what happens.
//!
//! An order (by HTTP or as a command) names a [`workflow`] of the workflow directory. The [`executor`] admits it,
//! makes it reachable for commands ([`reach`]) and hands it to the [`engine`], which runs its nodes ([`steps`],
//! [`process`]) and tells everything through the [`reporter`], the one file that knows the publisher. Commands come
//! over the bus or along a [`gateway`]'s stream and are answered in [`commands`].
//!
//! It runs commands, so it is no open door ([`door`]): commands are written only in files of the workflow directory
//! ([`definition`] reads them), and what a request brings can become a value, never code ([`template`]).
//!
//! Reading order: [`workflow`], [`definition`], [`template`]; [`executor`], [`executions`], [`place`], [`engine`], [`steps`],
//! [`process`], [`prompts`], [`reporter`]; [`reach`], [`commands`], [`gateway`]; [`http`], [`door`], [`refusal`];
//! [`config`], [`metrics`]. [`run`] puts them together.

mod client;
pub mod commands;
pub mod config;
pub mod definition;
pub mod door;
pub mod engine;
pub mod executions;
pub mod executor;
pub mod gateway;
pub mod http;
pub mod metrics;
pub mod place;
pub mod process;
pub mod prompts;
pub mod reach;
pub mod refusal;
pub mod reporter;
mod run;
pub mod steps;
pub mod template;
pub mod workflow;

pub use config::{Config, Link, Settings};
pub use run::{Way, run};
