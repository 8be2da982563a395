//! How fast: a bucket of 8 bytes for each connection, without a timer, and a bounded map of them for those who come by many
//! connections.

use parking_lot::Mutex;
use std::{borrow::Borrow, collections::HashMap, hash::Hash, time::Instant};

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// A second, for ever.
    pub per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
}

/// What is left of a rate. Times are milliseconds of any clock that does not go back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// When the bucket would be empty of debt: a time ahead of now is what has been taken in advance.
    free_at_us: u64,
}

impl Bucket {
    /// Takes one, if there is one.
    pub fn take(&mut self, now_ms: u64, rate: Rate) -> bool {
        self.take_many(now_ms, rate, 1)
    }

    /// Takes so many, or none.
    pub fn take_many(&mut self, now_ms: u64, rate: Rate, count: u32) -> bool {
        let now_us = now_ms.saturating_mul(1000);
        let each_us = 1_000_000 / u64::from(rate.per_second.max(1));
        let free_at_us = self.free_at_us.max(now_us) + each_us * u64::from(count);
        if free_at_us > now_us + each_us * u64::from(rate.burst.max(1)) {
            return false;
        }
        self.free_at_us = free_at_us;
        true
    }

    /// Whether nothing of it is in use, so that a new one is the same.
    #[must_use]
    pub fn is_full(&self, now_ms: u64) -> bool {
        self.free_at_us <= now_ms.saturating_mul(1000)
    }

    /// Milliseconds until one more may be taken.
    #[must_use]
    pub fn wait_ms(&self, now_ms: u64, rate: Rate) -> u64 {
        let each_us = 1_000_000 / u64::from(rate.per_second.max(1));
        let ahead_us = self.free_at_us.saturating_sub(now_ms.saturating_mul(1000)) + each_us;
        ahead_us.saturating_sub(each_us * u64::from(rate.burst.max(1))).div_ceil(1000)
    }
}

/// Most keys that have a bucket of their own. When full, the buckets that nobody has drawn from lately are forgotten, which
/// changes nothing for their keys; if there are none, further keys share one bucket.
const KEYS_MAX: usize = 50_000;

/// A bucket for each `K`: a token, an address.
pub struct Rates<K> {
    rate: Rate,
    began: Instant,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    own: HashMap<K, Bucket>,
    shared: Bucket,
    swept_ms: u64,
}

impl<K: Eq + Hash> Rates<K> {
    /// This rate for each; a rate of 0 a second is no bound.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let buckets = Buckets { own: HashMap::new(), shared: Bucket::default(), swept_ms: 0 };
        Self { rate, began: Instant::now(), buckets: Mutex::new(buckets) }
    }

    /// Takes so many of `key`'s, or none; more than a burst at once is taken as a burst.
    ///
    /// # Errors
    /// Milliseconds after which to try again.
    pub fn take<Q>(&self, key: &Q, count: u32) -> Result<(), u64>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        self.take_at(key, count, self.now_ms())
    }

    /// Whether `key` has any left, of which nothing is taken.
    ///
    /// # Errors
    /// Milliseconds after which to try again.
    pub fn look<Q>(&self, key: &Q) -> Result<(), u64>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        let now_ms = self.now_ms();
        let mut buckets = self.buckets.lock();
        match buckets.of(key, now_ms).wait_ms(now_ms, self.rate) {
            0 => Ok(()),
            wait_ms => Err(wait_ms),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn take_at<Q>(&self, key: &Q, count: u32, now_ms: u64) -> Result<(), u64>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let mut buckets = self.buckets.lock();
        let count = count.min(self.rate.burst.max(1));
        let bucket = buckets.of(key, now_ms);
        if bucket.take_many(now_ms, self.rate, count) { Ok(()) } else { Err(bucket.wait_ms(now_ms, self.rate).max(1)) }
    }
}

impl<K: Eq + Hash> Buckets<K> {
    fn of<Q>(&mut self, key: &Q, now_ms: u64) -> &mut Bucket
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let is_new = !self.own.contains_key(key);
        // At most one sweep a second, or a flood of new keys would pay for one each.
        if is_new && self.own.len() >= KEYS_MAX && now_ms >= self.swept_ms + 1000 {
            self.swept_ms = now_ms;
            self.own.retain(|_, bucket| !bucket.is_full(now_ms));
        }
        if is_new && self.own.len() >= KEYS_MAX {
            return &mut self.shared;
        }
        self.own.entry(key.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate { per_second: 10, burst: 5 };
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now_ms| (0..100).filter(|_| bucket.take(now_ms, rate)).count();
        assert_eq!(taken(&mut bucket, 1_000), 5, "the burst");
        assert_eq!((taken(&mut bucket, 1_000), bucket.wait_ms(1_000, rate)), (0, 100));
        assert_eq!(taken(&mut bucket, 1_099), 0);
        assert_eq!(taken(&mut bucket, 1_100), 1, "a tenth of a second later");
        assert_eq!(taken(&mut bucket, 1_400), 3);
        assert_eq!(taken(&mut bucket, 99_000), 5, "never more than the burst");
        assert!(!bucket.take_many(200_000, rate, 6) && bucket.take_many(200_000, rate, 5));
    }

    #[test]
    fn a_rate_of_nothing_divides_by_nothing() {
        let none = Rate { per_second: 0, burst: 0 };
        let mut bucket = Bucket::default();
        assert!(bucket.take(0, none) && !bucket.take(0, none));
    }

    #[test]
    fn each_key_has_its_own_rate_and_there_are_so_many_keys() {
        let rates: Rates<String> = Rates::new(Rate { per_second: 10, burst: 5 });
        assert_eq!(rates.take_at("a", 100, 1000), Ok(()), "more than a burst is a burst");
        assert_eq!((rates.take_at("a", 1, 1000), rates.take_at("b", 5, 1000)), (Err(100), Ok(())));
        for n in 0..KEYS_MAX * 2 {
            let _ = rates.take_at(&n.to_string(), 1, 2000);
        }
        assert_eq!(rates.buckets.lock().own.len(), KEYS_MAX);
        assert!(rates.take_at("new", 1, 2000).is_err(), "those who find no place share one bucket");
        assert_eq!(rates.take_at("new", 1, 9000), Ok(()));
        assert!(rates.buckets.lock().own.len() < 10, "the others had drawn nothing for long");
        let unbounded: Rates<String> = Rates::new(Rate { per_second: 0, burst: 0 });
        assert!((0..1000).all(|_| unbounded.take("a", 1000).is_ok() && unbounded.look("a").is_ok()));
    }

    #[test]
    fn to_look_takes_nothing() {
        let rates: Rates<String> = Rates::new(Rate { per_second: 1, burst: 2 });
        assert!((0..10).all(|_| rates.look("a").is_ok()));
        assert_eq!((rates.take("a", 2), rates.look("b")), (Ok(()), Ok(())));
        assert!(matches!(rates.look("a"), Err(1..=1000)));
    }
}
