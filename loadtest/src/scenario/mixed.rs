//! A day of a platform in a minute: executions start, run nodes, log, stream tokens, ask and are answered, and end;
//! some of their watchers are there from the start, some open the page late, and people come and go.

use super::{
    CONNECT_PATIENCE,
    stage::{Stage, shape},
    verdict,
    weighing::Weighing,
};
use crate::{
    client::mark::Mark,
    clock,
    error::Failure,
    options::load::Load,
    publish::{
        Publish,
        event::{Event, Kind},
    },
    report::{outcome::Outcome, say},
    swarm::{
        common::histogram,
        host::Swarms,
        order::{ComeBack, Follow},
    },
};
use hdrhistogram::Histogram;
use std::time::Duration;

const COME_BACK: ComeBack = ComeBack { after_ms: 200, spread_ms: 800 };
/// People arrive, leave and come back in so many steps over the run.
const STEPS: u32 = 40;
/// Of all clients this part is there before anything begins.
const EARLY: f64 = 0.5;
/// In each step one in so many leaves, and comes back after a while.
const LEAVE_ONE_IN: u32 = 50;
const AWAY_MS: u32 = 700;

/// What one execution tells, in order; what stands in a row comes in one breath.
const STORY: &[Kind] = &[
    Kind::Started,
    Kind::NodeStarted,
    Kind::Log,
    Kind::NodeProgress,
    Kind::NodeProgress,
    Kind::NodeCompleted,
    Kind::NodeStarted,
    Kind::Log,
    Kind::Token,
    Kind::Token,
    Kind::Token,
    Kind::Token,
    Kind::Token,
    Kind::Token,
    Kind::Token,
    Kind::Token,
    Kind::NodeCompleted,
    Kind::Prompt,
    Kind::Answered,
    Kind::NodeStarted,
    Kind::Log,
    Kind::NodeProgress,
    Kind::Log,
    Kind::NodeCompleted,
    Kind::Completed,
];

pub(crate) async fn run(load: &Load) -> Result<Outcome, Failure> {
    let stage = Stage::up(load).await?;
    let mut plan = stage.swarm_plan(load, 0);
    plan.come_back = Some(COME_BACK);
    let swarms = Swarms::start(&plan).await?;
    let mut publish = stage.publish(load, shape(load)).await?;
    let early = (f64::from(load.clients) * EARLY) as u32;
    say::progress(&format!("{}: {early} of {} clients are there at the start", load.name, load.clients));
    arrive(&swarms, load, 0, early).await?;
    until_subscribed(&swarms, u64::from(early) * u64::from(load.rooms_each)).await?;
    let sampler = stage.sampler(&swarms);
    let weighing = Weighing::begin(&stage, &swarms, &sampler).await?;
    let day = tell_stories(load, &mut publish);
    let ((late, counters), ()) =
        tokio::try_join!(day, come_and_go(load, &swarms, early)).map_err(|failure| stage.explain(failure))?;
    let mut outcome = verdict::begin(load);
    verdict::sum(&mut outcome, &swarms, &counters, load.patience * 4).await?;
    outcome.events_published = counters.iter().map(|counter| u64::from(*counter)).sum();
    let events = outcome.events_published;
    weighing.end(&mut outcome, events, &late).await?;
    outcome.further.insert("connections made", swarms.counts().await?.connected as f64);
    Ok(outcome)
}

