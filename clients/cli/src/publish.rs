//! `weft publish`: one event from flags, or one a line from standard input.

mod event;
mod lines;
mod target;

use self::{
    lines::{Chunk, Line},
    target::{Fate, Target},
};
use crate::{
    exit::{Exit, Failure},
    gateway::Gateways,
    settings::{LineSettings, PublishArgs},
    show::{
        harmless,
        output::{Output, remark},
    },
};
use serde_json::json;
use std::{collections::HashSet, io::IsTerminal as _, time::Duration};
use weft_event::{Invalid, Limits, Prepared, prepare};
use weft_publisher::{Stored, store::complete};

/// Rooms that are counted for the last line.
const ROOMS_COUNTED_MAX: usize = 100_000;

/// Publishes and says where it was stored.
///
/// # Errors
/// A setting that cannot be used, nobody there; input that breaks a rule, or events that were not stored, when all is done.
pub async fn publish(args: &PublishArgs, line: &LineSettings, out: &mut Output) -> Result<Exit, Failure> {
    let one = args.kind.as_deref().map(|kind| event::from_flags(kind, &args.event)).transpose()?;
    let is_bus = args.bus.bus != "memory:";
    if !is_bus && args.tenant.is_some() {
        return Err(Failure::usage("WEFT_TENANT: over a gateway the token says it"));
    }
    let patience = Duration::from_secs(args.publish_retry_secs);
    let target = match is_bus {
        true => Target::bus(&args.bus, args.tenant.as_deref(), patience).await?,
        false => {
            let gateways = Gateways::new(line)?;
            gateways.warning().iter().for_each(|warning| remark(warning));
            Target::Gateways { gateways, patience }
        }
    };
    let is_one = one.is_some();
    let each = args.json || is_one;
    let mut told = Told { out, json: args.json, each, one: is_one, is_deaf: false, stored: 0, refused: 0, rooms: HashSet::new() };
    let ended = match one {
        Some(event) => send(&target, vec![(1, event)], &mut told).await,
        None => from_stdin(&target, &mut told).await,
    };
    let closed = target.close().await;
    let exit = told.end(ended)?;
    closed?;
    Ok(exit)
}

async fn from_stdin(target: &Target, told: &mut Told<'_>) -> Result<(), Failure> {
    if std::io::stdin().is_terminal() {
        remark("one event a line, as JSON; Ctrl-D ends");
    }
    let mut chunks = lines::read(std::io::stdin());
    while let Some(chunk) = chunks.recv().await {
        let Chunk { lines, failure } = chunk;
        let mut events = Vec::with_capacity(lines.len());
        for Line { number, text } in lines {
            let checked = match text {
                Some(text) => prepare(text, None, &Limits::default()),
                None => Err(Invalid::new("event", format!("must be at most {} bytes", Limits::default().event_bytes_max))),
            };
            match checked {
                Ok(event) => events.push((number, event)),
                Err(invalid) => told.refused(number, &invalid.to_string()),
            }
        }
        send(target, events, told).await?;
        if let Some(error) = failure {
            return Err(Failure::new(Exit::Input, format!("standard input: {error}")));
        }
    }
    Ok(())
}

async fn send(target: &Target, events: Vec<(u64, Prepared)>, told: &mut Told<'_>) -> Result<(), Failure> {
    if events.is_empty() {
        return Ok(());
    }
    let (numbers, events): (Vec<u64>, Vec<Prepared>) =
        events.into_iter().map(|(number, event)| (number, complete(event))).unzip();
    let fates = target.store(&events).await?;
    for (number, fate) in numbers.into_iter().zip(fates) {
        match fate {
            Fate::Stored(stored) => told.stored(number, &stored),
            Fate::Refused(reason) => told.refused(number, &reason),
            Fate::Lost(failure) if told.is_one() => return Err(failure),
            Fate::Lost(failure) => return Err(Failure::new(failure.exit, format!("from line {number} on: {}", failure.message))),
        }
    }
    told.flush();
    Ok(())
}

/// What the one who publishes is told.
struct Told<'a> {
    out: &'a mut Output,
    json: bool,
    /// Whether each event is told, or only the sum.
    each: bool,
    one: bool,
    /// Nobody reads any more.
    is_deaf: bool,
    stored: u64,
    refused: u64,
    rooms: HashSet<String>,
}

impl Told<'_> {
    fn stored(&mut self, number: u64, stored: &Stored) {
        self.stored += 1;
        for (room, _) in &stored.positions {
            if self.rooms.len() < ROOMS_COUNTED_MAX && !self.rooms.contains(room.name()) {
                self.rooms.insert(room.name().to_owned());
            }
        }
        if !self.each {
            return;
        }
        let text = if self.json { in_json(number, stored) } else { in_words(stored) };
        self.say(&text);
    }

    /// Publishing goes on though nobody reads any more, as `head` does after its first lines.
    fn say(&mut self, text: &str) {
        self.is_deaf = self.is_deaf || self.out.line(text).is_err();
    }

    fn flush(&mut self) {
        self.is_deaf = self.is_deaf || self.out.flush().is_err();
    }

    fn refused(&mut self, number: u64, reason: &str) {
        self.refused += 1;
        let reason = harmless(reason, false);
        remark(&if self.is_one() { reason } else { format!("line {number}: {reason}") });
    }

    /// The one event of the command line has no line to name.
    fn is_one(&self) -> bool {
        self.one
    }

    fn end(mut self, ended: Result<(), Failure>) -> Result<Exit, Failure> {
        if !self.each {
            let count = |n: u64, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
            let rooms = count(self.rooms.len() as u64, "room");
            self.say(&format!("{} stored in {rooms}", count(self.stored, "event")));
            if self.refused > 0 {
                remark(&format!("{} refused", count(self.refused, "line")));
            }
        }
        self.flush();
        ended?;
        Ok(if self.refused > 0 { Exit::Input } else { Exit::Done })
    }
}

fn in_words(stored: &Stored) -> String {
    let places = stored.positions.iter().map(|(room, position)| match position {
        Some(position) => format!("{} at {position}", room.name()),
        None => room.name().to_owned(),
    });
    let again = if stored.duplicate { " (it was stored before)" } else { "" };
    format!("{} stored in {}{again}", stored.id, places.collect::<Vec<_>>().join(", "))
}

fn in_json(number: u64, stored: &Stored) -> String {
    let rooms = stored.positions.iter().map(|(room, position)| match position {
        Some(position) => json!({ "room": room.name(), "offset": position.to_string() }),
        None => json!({ "room": room.name() }),
    });
    let rooms: Vec<_> = rooms.collect();
    json!({ "line": number, "id": stored.id, "rooms": rooms, "duplicate": stored.duplicate }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_event::{Epoch, Position, Room};

    #[test]
    fn where_it_was_stored_is_told() {
        let position = Position { epoch: Epoch(1), seq: 5, check: 7 };
        let positions = vec![
            (Room::execution("e").expect("a room"), Some(position)),
            (Room::user("u").expect("a room").in_tenant(Some("t")).expect("a room"), None),
        ];
        let stored = Stored { id: "i".into(), positions, duplicate: true };
        assert_eq!(in_words(&stored), "i stored in execution:e at 1.5.00000007, user:u (it was stored before)");
        let told: serde_json::Value = serde_json::from_str(&in_json(3, &stored)).expect("json");
        assert_eq!(
            told,
            json!({"line": 3, "id": "i", "duplicate": true, "rooms": [{"room": "execution:e", "offset": "1.5.00000007"}, {"room": "user:u"}]})
        );
    }
}
