//! Publishing at a fixed rate, whatever comes of it: each event carries the time at which it was due, so that a system
//! (or this program) that falls behind shows it in every latency, and not only in those that it still took.

use super::{
    Publish,
    event::{Event, Kind},
};
use crate::{client::mark::Mark, clock, error::Failure, swarm::common::histogram};
use hdrhistogram::Histogram;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(1);

/// Which events are due when: every `1 / rate` seconds a burst for the next room.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// Events a second, over all rooms.
    pub(crate) rate: f64,
    /// Events of one room that are due at the same time.
    pub(crate) burst: u32,
    pub(crate) rooms: u32,
    pub(crate) duration: Duration,
    pub(crate) kind: Kind,
}

/// What was published.
pub(crate) struct Paced {
    pub(crate) events: u64,
    /// Microseconds from an event's being due to its being handed over.
    pub(crate) late: Histogram<u64>,
}

impl Pace {
    /// The event number `index` of the run, and when it is due, in microseconds from the beginning.
    fn event(&self, index: u64) -> (u32, u64) {
        let burst = index / u64::from(self.burst);
        let due_us = burst as f64 * f64::from(self.burst) * 1e6 / self.rate;
        // The remainder fits, as the number of rooms does.
        ((burst % u64::from(self.rooms)) as u32, due_us as u64)
    }

    /// Publishes all of it; `counters` are the next of each room.
    pub(crate) async fn run(&self, publish: &mut Publish, counters: &mut [u32]) -> Result<Paced, Failure> {
        let began_us = clock::now_us();
        let end_us = u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX);
        let mut paced = Paced { events: 0, late: histogram() };
        let mut batch = Vec::new();
        loop {
            let now_us = clock::now_us() - began_us;
            let (_, next_us) = self.event(paced.events);
            if next_us >= end_us {
                return Ok(paced);
            }
            if next_us > now_us {
                tokio::time::sleep(Duration::from_micros(next_us - now_us).min(TICK).max(TICK)).await;
                continue;
            }
            self.due(now_us.min(end_us - 1), began_us, &mut paced, counters, &mut batch);
            publish.send(&batch).await?;
            let handed_us = clock::now_us();
            batch.drain(..).for_each(|event: Event| paced.late.saturating_record((handed_us - event.mark.due_us).max(1)));
        }
    }

    fn due(&self, until_us: u64, began_us: u64, paced: &mut Paced, counters: &mut [u32], batch: &mut Vec<Event>) {
        loop {
            let (room, due_us) = self.event(paced.events);
            if due_us > until_us {
                return;
            }
            let counter = &mut counters[room as usize];
            batch.push(Event { kind: self.kind, mark: Mark { room, counter: *counter, due_us: began_us + due_us } });
            *counter += 1;
            paced.events += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_evenly_and_rooms_take_turns() {
        for (burst, expected) in [
            (1, vec![(0, 0), (1, 1000), (2, 2000), (0, 3000), (1, 4000)]),
            (2, vec![(0, 0), (0, 0), (1, 2000), (1, 2000), (2, 4000)]),
        ] {
            let pace = Pace { rate: 1000.0, burst, rooms: 3, duration: Duration::from_secs(1), kind: Kind::Log };
            assert_eq!((0..5).map(|index| pace.event(index)).collect::<Vec<_>>(), expected, "bursts of {burst}");
        }
    }
}
