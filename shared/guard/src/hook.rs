//! The application's own word on who may follow what: one POST for each question, remembered for a while.
//!
//! Asked `{"subject","tenant","tokenId","room","action":"follow"}`; it answers `{"decision":"allow"|"deny"|"abide"}`.
//! `allow` lets somebody follow whom claims and ownership would not, inside its
//! tenant; `deny` is final; `abide` leaves it to claims and ownership. Whatever else comes, or comes too late, is no answer, and without an answer nobody follows.

use crate::{Identity, fetch, meters, object};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use weft_event::Room;

/// Questions under way at once; further ones wait.
const ASKED_AT_ONCE: usize = 64;
/// Questions that may wait; further ones are not asked, and so answered with no.
const WAITING_MAX: usize = 4096;
/// Most answers remembered; when full, those that have expired are forgotten, and if none has, all.
const REMEMBERED_MAX: usize = 50_000;
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What the application says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may, whatever claims and ownership say.
    Allow,
    /// It may not.
    Deny,
    /// As claims and ownership say.
    Abide,
}

/// The hook gave no answer; nobody follows. Worth another try.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authorization hook gave no answer: {0}")]
pub struct NoAnswer(pub String);

/// How the hook is asked.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// How long an answer may take, waiting included.
    pub timeout: Duration,
    /// How long an answer is remembered; zero asks every time.
    pub remembered: Duration,
}

/// The client of the hook.
pub struct Hook {
    url: reqwest::Url,
    client: reqwest::Client,
    times: Times,
    turns: Semaphore,
    waiting: AtomicUsize,
    /// By a keyed hash of the question: 128 bits that nobody can aim at.
    answers: Mutex<HashMap<(u64, u64), (Decision, Instant)>>,
    hashers: [RandomState; 2],
}

#[derive(Hash, Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'q> {
    subject: &'q str,
    tenant: Option<&'q str>,
    token_id: Option<&'q str>,
    room: &'q str,
    action: &'static str,
}

impl Hook {
    /// Reads the URL: `https`, or `http` to this machine itself, or to others where that is allowed.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn new(url: &str, may_be_plain: bool, times: Times) -> Result<Self, String> {
        let url = fetch::url(url, may_be_plain)?;
        let client = fetch::client(&url, times.timeout)?;
        Ok(Self {
            url,
            client,
            times,
            turns: Semaphore::new(ASKED_AT_ONCE),
            waiting: AtomicUsize::new(0),
            answers: Mutex::default(),
            hashers: [RandomState::new(), RandomState::new()],
        })
    }

    /// May this identity follow this room of its tenant?
    pub async fn ask(&self, identity: &Identity, room: &Room) -> Result<Decision, NoAnswer> {
        let question = Question {
            subject: &identity.subject,
            tenant: identity.tenant.as_deref(),
            token_id: identity.token_id.as_deref(),
            room: room.name(),
            action: "follow",
        };
        let key = (self.hashers[0].hash_one(&question), self.hashers[1].hash_one(&question));
        if let Some(decision) = self.remembered(key) {
            meters::hook("remembered");
            return Ok(decision);
        }
        let _place = Waiting::enter(&self.waiting).ok_or_else(|| {
            meters::hook("crowded");
            NoAnswer("too many questions wait".into())
        })?;
        let answered = tokio::time::timeout(self.times.timeout, self.post(&question)).await;
        let decision = answered.map_err(|_| "no answer in time".to_owned()).flatten().map_err(|reason| {
            meters::hook("failed");
            tracing::warn!(%reason, "the authorization hook gave no answer, so nobody follows");
            NoAnswer(reason)
        })?;
        meters::hook(match decision {
            Decision::Allow => "allow",
            Decision::Deny => "deny",
            Decision::Abide => "abide",
        });
        self.remember(key, decision);
        Ok(decision)
    }

    async fn post(&self, question: &Question<'_>) -> Result<Decision, String> {
        #[derive(Deserialize)]
        struct Answer {
            decision: Decision,
        }
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        let body = fetch::answer(self.client.post(self.url.clone()).json(question), ANSWER_BYTES_MAX).await?;
        let answer: Answer = object::read(&body).ok_or("the answer holds no decision")?;
        Ok(answer.decision)
    }

    fn remembered(&self, key: (u64, u64)) -> Option<Decision> {
        let answers = self.answers.lock();
        answers.get(&key).filter(|(_, at)| at.elapsed() < self.times.remembered).map(|(decision, _)| *decision)
    }

    fn remember(&self, key: (u64, u64), decision: Decision) {
        if self.times.remembered.is_zero() {
            return;
        }
        let mut answers = self.answers.lock();
        if answers.len() >= REMEMBERED_MAX {
            answers.retain(|_, (_, at)| at.elapsed() < self.times.remembered);
        }
        if answers.len() >= REMEMBERED_MAX {
            answers.clear();
        }
        answers.insert(key, (decision, Instant::now()));
    }
}

/// A place among those that wait.
struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn enter(waiting: &'w AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        // Dropped when there is none, which takes the count back.
        (waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
