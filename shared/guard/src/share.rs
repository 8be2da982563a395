//! How many: connections counted by address or user, given back when they end.

use parking_lot::Mutex;
use std::{collections::HashMap, hash::Hash, sync::Arc};

/// Hashed with a key of the process: clients choose their addresses.
type Counts<K> = Arc<Mutex<HashMap<K, u32>>>;

/// Counts by `K`, none above a bound. There are as many as there are connections, which the process bounds.
pub struct Shares<K: Eq + Hash + Clone> {
    counts: Counts<K>,
    most: u32,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// At most so many each; 0 is no bound.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self { counts: Arc::default(), most }
    }

    /// One more for `key`, until the answer is dropped. `None`: it has as many as it may.
    #[must_use]
    pub fn take(&self, key: &K) -> Option<Share<K>> {
        if self.most == 0 {
            return Some(Share(None));
        }
        let mut counts = self.counts.lock();
        match counts.get_mut(key) {
            Some(count) if *count >= self.most => return None,
            Some(count) => *count += 1,
            None => {
                counts.insert(key.clone(), 1);
            }
        }
        drop(counts);
        Some(Share(Some((self.counts.clone(), key.clone()))))
    }

    /// How many keys have any.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.counts.lock().len()
    }
}

/// One of a count; given back by being dropped.
#[derive(Debug)]
#[must_use]
pub struct Share<K: Eq + Hash + Clone>(Option<(Counts<K>, K)>);

impl<K: Eq + Hash + Clone> Share<K> {
    /// Whether this is one of a count.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.0.is_some()
    }

    /// For who is not counted.
    pub fn uncounted() -> Self {
        Self(None)
    }
}

impl<K: Eq + Hash + Clone> Drop for Share<K> {
    fn drop(&mut self) {
        let Some((counts, key)) = &self.0 else { return };
        let mut counts = counts.lock();
        let left = counts.get_mut(key).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_given_back() {
        let shares = Shares::new(2);
        let (one, two) = (shares.take(&"a"), shares.take(&"a"));
        assert!(one.is_some() && two.is_some() && shares.take(&"a").is_none());
        let other = shares.take(&"b");
        assert!(other.is_some());
        assert_eq!(shares.keys(), 2);
        drop(one);
        let again = shares.take(&"a");
        assert!(again.is_some());
        drop((two, again, other));
        assert_eq!(shares.keys(), 0, "nothing is remembered of who is gone");
        let unbounded = Shares::new(0);
        assert!((0..1000).all(|_| unbounded.take(&1).is_some_and(|share| {
            std::mem::forget(share);
            true
        })));
    }
}
