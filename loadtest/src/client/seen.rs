//! Which events of one room one client has seen, by their own counters, in a few bytes.

/// The next counter that is due, and the ranges before it that are missing.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// One more than the largest counter seen.
    next: u32,
    /// Missing ranges, `from..to`, ascending; `None` as long as everything came in order.
    #[allow(clippy::box_collection, reason = "eight bytes for each of millions instead of twenty-four")]
    holes: Option<Box<Vec<(u32, u32)>>>,
}

/// What an event was to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Seen for the first time, after all that it had seen before.
    Fresh,
    /// Seen for the first time, but after a later one.
    Late,
    /// Seen before.
    Again,
}

impl Seen {
    /// Takes note of an event.
    pub(crate) fn note(&mut self, counter: u32) -> Sight {
        if counter >= self.next {
            if counter > self.next {
                self.holes.get_or_insert_default().push((self.next, counter));
            }
            // A mark's counter is below the largest number.
            self.next = counter.saturating_add(1);
            return Sight::Fresh;
        }
        if self.fill(counter) { Sight::Late } else { Sight::Again }
    }

    /// Whether the counter was missing, and is not any more.
    fn fill(&mut self, counter: u32) -> bool {
        let Some(holes) = &mut self.holes else { return false };
        let at = holes.partition_point(|(_, to)| *to <= counter);
        let Some(&(from, to)) = holes.get(at).filter(|(from, _)| *from <= counter) else { return false };
        let rests = [(from, counter), (counter + 1, to)].into_iter().filter(|(from, to)| from < to);
        holes.splice(at..=at, rests);
        if holes.is_empty() {
            self.holes = None;
        }
        true
    }

    /// The first of the `published` events that was not seen.
    pub(crate) fn first_missing(&self, published: u32) -> Option<u32> {
        let hole = self.holes.iter().flat_map(|holes| holes.iter()).map(|(from, _)| *from).next();
        Some(hole.unwrap_or(self.next)).filter(|missing| *missing < published)
    }

    /// How many of the first `published` events were not seen.
    pub(crate) fn missing(&self, published: u32) -> u64 {
        let holes = self.holes.iter().flat_map(|holes| holes.iter());
        let within: u64 = holes.map(|(from, to)| u64::from(to.min(&published).saturating_sub(*from))).sum();
        within + u64::from(published.saturating_sub(self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::{Sight::*, *};

    #[test]
    fn what_went_wrong_is_told_apart() {
        for (counters, sights, missing_of_ten) in [
            (&[0, 1, 2][..], &[Fresh, Fresh, Fresh][..], 7),
            (&[0, 2, 3], &[Fresh, Fresh, Fresh], 7),
            (&[0, 2, 1], &[Fresh, Fresh, Late], 7),
            (&[0, 1, 1, 2, 0], &[Fresh, Fresh, Again, Fresh, Again], 7),
            (&[5, 2, 2, 0, 4, 1, 3], &[Fresh, Late, Again, Late, Late, Late, Late], 4),
            (&[9, 4, 4, 0], &[Fresh, Late, Again, Late], 7),
            (&[u32::MAX - 1, u32::MAX - 1], &[Fresh, Again], 10),
            (&[], &[], 10),
        ] {
            let mut seen = Seen::default();
            let found: Vec<_> = counters.iter().map(|counter| seen.note(*counter)).collect();
            assert_eq!((&found[..], seen.missing(10)), (sights, missing_of_ten), "{counters:?}");
            let first = (0..10).find(|counter| !counters.contains(counter));
            assert_eq!(seen.first_missing(10), first, "{counters:?}");
        }
    }

    #[test]
    fn events_beyond_those_asked_for_are_not_missing() {
        let mut seen = Seen::default();
        seen.note(20);
        assert_eq!((seen.missing(5), seen.missing(21), seen.missing(0)), (5, 20, 0));
        assert!(std::mem::size_of::<Seen>() <= 16, "there is one for every client and room");
    }
}
