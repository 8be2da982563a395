//! The scripts, and running them. Each is atomic on the primary that owns its keys.

use super::connection::bus_error;
use crate::BusError;
use fred::{
    clients::{Client, WithOptions},
    error::Error,
    interfaces::LuaInterface,
    types::Value,
    util::sha1_hash,
};
use std::sync::LazyLock;

/// Attempts at a command that may run twice.
const ATTEMPTS: usize = 3;

/// A script and its digest.
pub(super) struct Script {
    source: &'static str,
    digest: LazyLock<String>,
}

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: Script =
            Script { source: include_str!($file), digest: LazyLock::new(|| sha1_hash(include_str!($file))) };
    };
}

script!(PUBLISH, "lua/publish.lua");
script!(READ, "lua/read.lua");
script!(TAIL, "lua/tail.lua");
script!(RENEW_EPOCH, "lua/renew_epoch.lua");
script!(STORE_HEAD, "lua/store_head.lua");
script!(LIST_HEAD, "lua/list_head.lua");
script!(CLAIM, "lua/claim.lua");
script!(ANNOUNCE, "lua/announce.lua");
script!(PRESENT, "lua/present.lua");
script!(WRITE_LINE, "lua/write_line.lua");
script!(REGISTER, "lua/register.lua");

impl Script {
    /// Runs it by its digest, sending the source where the server does not know it yet.
    pub(super) async fn run(&self, data: &WithOptions<Client>, keys: Vec<String>, args: Vec<Value>) -> Result<Value, Error> {
        match data.evalsha(self.digest.as_str(), keys.clone(), args.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => data.eval(self.source, keys, args).await,
            other => other,
        }
    }

    /// [`Script::run`] for scripts that may run twice.
    pub(super) async fn ask(&self, data: &WithOptions<Client>, keys: Vec<String>, args: Vec<Value>) -> Result<Value, BusError> {
        repeat(|| self.run(data, keys.clone(), args.clone())).await
    }
}

/// Runs what may run twice, and again where a cluster's slot has just moved: the crate spends its one attempt on
/// finding out where to.
pub(super) async fn repeat<T, F: Future<Output = Result<T, Error>>>(attempt: impl Fn() -> F) -> Result<T, BusError> {
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(error) if error.details().starts_with("Too many failed write attempts") => {}
            other => return other.map_err(|error| bus_error(&error)),
        }
    }
    attempt().await.map_err(|error| bus_error(&error))
}
