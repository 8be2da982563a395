//! What the clients of one process share: counts, histograms, and what all of them were told to be.

use super::order::{Counts, Setup};
use crate::{
    client::{inflate::Inflater, token},
    clock,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2Serializer},
};

const REMARKS_MAX: usize = 8;
const REMARK_CHARS_MAX: usize = 300;
/// Two digits: finer than any of these figures repeats.
const DIGITS: u8 = 2;
/// Later than this is as late as this.
const LATENCY_US_MAX: u64 = 600_000_000;

pub(crate) struct Common {
    pub(crate) setup: Setup,
    pub(crate) counts: Counts,
    /// Taken out while it is used.
    pub(crate) inflater: Option<Inflater>,
    pub(crate) now_us: u64,
    /// Set when those who read slowly do so no longer.
    pub(crate) hurried: bool,
    latency: Histogram<u64>,
    /// Of clients whose connection was never cut, where clients come back.
    stayed: Histogram<u64>,
    outage: Histogram<u64>,
}

impl Common {
    pub(crate) fn new(setup: Setup) -> Self {
        let counts = Counts::default();
        let [latency, stayed, outage] = std::array::from_fn(|_| histogram());
        Self { setup, counts, inflater: None, now_us: clock::now_us(), hurried: false, latency, stayed, outage }
    }

    /// Whether a client was chosen to read slowly.
    pub(crate) fn is_slow(&self, number: u32) -> bool {
        self.setup.slow.is_some_and(|slow| number.is_multiple_of(slow.every))
    }

    /// A client's token, where they bring any.
    pub(crate) fn token(&self, number: u32) -> Option<String> {
        self.setup.token_key.as_ref().map(|key| token::sign(key, number, &self.setup.rooms.prefix))
    }

    /// From when an event was due until now; of those who read slowly by choice nothing is said.
    pub(crate) fn record_latency(&mut self, due_us: u64, number: u32, stayed: bool) {
        if self.is_slow(number) {
            return;
        }
        let latency_us = self.now_us.saturating_sub(due_us).max(1);
        self.latency.saturating_record(latency_us);
        if stayed && self.setup.come_back.is_some() {
            self.stayed.saturating_record(latency_us);
        }
    }

    pub(crate) fn record_outage(&mut self, cut_us: u64) {
        self.outage.saturating_record(self.now_us.saturating_sub(cut_us).max(1));
    }

    pub(crate) fn remark(&mut self, remark: impl FnOnce() -> String) {
        if self.counts.remarks.len() < REMARKS_MAX {
            self.counts.remarks.push(remark().chars().take(REMARK_CHARS_MAX).collect());
        }
    }

    /// The latencies of all, those of clients that stayed, and the outages, since this was asked last.
    pub(crate) fn take_histograms(&mut self) -> [String; 3] {
        [&mut self.latency, &mut self.stayed, &mut self.outage].map(take)
    }
}

/// An empty histogram of microseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS) {
        Ok(histogram) => histogram,
        Err(error) => unreachable!("constant bounds that are refused: {error}"),
    }
}

fn take(histogram: &mut Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = V2Serializer::new().serialize(histogram, &mut bytes);
    histogram.reset();
    STANDARD_NO_PAD.encode(bytes)
}

/// Reads a histogram back; `None` for what is none.
pub(crate) fn read_histogram(text: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_cross_from_process_to_process() {
        let mut one = histogram();
        for value in [1, 500, 500, 90_000] {
            one.saturating_record(value);
        }
        let text = take(&mut one);
        let read = read_histogram(&text).expect("read");
        assert_eq!((read.len(), one.len()), (4, 0), "taken means begun anew");
        assert!(read.value_at_quantile(0.5).abs_diff(500) <= 5 && read.max().abs_diff(90_000) < 1000);
        assert!(read_histogram("nonsense").is_none());
    }
}
