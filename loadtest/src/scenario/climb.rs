//! The highest rate that holds: the same scenario again and again, each time at a higher rate, on servers of its own.

use crate::{
    error::Failure,
    options::load::Load,
    report::{outcome::Outcome, say},
};

/// A quarter more each time.
const FACTOR: f64 = 1.25;
/// Fifteen times the first rate: whoever gets there should begin higher.
const STEPS_MAX: u32 = 12;

/// One outcome for each rate; all but the last held, and the last too if it was never too much.
pub(crate) async fn run(load: &Load, p99_ms_max: f64) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::new();
    let mut load = load.clone();
    let name = load.name.clone();
    for _ in 0..STEPS_MAX {
        load.name = format!("{name} at {:.0}/s", load.rate);
        say::progress(&load.name);
        let mut outcome = super::run(&load).await?;
        let held = holds(&outcome, p99_ms_max);
        outcome.further.insert("held", f64::from(u8::from(held)));
        outcomes.push(outcome);
        if !held {
            break;
        }
        load.rate *= FACTOR;
    }
    Ok(outcomes)
}

/// Whether nothing was lost and nobody fell behind.
fn holds(outcome: &Outcome, p99_ms_max: f64) -> bool {
    outcome.is_sound() && outcome.latency.is_some_and(|latency| latency.p99_ms <= p99_ms_max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::outcome::Quantiles;

    #[test]
    fn a_rate_holds_when_nothing_is_lost_and_nobody_is_behind() {
        let latency = |p99_ms| Some(Quantiles { p99_ms, ..Quantiles::default() });
        let sound = Outcome { deliveries: 1, latency: latency(900.0), ..Outcome::default() };
        for (outcome, held) in [
            (sound.clone(), true),
            (Outcome { lost: 1, ..sound.clone() }, false),
            (Outcome { latency: latency(1100.0), ..sound.clone() }, false),
            (Outcome { latency: None, ..sound }, false),
        ] {
            assert_eq!(holds(&outcome, 1000.0), held, "{outcome:?}");
        }
    }
}
