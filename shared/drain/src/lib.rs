//! How a process leaves: signals, phases, a deadline, and closes spread over a window.
//!
//! A [`Drain`] is a cheap clonable handle. It begins in [`Phase::Serving`]. [`Drain::begin`], or the first
//! SIGTERM or SIGINT, announces that the process leaves ([`Phase::Announced`]: whoever sends it work hears of it, and may
//! still send some), and after the delay starts [`Phase::Draining`]: stop taking on work, tell clients, close them over the
//! window. When the window ends, when a second signal cuts it short, or when [`Drain::close`] says that
//! nothing is left to wait for, [`Phase::Closing`] begins: what is still open ends now. Phases only move forward.
//!
//! A drain may begin without an end of the process in sight: an operator asked for it. The first signal then only says
//! that the process is to end after it ([`Drain::ordered`]).

use std::{io, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How far a process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It takes on work.
    Serving,
    /// It has said that it leaves, and takes on work until all have heard.
    Announced,
    /// It takes on no more and winds down what it has, until [`Drain::finish_by`].
    Draining,
    /// Time is up: what is still open ends now.
    Closing,
}

/// How long a drain takes.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From its announcement until no more work is taken on.
    pub delay: Duration,
    /// From then to the deadline.
    pub window: Duration,
}

/// The one leaving of one process.
#[derive(Clone)]
pub struct Drain {
    shared: Arc<Shared>,
}

struct Shared {
    /// Phase and deadline change together, so they are read together.
    state: watch::Sender<State>,
    /// Cancelled when leaving is announced.
    announced: CancellationToken,
    /// Cancelled when leaving begins.
    token: CancellationToken,
    /// Cancelled when the process is told to end.
    ordered: CancellationToken,
    times: Times,
}

#[derive(Clone, Copy)]
struct State {
    phase: Phase,
    finish_by: Option<Instant>,
}

impl Drain {
    /// A drain that only [`Drain::begin`] starts; `window` is the time from its beginning to the deadline.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self::with(Times { delay: Duration::ZERO, window })
    }

    /// The same with a delay.
    #[must_use]
    pub fn with(times: Times) -> Self {
        let state = watch::Sender::new(State { phase: Phase::Serving, finish_by: None });
        let [announced, token, ordered] = std::array::from_fn(|_| CancellationToken::new());
        Self { shared: Arc::new(Shared { state, announced, token, ordered, times }) }
    }

    /// A drain that SIGTERM or SIGINT starts; a second signal of either kind ends the window at once.
    ///
    /// From this call on these signals no longer end the process by themselves. Must be called in a runtime.
    ///
    /// # Errors
    /// The system refused to install a signal handler.
    pub fn on_signals(window: Duration) -> io::Result<Self> {
        Self::on_signals_with(Times { delay: Duration::ZERO, window })
    }

    /// The same with a delay.
    ///
    /// # Errors
    /// The system refused to install a signal handler.
    pub fn on_signals_with(times: Times) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let drain = Self::with(times);
        let handle = drain.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    got = terminate.recv() => got.map(|()| "SIGTERM"),
                    got = interrupt.recv() => got.map(|()| "SIGINT"),
                };
                let Some(name) = name else { return };
                handle.signalled(name);
            }
        });
        Ok(drain)
    }

    /// The first signal is an order to end; it does not hurry a drain that somebody else began.
    fn signalled(&self, name: &str) {
        let is_first = !self.shared.ordered.is_cancelled();
        self.shared.ordered.cancel();
        if self.begin(name) {
            return;
        }
        if is_first {
            info!(signal = name, "the process ends when it has drained");
        } else {
            info!(signal = name, "drain cut short");
            self.close();
        }
    }

    /// Begins to leave; does nothing when that has begun already. Answers whether it began. Must be called in a runtime.
    pub fn begin(&self, reason: &str) -> bool {
        let Times { delay, window } = self.shared.times;
        let starts = Instant::now() + delay;
        let finish_by = starts + window;
        let begun = self.shared.state.send_if_modified(|state| {
            let begins = state.phase == Phase::Serving;
            if begins {
                *state = State { phase: Phase::Announced, finish_by: Some(finish_by) };
            }
            begins
        });
        if !begun {
            return false;
        }
        info!(reason, delay_ms = millis(delay), window_ms = millis(window), "draining");
        self.shared.announced.cancel();
        if delay.is_zero() {
            self.start();
        }
        let drain = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = drain.keep_times(starts, finish_by) => {}
                () = drain.closing() => {}
            }
        });
        true
    }

    async fn keep_times(&self, starts: Instant, finish_by: Instant) {
        tokio::time::sleep_until(starts).await;
        self.start();
        tokio::time::sleep_until(finish_by).await;
        self.close();
    }

    /// All have heard.
    fn start(&self) {
        self.shared.state.send_if_modified(|state| {
            let starts = state.phase == Phase::Announced;
            if starts {
                state.phase = Phase::Draining;
            }
            starts
        });
        self.shared.token.cancel();
    }

    /// Ends the window now, from any phase: the deadline has come, or nothing is left to wait for.
    pub fn close(&self) {
        let now = Instant::now();
        self.shared.state.send_if_modified(|state| {
            let closes = state.phase != Phase::Closing;
            if closes {
                let finish_by = state.finish_by.map_or(now, |earlier| earlier.min(now));
                *state = State { phase: Phase::Closing, finish_by: Some(finish_by) };
            }
            closes
        });
        self.shared.announced.cancel();
        self.shared.token.cancel();
    }

    /// Waits until leaving is announced.
    pub async fn announced(&self) {
        self.shared.announced.cancelled().await;
    }

    /// Waits until the process was told to end, by a signal. Of a drain that nobody has told so it is [`Drain::begin`]'s
    /// caller who decides what follows.
    pub async fn ordered(&self) {
        self.shared.ordered.cancelled().await;
    }

    /// Cancelled when leaving begins.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.shared.token.clone()
    }

    /// Waits until leaving begins.
    pub async fn started(&self) {
        self.shared.token.cancelled().await;
    }

    /// Waits until the window is over.
    pub async fn closing(&self) {
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = self.shared.state.subscribe().wait_for(|state| state.phase == Phase::Closing).await;
    }

    /// Where the process stands now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.shared.state.borrow().phase
    }

    /// Follows the phases from the present one on.
    #[must_use]
    pub fn watch(&self) -> PhaseWatch {
        PhaseWatch { state: self.shared.state.subscribe() }
    }

    /// When everything must have ended; `None` while serving.
    #[must_use]
    pub fn finish_by(&self) -> Option<Instant> {
        self.shared.state.borrow().finish_by
    }

    /// How long close number `i` of `n` waits, counted from now, so that `n` of them spread evenly over `window`.
    ///
    /// Never beyond [`Drain::finish_by`]: a window that is too long is compressed, not cut, so that its last
    /// closes do not fall on one instant. Zero once the process is closing.
    #[must_use]
    pub fn spread(&self, i: usize, n: usize, window: Duration) -> Duration {
        let state = *self.shared.state.borrow();
        let left = state.finish_by.map_or(window, |by| by.saturating_duration_since(Instant::now()));
        if n == 0 || state.phase == Phase::Closing {
            return Duration::ZERO;
        }
        let share = i.min(n) as f64 / n as f64;
        window.min(left).mul_f64(share)
    }
}

