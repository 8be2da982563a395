//! The token that the gateway has seen, and when another is worth showing.

use crate::gateway::Gateways;
use tokio::time::{Duration, Instant};

/// Between two looks for a newer token on one connection: one that lives for less than the gateway's warning is near its end
/// from the beginning.
const PAUSE: Duration = Duration::from_secs(5);

/// What one connection has shown.
#[derive(Default)]
pub(super) struct Shown {
    token: Option<String>,
    looked_at: Option<Instant>,
}

impl Shown {
    /// A connection begins with this token.
    pub(super) fn begin(&mut self, token: Option<&str>) {
        *self = Self { token: token.map(str::to_owned), looked_at: None };
    }

    /// The token is about to expire: a newer one, if there is one by now. What the gateway has seen is not shown again, because
    /// it would warn again, at once; with that one it closes the connection in time, and the next one decides.
    pub(super) fn newer(&mut self, gateways: &Gateways) -> Option<String> {
        let is_too_soon = self.looked_at.is_some_and(|at| at.elapsed() < PAUSE);
        if is_too_soon || !gateways.renews_token() {
            return None;
        }
        self.looked_at = Some(Instant::now());
        // A file that cannot be read just now is being written.
        let token = gateways.token().ok().flatten().filter(|token| self.token.as_ref() != Some(token))?;
        self.token = Some(token.clone());
        Some(token)
    }
}
