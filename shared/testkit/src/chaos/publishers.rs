//! The publishers of a run: one task for each source of each execution.

use super::ChaosPlan;
use crate::{Fault, Result, history::Published, source::Source};
use std::time::Duration;
use tokio::{sync::watch, task::JoinSet};

/// Bursts a second. Kills fall into the middle of them.
const BURSTS_PER_SECOND: u64 = 4;

pub(super) struct Publishers {
    tasks: JoinSet<Result<(Vec<Published>, u64)>>,
    stop: watch::Sender<bool>,
}

impl Publishers {
    pub(super) fn start(plan: &ChaosPlan, gateways: &[String]) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for index in 0..plan.executions {
            for number in 0..plan.sources {
                let name = format!("source-{index}-{number}");
                let source = Source::new(&name, gateways, plan.seed.rng(&name));
                let (execution, user, burst) = (plan.execution(index), plan.user(index), plan.rate.div_ceil(BURSTS_PER_SECOND));
                tasks.spawn(publish(source, execution, user, burst, stopped.clone()));
            }
        }
        Self { tasks, stop }
    }

    /// Ends them after their present burst, and returns what they tried and how many batches they had to repeat.
    pub(super) async fn finish(mut self) -> Result<(Vec<Published>, u64)> {
        self.stop.send_replace(true);
        let (mut log, mut retries) = (Vec::new(), 0);
        while let Some(ended) = self.tasks.join_next().await {
            let (published, repeated) = ended.map_err(|error| Fault::said("a publisher", error))??;
            log.extend(published);
            retries += repeated;
        }
        Ok((log, retries))
    }
}

async fn publish(
    mut source: Source,
    execution: String,
    user: String,
    burst: u64,
    stopped: watch::Receiver<bool>,
) -> Result<(Vec<Published>, u64)> {
    let mut beat = tokio::time::interval(Duration::from_secs(1) / u32::try_from(BURSTS_PER_SECOND).unwrap_or(1));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stopped.borrow() {
        beat.tick().await;
        if !source.publish(&execution, Some(&user), burst).await? {
            // What comes after an event that may still be stored by a late attempt could be out of order through no
            // fault of the fabric.
            break;
        }
    }
    Ok(source.finish())
}