/// Late joiners are not there yet, so it is no matter of all.
async fn until_subscribed(swarms: &Swarms, wanted: u64) -> Result<(), Failure> {
    let begun = tokio::time::Instant::now();
    loop {
        let done = swarms.counts().await?.subscribed;
        if done >= wanted {
            return Ok(());
        }
        if begun.elapsed() > CONNECT_PATIENCE {
            let (what, waited, detail) = ("subscribed", CONNECT_PATIENCE, String::new());
            return Err(Failure::Clients { done, wanted, what, waited, detail });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Clients open their pages, from the start of what there is; each at the next gateway.
async fn arrive(swarms: &Swarms, load: &Load, from: u32, to: u32) -> Result<(), Failure> {
    let part = |server: u32| from + (u64::from(to - from) * u64::from(server) / u64::from(load.gateways)) as u32;
    for server in 0..load.gateways {
        swarms.connect(part(server), part(server + 1), server, Follow::FromStart).await?;
    }
    Ok(())
}

/// The rest arrives over the first three quarters; in every step some leave for a while.
async fn come_and_go(load: &Load, swarms: &Swarms, early: u32) -> Result<(), Failure> {
    let mut there = early;
    for step in 0..STEPS {
        tokio::time::sleep(load.duration / STEPS).await;
        let wanted = (u64::from(load.clients - early) * u64::from(step + 1) * 4 / 3 / u64::from(STEPS)) as u32 + early;
        let wanted = wanted.min(load.clients);
        arrive(swarms, load, there, wanted).await?;
        there = wanted;
        // Those who leave were there a while ago, and are others in every step.
        let count = (there / LEAVE_ONE_IN).max(1);
        let first = step * count % early.max(1);
        swarms.leave(first, (first + count).min(early), AWAY_MS).await?;
        let counts = swarms.last_counts();
        say::line(&format!(
            "mixed: {:>3} %  {} of {} connections open  {} deliveries",
            (step + 1) * 100 / STEPS,
            counts.open,
            there,
            counts.delivered
        ));
    }
    Ok(())
}

/// When each event of each execution is due, in order, in microseconds from the beginning.
fn stories(rooms: u32, duration: Duration) -> Vec<(u64, u32, Kind)> {
    let day_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    // Each takes a third of the day; they begin spread over the other two thirds.
    let (length_us, spread_us) = (day_us / 3, day_us * 2 / 3);
    let steps = STORY.len() as u64;
    let mut due: Vec<_> = (0..rooms)
        .flat_map(|room| {
            let begins_us = spread_us * u64::from(room) / u64::from(rooms);
            STORY.iter().enumerate().map(move |(step, kind)| (begins_us + length_us * step as u64 / steps, room, *kind))
        })
        .collect();
    // Stable: the events of one execution stay in order even where they are due at once.
    due.sort_by_key(|(due_us, ..)| *due_us);
    due
}

async fn tell_stories(load: &Load, publish: &mut Publish) -> Result<(Histogram<u64>, Vec<u32>), Failure> {
    let mut counters = vec![0; load.rooms as usize];
    let (mut late, began_us) = (histogram(), clock::now_us());
    let stories = stories(load.rooms, load.duration);
    let mut left = &stories[..];
    while !left.is_empty() {
        let now_us = clock::now_us() - began_us;
        let count = left.partition_point(|(due_us, ..)| *due_us <= now_us);
        let (due, rest) = left.split_at(count);
        left = rest;
        let event = |(due_us, room, kind): &(u64, u32, Kind)| {
            let counter: &mut u32 = &mut counters[*room as usize];
            *counter += 1;
            Event { kind: *kind, mark: Mark { room: *room, counter: *counter - 1, due_us: began_us + due_us } }
        };
        let events: Vec<Event> = due.iter().map(event).collect();
        publish.send(&events).await?;
        let handed_us = clock::now_us();
        events.iter().for_each(|event| late.saturating_record((handed_us - event.mark.due_us).max(1)));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    publish.flush().await?;
    Ok((late, counters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_execution_tells_its_whole_story_in_order_within_the_day() {
        let day = Duration::from_secs(9);
        let stories = stories(7, day);
        assert!(stories.is_sorted_by_key(|(due_us, ..)| *due_us));
        assert!(stories.iter().all(|(due_us, ..)| *due_us < 9_000_000));
        for room in 0..7 {
            let told: Vec<_> = stories.iter().filter(|(_, of, _)| *of == room).map(|(.., kind)| *kind).collect();
            assert_eq!(told, STORY);
        }
    }
}
