//! The keys behind a URL, which change while the gateway runs.
//!
//! A token with an unknown `kid` asks for a fetch, and there is at most one in [`Times::pause`], so that made-up key ids
//! cannot make the gateway flood its identity provider. A fetch that was begun is finished, whoever asked for it: clients
//! that ask and leave cannot keep a new key away from others. While the provider is away the last keys serve, up to
//! [`Times::stale`].

use crate::{
    Refused, fetch,
    keys::{BadKey, KeySet},
    meters,
};
use parking_lot::RwLock;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Largest JWKS that is read.
const JWKS_BYTES_MAX: usize = 256 * 1024;
/// How long one fetch may take, to the last byte.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// When keys are fetched, and how long they serve.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Between two fetches that unknown keys ask for, and after one that failed.
    pub pause: Duration,
    /// Between two fetches that nobody asks for.
    pub every: Duration,
    /// How long keys serve after the last successful fetch.
    pub stale: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { pause: Duration::from_secs(10), every: Duration::from_secs(300), stale: Duration::from_secs(3600) }
    }
}

/// The keys behind a URL.
pub struct Jwks {
    url: reqwest::Url,
    client: reqwest::Client,
    times: Times,
    state: RwLock<State>,
    fetching: tokio::sync::Mutex<()>,
}

struct State {
    keys: Arc<KeySet>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
}

impl Jwks {
    /// Reads the URL: `https`, or `http` to this machine itself, or to others where that is allowed.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn new(url: &str, may_be_plain: bool, times: Times) -> Result<Self, BadKey> {
        let url = fetch::url(url, may_be_plain).map_err(BadKey)?;
        let client = fetch::client(&url, FETCH_TIMEOUT).map_err(BadKey)?;
        let state = State { keys: Arc::new(KeySet::unpublished()), fetched_at: None, tried_at: None };
        Ok(Self { url, client, times, state: RwLock::new(state), fetching: tokio::sync::Mutex::default() })
    }

    /// The keys in force, unless they are too old.
    pub fn keys(&self) -> Result<Arc<KeySet>, Refused> {
        let state = self.state.read();
        let is_fresh = state.fetched_at.is_some_and(|at| at.elapsed() < self.times.stale);
        if is_fresh { Ok(state.keys.clone()) } else { Err(Refused::Stale) }
    }

    /// Fetches because a token names a key that is not in `known`; whether there are newer keys now. Those who ask
    /// meanwhile wait for the same fetch.
    pub async fn look_again(self: &Arc<Self>, known: &Arc<KeySet>) -> bool {
        let is_under_way = self.fetching.try_lock().is_err();
        if !is_under_way && !self.has_newer_than(known) && !self.may_fetch() {
            return false;
        }
        let (jwks, known) = (self.clone(), known.clone());
        let fetch = tokio::spawn(async move {
            let _turn = jwks.fetching.lock().await;
            jwks.has_newer_than(&known) || (jwks.may_fetch() && jwks.fetch().await)
        });
        fetch.await.unwrap_or(false)
    }

    fn has_newer_than(&self, known: &Arc<KeySet>) -> bool {
        !Arc::ptr_eq(&self.state.read().keys, known)
    }

    fn may_fetch(&self) -> bool {
        self.state.read().tried_at.is_none_or(|at| at.elapsed() >= self.times.pause)
    }

    /// Fetches now and then, for the life of the process.
    pub async fn keep(&self) {
        loop {
            let has_fetched = {
                let _turn = self.fetching.lock().await;
                self.fetch().await
            };
            tokio::time::sleep(if has_fetched { self.times.every } else { self.times.pause }).await;
        }
    }

    async fn fetch(&self) -> bool {
        self.state.write().tried_at = Some(Instant::now());
        let outcome = match self.read().await {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "the JWKS was fetched");
                let mut state = self.state.write();
                (state.keys, state.fetched_at) = (Arc::new(keys), Some(Instant::now()));
                "fetched"
            }
            Err(error) => {
                tracing::warn!(%error, "the JWKS could not be fetched; the last keys serve on");
                "failed"
            }
        };
        meters::jwks(outcome);
        outcome == "fetched"
    }

    async fn read(&self) -> Result<KeySet, BadKey> {
        let body = fetch::answer(self.client.get(self.url.clone()), JWKS_BYTES_MAX).await.map_err(BadKey)?;
        KeySet::of_jwks(&body)
    }
}
