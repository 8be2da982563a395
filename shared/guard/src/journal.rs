//! Keeps the revocations up to date from the bus. Like a room, the journal is the truth: it is read to its end before
//! anybody is let in, again and again from then on, and from its start after the broker was away, because a broker that
//! comes back may have lost its last lines and given their numbers to others.

use crate::{Revocation, Revoked, meters};
use bytes::Bytes;
use std::time::{Duration, Instant};
use weft_bus::{Bus, BusError, Journal, Lines, Mark, PublishError};

/// Lines read at once.
const LINES_AT_ONCE: usize = 1000;
/// Between two readings from the start.
const WHOLE_EVERY: Duration = Duration::from_secs(600);

/// How often the journal is read, and how long a revocation matters.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two readings of what is new: about as long as a revocation takes to reach another gateway.
    pub every: Duration,
    /// The longest life of a token.
    pub life: Duration,
}

/// Reads the journal for the life of the process.
pub async fn keep(revoked: &Revoked, bus: &Bus, pace: Pace) {
    let mut reader = Reader::new(pace);
    let lines = |mark| bus.lines(Journal::Revocations, mark, LINES_AT_ONCE);
    loop {
        reader.read(revoked, lines).await;
        tokio::time::sleep(pace.every).await;
    }
}

/// Takes a revocation in, on this gateway at once and on the others when they read the journal next. `Ok`: it is stored.
///
/// # Errors
/// It is not stored. It holds on this gateway all the same until the process ends; the operator should try again.
pub async fn revoke(revoked: &Revoked, bus: &Bus, revocation: &Revocation) -> Result<(), PublishError> {
    revoked.add(revocation);
    bus.write_line(Journal::Revocations, revocation.line()).await
}

/// How far the journal has been read.
struct Reader {
    mark: Mark,
    whole_at: Option<Instant>,
    pace: Pace,
    has_failed: bool,
}

impl Reader {
    fn new(pace: Pace) -> Self {
        Self { mark: Mark::default(), whole_at: None, pace, has_failed: false }
    }

    /// Reads to the end once; after a failure the next reading begins at the start.
    async fn read<F: Future<Output = Result<Lines, BusError>>>(&mut self, revoked: &Revoked, lines: impl Fn(Mark) -> F) {
        if self.whole_at.is_none_or(|at| at.elapsed() >= WHOLE_EVERY) || revoked.has_room_for_what_it_lacks() {
            self.mark = Mark::default();
        }
        let (is_whole, left_out) = (self.mark == Mark::default(), revoked.left_out());
        let outcome = self.read_pages(revoked, lines).await;
        match outcome {
            Ok(read_at) => {
                if is_whole {
                    self.whole_at = Some(read_at);
                    revoked.all_were_read(left_out);
                }
                if std::mem::take(&mut self.has_failed) {
                    tracing::info!("the revocations can be read again");
                }
                revoked.forget_before(unix_secs().saturating_sub(self.pace.life.as_secs()));
                revoked.is_current(read_at);
            }
            Err(error) => {
                self.whole_at = None;
                if !std::mem::replace(&mut self.has_failed, true) {
                    tracing::warn!(%error, "the revocations cannot be read; before long nobody new is let in");
                }
            }
        }
        meters::revocations(revoked.len());
    }

    /// When the last page was asked for: what was written before that has been read.
    async fn read_pages<F: Future<Output = Result<Lines, BusError>>>(
        &mut self,
        revoked: &Revoked,
        lines: impl Fn(Mark) -> F,
    ) -> Result<Instant, BusError> {
        loop {
            let asked_at = Instant::now();
            let page = lines(self.mark).await?;
            page.lines.iter().for_each(|line| take(revoked, line));
            self.mark = page.mark;
            if !page.more {
                return Ok(asked_at);
            }
        }
    }
}

fn take(revoked: &Revoked, line: &Bytes) {
    match Revocation::parse(line) {
        Ok(revocation) => revoked.add(&revocation),
        Err(invalid) => {
            meters::invalid_revocation();
            tracing::error!(%invalid, "a line of the journal is no revocation, and takes nothing back");
        }
    }
}