/// Sees each phase as it comes.
pub struct PhaseWatch {
    state: watch::Receiver<State>,
}

impl PhaseWatch {
    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.borrow().phase
    }

    /// Waits for a phase later than the one seen last, and returns it. `None` when every [`Drain`] is gone.
    pub async fn changed(&mut self) -> Option<Phase> {
        self.state.changed().await.ok()?;
        Some(self.state.borrow_and_update().phase)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn phases_follow_the_window() {
        let drain = Drain::new(WINDOW);
        let mut watch = drain.watch();
        assert_eq!((drain.phase(), drain.finish_by(), drain.token().is_cancelled()), (Phase::Serving, None, false));

        let began = Instant::now();
        drain.begin("test");
        assert_eq!(watch.changed().await, Some(Phase::Draining));
        assert!(drain.token().is_cancelled());
        assert_eq!(drain.finish_by(), Some(began + WINDOW));
        drain.started().await;

        assert_eq!(watch.changed().await, Some(Phase::Closing));
        assert_eq!(began.elapsed(), WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_cuts_the_window_short() {
        let drain = Drain::new(WINDOW);
        drain.signalled("SIGTERM");
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(drain.phase(), Phase::Draining);
        drain.signalled("SIGINT");
        assert_eq!((drain.phase(), drain.finish_by()), (Phase::Closing, Some(Instant::now())));
        drain.closing().await;
    }

    #[tokio::test(start_paused = true)]
    async fn beginning_twice_keeps_the_first_deadline() {
        let drain = Drain::new(WINDOW);
        drain.begin("first");
        let by = drain.finish_by();
        tokio::time::sleep(Duration::from_secs(5)).await;
        drain.begin("second");
        assert_eq!(drain.finish_by(), by);
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_taken_on_until_all_have_heard() {
        let drain = Drain::with(Times { delay: Duration::from_secs(3), window: WINDOW });
        assert!(drain.begin("test"));
        drain.announced().await;
        let began = Instant::now();
        assert_eq!((drain.phase(), drain.token().is_cancelled()), (Phase::Announced, false));
        drain.started().await;
        assert_eq!((drain.phase(), began.elapsed()), (Phase::Draining, Duration::from_secs(3)));
        drain.closing().await;
        assert_eq!(began.elapsed(), Duration::from_secs(3) + WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_does_not_hurry_the_drain_that_an_operator_began() {
        let drain = Drain::new(WINDOW);
        assert!(drain.begin("operator"));
        let ordered = |drain: Drain| async move { tokio::time::timeout(Duration::from_secs(1), drain.ordered()).await.is_ok() };
        assert!(!ordered(drain.clone()).await);
        drain.signalled("SIGTERM");
        assert!(ordered(drain.clone()).await);
        assert_eq!(drain.phase(), Phase::Draining);
        drain.signalled("SIGTERM");
        assert_eq!(drain.phase(), Phase::Closing);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_drain_stays_closed() {
        let drain = Drain::new(WINDOW);
        drain.close();
        drain.begin("too late");
        drain.started().await;
        assert_eq!(drain.phase(), Phase::Closing);
    }

    #[tokio::test(start_paused = true)]
    async fn closes_spread_evenly_and_never_beyond_the_deadline() {
        let drain = Drain::new(WINDOW);
        let spread =
            |window: u64| -> Vec<u128> { (0..4).map(|i| drain.spread(i, 4, Duration::from_secs(window)).as_millis()).collect() };
        assert_eq!(spread(4), [0, 1000, 2000, 3000]);
        drain.begin("test");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(spread(2), [0, 500, 1000, 1500]);
        assert_eq!(spread(100), [0, 1000, 2000, 3000], "four seconds are left");
        assert_eq!(drain.spread(0, 0, WINDOW), Duration::ZERO);
        drain.close();
        assert_eq!(spread(100), [0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn a_real_signal_begins_the_drain() {
        let drain = Drain::on_signals(Duration::from_secs(60)).expect("signal handlers");
        let sent = std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        tokio::time::timeout(Duration::from_secs(30), drain.started()).await.expect("SIGTERM was heard");
        assert_eq!(drain.phase(), Phase::Draining);
    }
}
