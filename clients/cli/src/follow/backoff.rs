//! How long to wait before coming back: full jitter, so that those who were lost together come back apart.

use std::time::Duration;

/// The bound of the first pause, doubled with each attempt up to the last.
const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(30);
/// How long a connection must have lasted to count as one.
const STABLE: Duration = Duration::from_secs(10);
/// Longest that a gateway's hint can ask for.
const HINT_MAX: Duration = Duration::from_secs(300);

/// The pauses between connections.
#[derive(Default)]
pub struct Backoff {
    attempts: u32,
    hint: Option<Duration>,
}

impl Backoff {
    /// The service said when to come back: counts for the next pause.
    pub fn hint(&mut self, after: Duration) {
        self.hint = Some(after.min(HINT_MAX));
    }

    /// A connection has ended after so long.
    pub fn ended(&mut self, lasted: Duration) {
        if lasted >= STABLE {
            self.attempts = 0;
        }
    }

    /// The next pause, with `random` between 0 and 1; `later` asks for one that may be long from the start.
    pub fn next(&mut self, random: f64, later: bool) -> Duration {
        if later {
            self.attempts = self.attempts.max(3);
        }
        let bound = BASE.saturating_mul(2_u32.saturating_pow(self.attempts)).min(CAP);
        self.attempts += 1;
        self.hint.take().unwrap_or_else(|| bound.mul_f64(random.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_a_bound() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..8).map(|_| backoff.next(1.0, false).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        backoff.ended(Duration::from_secs(9));
        assert_eq!(backoff.next(1.0, false), CAP, "a connection that was lost at once is no success");
        backoff.ended(STABLE);
        assert_eq!(backoff.next(1.0, false), BASE);
        assert_eq!(Backoff::default().next(1.0, true).as_millis(), 4000);
        assert_eq!(Backoff::default().next(0.0, false), Duration::ZERO);
    }

    #[test]
    fn a_hint_counts_once() {
        let mut backoff = Backoff::default();
        backoff.hint(Duration::from_millis(7));
        assert_eq!(backoff.next(1.0, true).as_millis(), 7);
        assert_eq!(backoff.next(1.0, false).as_millis(), 8000);
        backoff.hint(Duration::from_secs(100_000));
        assert_eq!(backoff.next(1.0, false), HINT_MAX);
    }
}
