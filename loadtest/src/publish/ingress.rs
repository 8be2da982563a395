//! Publishes through a gateway's `POST /api/events`.

use super::{
    event::{Event, Shape},
    http_client,
};
use crate::error::Failure;
use std::{net::SocketAddr, time::Duration};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Events of one request …
const EVENTS_A_REQUEST: usize = 500;
/// … and bytes, of the 8 MiB that a gateway takes.
const BYTES_A_REQUEST: usize = 4 << 20;

pub(crate) struct Ingress {
    client: reqwest::Client,
    url: String,
    token: Option<String>,
    shape: Shape,
}

impl Ingress {
    pub(crate) fn new(gateway: SocketAddr, shape: Shape, token: Option<String>) -> Result<Self, Failure> {
        Ok(Self { client: http_client(REQUEST_TIMEOUT)?, url: format!("http://{gateway}/api/events"), token, shape })
    }

    pub(crate) async fn send(&self, events: &[Event]) -> Result<(), Failure> {
        let most = (BYTES_A_REQUEST / self.shape.bytes.max(1) as usize).clamp(1, EVENTS_A_REQUEST);
        for events in events.chunks(most) {
            let lines: Vec<_> = events.iter().map(|event| self.shape.body(*event) + "\n").collect();
            self.post(lines.concat(), events.len()).await?;
        }
        Ok(())
    }

    async fn post(&self, body: String, events: usize) -> Result<(), Failure> {
        let request = self.client.post(&self.url).header("content-type", "application/x-ndjson").body(body);
        let request = self.token.iter().fold(request, |request, token| request.bearer_auth(token));
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        let accepted = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|answer| answer["accepted"].as_u64());
        if status.as_u16() == 202 && accepted == Some(events as u64) {
            return Ok(());
        }
        Err(Failure::Publish(format!("{status} for {events} events: {text}")))
    }
}
