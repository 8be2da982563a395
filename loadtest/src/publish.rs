//! Publishes rounds of numbered events through the gateway's `POST /api/events`.

use crate::{client::COUNTER_KEY, error::Failure, scenario::Scenario};
use std::{fmt::Write as _, time::Duration};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Events of one request.
const EVENTS_A_REQUEST: usize = 500;
/// What an event has beside its padding, about.
const ENVELOPE_BYTES: usize = 100;

pub(crate) struct Publish {
    client: reqwest::Client,
    url: String,
    padding: String,
}

/// A client that talks to loopback directly.
pub(crate) fn http_client(timeout: Duration) -> Result<reqwest::Client, Failure> {
    // The second call finds a provider there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(timeout).no_proxy().build();
    client.map_err(|error| Failure::Publish(error.to_string()))
}

impl Publish {
    pub(crate) fn new(base_url: &str, event_bytes: u32) -> Result<Self, Failure> {
        Ok(Self {
            client: http_client(REQUEST_TIMEOUT)?,
            url: format!("{base_url}/api/events"),
            padding: "x".repeat((event_bytes as usize).saturating_sub(ENVELOPE_BYTES)),
        })
    }

    /// One round: the events `first..first + burst` of every room.
    pub(crate) async fn round(&self, scenario: &Scenario, first: u64, burst: u64) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for counter in first..first + burst {
            for room in 0..scenario.rooms {
                lines.push(self.event(scenario, room, counter));
            }
        }
        for request in lines.chunks(EVENTS_A_REQUEST) {
            self.post(request.concat(), request.len()).await?;
        }
        Ok(())
    }

    fn event(&self, scenario: &Scenario, room: u32, counter: u64) -> String {
        let mut line = String::with_capacity(self.padding.len() + 2 * ENVELOPE_BYTES);
        let execution = scenario.execution(room);
        let _ = writeln!(
            line,
            "{{\"type\":\"log\",\"executionId\":\"{execution}\",\"data\":{{{COUNTER_KEY}{counter},\"level\":\"info\",\"message\":\"{}\"}}}}",
            self.padding
        );
        line
    }

    async fn post(&self, body: String, events: usize) -> Result<(), Failure> {
        let request = self.client.post(&self.url).header("content-type", "application/x-ndjson").body(body);
        let answer = request.send().await.map_err(|error| Failure::Publish(format!("{error:?}")))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| Failure::Publish(error.to_string()))?;
        let accepted = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|answer| answer["accepted"].as_u64());
        if status.as_u16() == 202 && accepted == Some(events as u64) {
            return Ok(());
        }
        Err(Failure::Publish(format!("{status} for {events} events: {text}")))
    }
}