/// The time, as tokens tell it.
#[must_use]
pub fn unix_secs() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revoked::REVOCATIONS_MAX;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use weft_bus::BusConfig;

    const PACE: Pace = Pace { every: Duration::from_millis(10), life: Duration::from_secs(3600) };

    fn of_subject(subject: &str, at: u64) -> Revocation {
        Revocation { subject: Some(subject.into()), at, ..Revocation::default() }
    }

    #[tokio::test]
    async fn a_gateway_that_starts_later_knows_what_was_revoked() {
        let bus = Bus::connect(BusConfig::parse("memory:").expect("a bus")).await.expect("connected");
        let (first, later) = (Revoked::new(PACE.life), Revoked::new(PACE.life));
        let now = unix_secs();
        for n in 0..2500 {
            revoke(&first, &bus, &of_subject(&format!("u{n}"), now)).await.expect("stored");
        }
        bus.write_line(Journal::Revocations, Bytes::from_static(b"junk")).await.expect("stored");
        revoke(&first, &bus, &of_subject("old", now - 4000)).await.expect("stored");
        let read = |mark| bus.lines(Journal::Revocations, mark, LINES_AT_ONCE);
        let mut reader = Reader::new(PACE);
        reader.read(&later, read).await;
        assert_eq!((later.len(), later.is_fresh()), (2500, true), "what no token can outlive is not kept");
        revoke(&first, &bus, &of_subject("another", now)).await.expect("stored");
        reader.read(&later, read).await;
        assert_eq!(later.len(), 2501);
    }

    #[tokio::test]
    async fn while_the_journal_cannot_be_read_nobody_new_is_let_in_and_then_it_is_read_whole() {
        let revoked = Revoked::new(Duration::from_secs(3600));
        let mut reader = Reader::new(PACE);
        let away = |_| std::future::ready(Err(BusError::Unavailable("away".into())));
        reader.read(&revoked, away).await;
        assert!(!revoked.is_fresh());
        let asked_from_start = AtomicUsize::new(0);
        let bus = Bus::connect(BusConfig::parse("memory:").expect("a bus")).await.expect("connected");
        revoke(&Revoked::never(), &bus, &of_subject("u", unix_secs())).await.expect("stored");
        let counted = |mark| {
            asked_from_start.fetch_add(usize::from(mark == Mark::default()), Ordering::Relaxed);
            bus.lines(Journal::Revocations, mark, LINES_AT_ONCE)
        };
        reader.read(&revoked, counted).await;
        reader.read(&revoked, counted).await;
        assert_eq!((revoked.is_fresh(), revoked.len(), asked_from_start.load(Ordering::Relaxed)), (true, 1, 1));
        reader.read(&revoked, away).await;
        assert!(revoked.is_fresh(), "for a while");
        reader.read(&revoked, counted).await;
        assert_eq!(asked_from_start.load(Ordering::Relaxed), 2, "from the start after an outage");
    }

    #[tokio::test]
    async fn what_was_left_out_is_read_again_before_anybody_is_let_in() {
        let bus = Bus::connect(BusConfig::parse("memory:").expect("a bus")).await.expect("connected");
        let revoked = Revoked::new(PACE.life);
        let now = unix_secs();
        for n in 0..REVOCATIONS_MAX {
            revoked.add(&of_subject(&format!("u{n}"), now - 2 * PACE.life.as_secs()));
        }
        revoke(&Revoked::never(), &bus, &of_subject("late", now)).await.expect("stored");
        let read = |mark| bus.lines(Journal::Revocations, mark, LINES_AT_ONCE);
        let mut reader = Reader::new(PACE);
        reader.read(&revoked, read).await;
        assert_eq!((revoked.len(), revoked.is_fresh()), (0, false), "those that are over have gone, and one is not known");
        reader.read(&revoked, read).await;
        assert_eq!((revoked.len(), revoked.is_fresh()), (1, true));
    }

    #[tokio::test]
    async fn the_loop_brings_what_others_have_written() {
        let bus = Bus::connect(BusConfig::parse("memory:").expect("a bus")).await.expect("connected");
        let revoked = std::sync::Arc::new(Revoked::new(PACE.life));
        let task = tokio::spawn({
            let (revoked, bus) = (revoked.clone(), bus.clone());
            async move { keep(&revoked, &bus, PACE).await }
        });
        let mut changes = revoked.changes();
        bus.write_line(Journal::Revocations, of_subject("u", unix_secs()).line()).await.expect("stored");
        let changed = tokio::time::timeout(Duration::from_secs(20), changes.changed()).await;
        changed.expect("a revocation reaches others").expect("the table lives");
        assert_eq!(revoked.len(), 1);
        task.abort();
    }
}
