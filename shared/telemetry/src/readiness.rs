//! Whether a process should be sent new clients.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A set of named conditions that must all hold; every clone sees and changes the same set.
#[derive(Clone, Debug)]
pub struct Readiness {
    conditions: Arc<[(&'static str, AtomicBool)]>,
    draining: Arc<AtomicBool>,
}

impl Readiness {
    /// Conditions by name, none of which holds yet.
    #[must_use]
    pub fn new(names: &[&'static str]) -> Self {
        let conditions = names.iter().map(|name| (*name, AtomicBool::new(false))).collect();
        Self { conditions, draining: Arc::default() }
    }

    /// Says whether a condition holds. A name that [`Readiness::new`] was not given is an error in the program.
    pub fn set(&self, name: &str, holds: bool) {
        let known = self.conditions.iter().find(|(known, _)| *known == name);
        debug_assert!(known.is_some(), "no readiness condition is named {name}");
        match known {
            Some((_, condition)) => condition.store(holds, Ordering::Release),
            None => tracing::error!(name, "unknown readiness condition"),
        }
    }

    /// Says that this process is leaving: it is not ready from now on, whatever its conditions.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Nothing when ready, else one word: `draining`, or the first condition that does not hold.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Acquire) {
            return Some("draining");
        }
        self.conditions.iter().find(|(_, holds)| !holds.load(Ordering::Acquire)).map(|(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_all_conditions_hold_and_not_leaving() {
        let readiness = Readiness::new(&["bus", "listening"]);
        let other = readiness.clone();
        assert_eq!(readiness.missing(), Some("bus"));
        other.set("bus", true);
        assert_eq!(readiness.missing(), Some("listening"));
        other.set("listening", true);
        assert_eq!(readiness.missing(), None);
        other.set("bus", false);
        assert_eq!(readiness.missing(), Some("bus"));
        other.set("bus", true);
        other.draining();
        assert_eq!(readiness.missing(), Some("draining"));
    }
}
