//! Which events of its room one client has seen, by the counter that each event carries.
//!
//! Never by `seq` or offset, which may have holes.

/// A set of counters, with what went wrong while it filled.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    words: Vec<u64>,
    /// One more than the largest counter seen.
    next: u64,
    pub(crate) count: u64,
    pub(crate) duplicated: u64,
    pub(crate) misordered: u64,
}

/// No run publishes as many events to a room; a counter beyond it is no counter of ours.
const COUNTER_MAX: u64 = 1 << 24;

impl Seen {
    /// Takes note of an event; whether it was seen for the first time.
    pub(crate) fn note(&mut self, counter: u64) -> bool {
        if counter > COUNTER_MAX {
            return false;
        }
        let (word, bit) = ((counter / 64) as usize, 1u64 << (counter % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if self.words[word] & bit != 0 {
            self.duplicated += 1;
            return false;
        }
        self.words[word] |= bit;
        self.count += 1;
        self.misordered += u64::from(counter < self.next);
        self.next = self.next.max(counter + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_told_apart() {
        for (counters, count, duplicated, misordered) in [
            (&[0, 1, 2][..], 3, 0, 0),
            (&[0, 2, 3], 3, 0, 0),
            (&[0, 2, 1], 3, 0, 1),
            (&[0, 1, 1, 2, 0], 3, 2, 0),
            (&[5, u64::MAX], 1, 0, 0),
        ] {
            let mut seen = Seen::default();
            counters.iter().for_each(|counter| {
                seen.note(*counter);
            });
            assert_eq!((seen.count, seen.duplicated, seen.misordered), (count, duplicated, misordered), "{counters:?}");
        }
    }
}
