//! When a ping went out. It travels with the ping where it can, so that a connection need not remember it.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A moment, in microseconds of a clock of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64);

impl Stamp {
    pub(super) fn now() -> Self {
        Self(u64::try_from(BEGAN.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// All that a session without such payloads keeps of it: as good as the whole for an hour, and never 0.
    pub(super) fn short(self) -> u32 {
        self.0 as u32 | 1
    }

    /// Since a moment that was kept so.
    pub(super) fn elapsed_since(short: u32) -> Duration {
        Duration::from_micros(u64::from((Self::now().0 as u32 | 1).wrapping_sub(short)))
    }

    /// As the payload of a ping.
    pub(super) fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// From the payload of a pong, if it is one of ours.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        payload.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }

    /// Since then. What a client made up lies in the future, or is so long ago that nobody waits for it.
    pub(super) fn elapsed(self) -> Option<Duration> {
        Self::now().0.checked_sub(self.0).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_and_comes_back_counts() {
        let sent = Stamp::now();
        assert!(Stamp::read(&sent.bytes()).and_then(Stamp::elapsed).is_some());
        assert_eq!(Stamp::read(b""), None);
        assert_eq!(Stamp::read(b"123456789"), None);
        assert_eq!(Stamp(u64::MAX).elapsed(), None);
        assert!(Stamp::elapsed_since(Stamp::now().short()) < Duration::from_secs(60));
    }
}
