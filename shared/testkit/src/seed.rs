//! One seed for all of a run's randomness, printed so that a failure can be run again.

use rand::{SeedableRng, rngs::StdRng};
use std::fmt;

/// The seed of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The number in `WEFT_TEST_SEED`, else a random one; printed with the words that repeat the run.
    ///
    /// # Panics
    /// `WEFT_TEST_SEED` is set but holds no number: running with another seed would answer another question.
    #[must_use]
    pub fn from_env() -> Self {
        let seed = match std::env::var("WEFT_TEST_SEED") {
            Ok(text) if !text.is_empty() => match text.parse() {
                Ok(seed) => Self(seed),
                Err(_) => panic!("WEFT_TEST_SEED={text} is no number from 0 to {}", u64::MAX),
            },
            _ => Self(rand::random()),
        };
        eprintln!("seed: {seed}");
        seed
    }

    /// A generator for one part of the run. Parts have names, so that more use in one does not change the others.
    #[must_use]
    pub fn rng(self, part: &str) -> StdRng {
        let hash = u64::from(weft_event::fingerprint(part.as_bytes()));
        StdRng::seed_from_u64(self.0 ^ hash.rotate_left(32) ^ hash)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WEFT_TEST_SEED={}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn parts_repeat_and_differ() {
        let draw = |part| Seed(7).rng(part).random::<u64>();
        assert_eq!(draw("kills"), draw("kills"));
        assert_ne!(draw("kills"), draw("clients"));
        assert_ne!(draw("kills"), Seed(8).rng("kills").random::<u64>());
    }
}
