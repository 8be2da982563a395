//! `weft tail`: follows rooms and writes what comes.

mod end;
mod from;

use self::end::Ends;
use crate::{
    exit::{Exit, Failure},
    follow::{Follow, Message, Told, Wanted, rooms::is_event},
    gateway::Gateways,
    settings::{LineSettings, TailArgs},
    show::{
        event::Manner,
        output::{Output, remark},
        texts::{Piece, Texts},
    },
};
use jiff::tz::TimeZone;
use serde_json::Value;
use weft_event::Room;

/// Follows until it is left, or with `--until-end` until all executions have ended.
///
/// # Errors
/// A room or offset that cannot be one, a refusal of the gateway.
pub async fn tail(args: &TailArgs, line: &LineSettings, out: &mut Output) -> Result<Exit, Failure> {
    let mut rooms: Vec<String> = Vec::new();
    for name in &args.rooms {
        Room::parse(name).map_err(|invalid| Failure::usage(format!("{name}: {}", invalid.rule)))?;
        if !rooms.contains(name) {
            rooms.push(name.clone());
        }
    }
    let rooms = from::places(&rooms, &args.from)?;
    let executions: Vec<String> =
        rooms.iter().filter_map(|(room, _)| room.strip_prefix("execution:").map(str::to_owned)).collect();
    if args.until_end && executions.is_empty() {
        return Err(Failure::usage("--until-end: needs a room execution:<id>"));
    }
    if args.until_end && !args.types.is_empty() && !args.types.iter().any(|types| types == "execution:*") {
        return Err(Failure::usage("--until-end: needs execution:* among --types"));
    }
    let gateways = Gateways::new(line)?;
    gateways.warning().iter().for_each(|warning| remark(warning));
    // The state says whether an execution has ended already.
    let wanted = Wanted { rooms: rooms.clone(), snapshot: args.until_end, types: args.types.clone() };
    let is_of_one = matches!(rooms.as_slice(), [(room, _)] if room.starts_with("execution:"));
    let mut paper = Paper::new(out, args.json, !is_of_one);
    let mut ends = args.until_end.then(|| Ends::new(gateways.clone(), rooms));
    let mut follow = Follow::begin(gateways, wanted);
    loop {
        let told = match follow.next_waiting() {
            Some(told) => Some(told),
            None => {
                paper.flush()?;
                follow.next().await
            }
        };
        let Some(told) = told else { return Ok(Exit::Refused) };
        if let Some(ends) = &mut ends {
            ends.hear(&told).await?;
        }
        paper.tell(told)?;
        if let Some(exit) = ends.as_ref().and_then(Ends::exit) {
            paper.end()?;
            return Ok(exit);
        }
    }
}

/// Where what is told is written.
pub struct Paper<'a> {
    out: &'a mut Output,
    json: bool,
    manner: Manner,
    texts: Texts,
    /// Whether a connection was lost since the last one was made.
    is_lost: bool,
}

impl<'a> Paper<'a> {
    /// JSON as it came, or lines; `executions` says which execution each line is of.
    pub fn new(out: &'a mut Output, json: bool, executions: bool) -> Self {
        let manner = Manner { colours: out.colours, person: out.is_terminal, executions, zone: TimeZone::system() };
        let texts = Texts::new(out.is_terminal);
        Self { out, json, manner, texts, is_lost: false }
    }

    /// Writes what is told.
    ///
    /// # Errors
    /// Nobody reads any more, or following has failed.
    pub fn tell(&mut self, told: Told) -> Result<(), Failure> {
        match told {
            Told::Message(message) => self.message(&message),
            Told::Connected(place) if std::mem::take(&mut self.is_lost) => self.remark(&format!("connected to {place}")),
            Told::Connected(_) | Told::Subscribed { .. } => Ok(()),
            Told::Lost(reason) => {
                // Once, however many attempts it takes.
                if std::mem::replace(&mut self.is_lost, true) { Ok(()) } else { self.remark(&format!("{reason}; trying again")) }
            }
            Told::Warning(text) => self.remark(&text),
            Told::Failed(failure) => {
                self.end()?;
                Err(failure)
            }
        }
    }

    fn message(&mut self, message: &Message) -> Result<(), Failure> {
        if self.json {
            return Ok(self.out.line(&message.text)?);
        }
        let kind = message.kind();
        let pieces = match kind {
            "agent:token" => self.texts.token(&message.value),
            _ => {
                let mut pieces = match kind {
                    "agent:streaming_end" => self.texts.ended(&message.value),
                    "execution:completed" | "execution:failed" | "execution:cancelled" => {
                        self.texts.all_ended(message.value["executionId"].as_str())
                    }
                    _ => Vec::new(),
                };
                pieces.extend(self.texts.interrupt());
                pieces
            }
        };
        self.pieces(pieces)?;
        if kind != "agent:token" {
            self.out.line(&self.manner.line(&message.value))?;
        }
        // A line that runs is seen while it runs.
        if is_event(kind) && self.out.is_terminal { Ok(self.out.flush()?) } else { Ok(()) }
    }

    fn pieces(&mut self, pieces: Vec<Piece>) -> Result<(), Failure> {
        for piece in pieces {
            match piece {
                Piece::Line(event, text) => self.out.line(&self.manner.line(&with_token(event, &text)))?,
                Piece::Begin(event, text) => self.out.text(&self.manner.running(&event, &text))?,
                Piece::More(text) => self.out.text(&crate::show::harmless(&text, false))?,
                Piece::End => self.out.line("")?,
            }
        }
        Ok(())
    }

    /// Says something that is no event, on standard error.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn remark(&mut self, text: &str) -> Result<(), Failure> {
        let pieces = self.texts.interrupt();
        self.pieces(pieces.into_iter().collect())?;
        self.out.flush()?;
        remark(&crate::show::harmless(text, false));
        Ok(())
    }

    /// Has all seen that was told.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    /// Writes what is unfinished.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn end(&mut self) -> Result<(), Failure> {
        let pieces = self.texts.all_ended(None);
        self.pieces(pieces)?;
        self.flush()
    }
}

fn with_token(mut event: Value, text: &str) -> Value {
    event["data"]["token"] = text.into();
    event
}
