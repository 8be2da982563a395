//! A publisher of numbered events by HTTP, which keeps the log that the checker believes.

use crate::{Fault, Result, history::Published};
use rand::{Rng, rngs::StdRng};
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Longer than any broker or gateway is away in a test. After it an event stays unacknowledged.
const RETRY_FOR: Duration = Duration::from_secs(60);

/// A gateway that was killed refuses at once; one that was stopped does not answer at all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// A source of events. It publishes one batch at a time, and the next only when all of this one is acknowledged, so
/// that the order of its numbers is the order that the rooms must show.
pub struct Source {
    name: Arc<str>,
    gateways: Vec<String>,
    http: reqwest::Client,
    rng: StdRng,
    /// The last number given out, by execution.
    counters: FxHashMap<Arc<str>, u64>,
    log: Vec<Published>,
    retries: u64,
    /// Bytes of text in each event.
    padding: usize,
}

impl Source {
    /// `gateways` are base URLs; each batch begins with a random one.
    #[must_use]
    pub fn new(name: &str, gateways: &[String], rng: StdRng) -> Self {
        Self {
            name: name.into(),
            gateways: gateways.to_vec(),
            http: crate::http::client(),
            rng,
            counters: FxHashMap::default(),
            log: Vec::new(),
            retries: 0,
            padding: 60,
        }
    }

    /// Bytes of text in each event from now on.
    pub fn set_padding(&mut self, bytes: usize) {
        self.padding = bytes;
    }

    /// Publishes the next `count` events of an execution and waits until they are acknowledged, trying again with the
    /// same ids, at any gateway, for a minute.
    ///
    /// # Errors
    /// A gateway refused an event for good. (Not: no acknowledgement within the minute; the log says so then.)
    pub async fn publish(&mut self, execution: &str, user: Option<&str>, count: u64) -> Result<bool> {
        let began = Instant::now();
        let first = self.log.len();
        let events: Vec<Value> = (0..count).map(|_| self.next(execution, user, began)).collect();
        let body = Value::Array(events).to_string();
        while began.elapsed() < RETRY_FOR {
            if self.attempt(&body).await? {
                self.log[first..].iter_mut().for_each(|event| event.acked = true);
                return Ok(true);
            }
            self.retries += 1;
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(20..200))).await;
        }
        Ok(false)
    }

    /// What it has tried so far.
    #[must_use]
    pub fn log(&self) -> &[Published] {
        &self.log
    }

    /// What it has tried, and how many attempts had to be repeated.
    #[must_use]
    pub fn finish(self) -> (Vec<Published>, u64) {
        (self.log, self.retries)
    }

    /// Every kind that clients treat differently occurs: logs, latest-wins progress, mergeable tokens.
    fn next(&mut self, execution: &str, user: Option<&str>, began: Instant) -> Value {
        let counter = self.counters.entry(execution.into()).or_default();
        *counter += 1;
        let counter = *counter;
        let id = format!("{}.{execution}.{counter}", self.name);
        let text = "x".repeat(self.padding);
        let mut rooms: Vec<Arc<str>> = vec![format!("execution:{execution}").into()];
        rooms.extend(user.map(|user| Arc::from(format!("user:{user}"))));
        let mut data = json!({"n": counter, "source": *self.name});
        let mut event = json!({"id": id, "executionId": execution});
        // Tokens stand side by side, for only such ones can be joined, and differ in nothing but their text and `index`.
        // Dialects that show neither ids nor numbers show a message, or a node: there the event is known by these.
        let kind = match counter % 8 {
            5 => {
                data["progress"] = json!(counter % 100);
                data["currentNode"] = json!(id);
                "execution:progress"
            }
            6 | 7 => {
                data = json!({"token": text, "index": counter, "source": *self.name});
                event["agentId"] = json!("writer");
                rooms.push(format!("agent:writer:{execution}").into());
                "agent:token"
            }
            _ => {
                data["level"] = json!("info");
                data["message"] = json!(format!("{id} {text}"));
                "log"
            }
        };
        event["type"] = json!(kind);
        event["data"] = data;
        if let Some(user) = user {
            event["userId"] = json!(user);
        }
        let source = Arc::clone(&self.name);
        let kind = Some(kind.into());
        self.log.push(Published { id: id.into(), rooms: rooms.into(), source, kind, counter, began, acked: false });
        event
    }

    /// Whether all of the batch was acknowledged.
    async fn attempt(&mut self, body: &str) -> Result<bool> {
        let gateway = &self.gateways[self.rng.random_range(0..self.gateways.len())];
        let request = self.http.post(format!("{gateway}/api/events")).header("content-type", "application/json");
        let Ok(answer) = request.timeout(ATTEMPT_TIMEOUT).body(body.to_owned()).send().await else { return Ok(false) };
        let status = answer.status();
        if status.as_u16() == 202 {
            return Ok(true);
        }
        if status.is_server_error() || status.as_u16() == 429 {
            return Ok(false);
        }
        let said = answer.text().await.unwrap_or_default();
        Err(Fault::said(format!("{} published", self.name), format!("{status} {said}")))
    }
}
