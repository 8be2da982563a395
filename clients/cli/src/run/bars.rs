//! A bar for each node that runs, below the lines of what has happened.

use crate::{
    exit::Failure,
    follow::{Message, Told},
    show::{
        NAME,
        event::{Manner, say, short},
        harmless,
        output::Output,
        paint,
        texts::{Piece, Texts},
    },
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::tz::TimeZone;
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Nodes that are shown at once; further ones are told in lines only.
const BARS_MAX: usize = 24;
/// Lines that wait while somebody types; past them they are written all the same.
const HELD_MAX: usize = 1000;
/// How much of a text that an agent is writing is shown, in characters from its end.
const TAIL_CHARS: usize = 60;
const TICK: Duration = Duration::from_millis(120);

/// What goes on, drawn on a terminal.
pub struct Bars<'a> {
    out: &'a mut Output,
    manner: Manner,
    texts: Texts,
    all: MultiProgress,
    /// The execution as a whole.
    whole: ProgressBar,
    nodes: BTreeMap<String, ProgressBar>,
    /// What each agent has written last.
    tails: BTreeMap<String, String>,
    /// While somebody types.
    held: Option<VecDeque<String>>,
    is_lost: bool,
}

impl<'a> Bars<'a> {
    /// Bars for an execution of this workflow.
    pub fn new(out: &'a mut Output, name: &str) -> Self {
        let manner = Manner { colours: out.colours, person: true, executions: false, zone: TimeZone::system() };
        let all = MultiProgress::new();
        let whole = all.add(ProgressBar::new(100));
        whole.set_style(style("{spinner} {prefix} [{bar:30}] {pos:>3}% {elapsed} {wide_msg}"));
        whole.set_prefix(paint(&harmless(name, false), NAME, out.colours));
        whole.enable_steady_tick(TICK);
        Self {
            out,
            manner,
            texts: Texts::new(false),
            all,
            whole,
            nodes: BTreeMap::new(),
            tails: BTreeMap::new(),
            held: None,
            is_lost: false,
        }
    }

    /// Shows what is told.
    ///
    /// # Errors
    /// Nobody reads any more, or following has failed.
    pub fn tell(&mut self, told: Told) -> Result<(), Failure> {
        match told {
            Told::Message(message) => self.message(&message),
            Told::Connected(place) if std::mem::take(&mut self.is_lost) => self.remark(&format!("connected to {place}")),
            Told::Connected(_) | Told::Subscribed { .. } => Ok(()),
            Told::Lost(_) if self.is_lost => Ok(()),
            Told::Lost(reason) => {
                self.is_lost = true;
                self.remark(&format!("{reason}; trying again"))
            }
            Told::Warning(text) => self.remark(&text),
            Told::Failed(failure) => {
                self.end()?;
                Err(failure)
            }
        }
    }

    fn message(&mut self, message: &Message) -> Result<(), Failure> {
        let event = &message.value;
        let who = say(event).who;
        match message.kind() {
            "agent:token" => {
                self.write(&who, event);
                let pieces = self.texts.token(event);
                return self.pieces(pieces);
            }
            "execution:progress" | "execution:updated" => return self.progress(event),
            "node:progress" | "agent:progress" => {
                self.step(&who, &event["data"]);
                return Ok(());
            }
            "node:started" | "agent:started" | "agent:streaming_start" => self.begin(&who, &event["data"]),
            "node:completed" | "node:failed" | "agent:completed" | "agent:failed" => self.finish(&who),
            "agent:streaming_end" => {
                let pieces = self.texts.ended(event);
                self.pieces(pieces)?;
            }
            kind if kind.starts_with("execution:") => {
                let pieces = self.texts.all_ended(None);
                self.pieces(pieces)?;
            }
            _ => {}
        }
        let line = self.manner.line(event);
        self.line(line)
    }

    fn begin(&mut self, who: &str, data: &Value) {
        if self.nodes.contains_key(who) || self.nodes.len() >= BARS_MAX {
            return;
        }
        let bar = self.all.insert_before(&self.whole, ProgressBar::new(100));
        bar.set_style(style("  {spinner} {prefix:16} {wide_msg}"));
        bar.set_prefix(harmless(who, false));
        bar.set_message(harmless(data["nodeType"].as_str().unwrap_or_default(), false));
        bar.enable_steady_tick(TICK);
        self.nodes.insert(who.to_owned(), bar);
    }

    fn step(&mut self, who: &str, data: &Value) {
        self.begin(who, data);
        let Some(bar) = self.nodes.get(who) else { return };
        if let Some(progress) = data["progress"].as_f64() {
            bar.set_style(style("  {spinner} {prefix:16} [{bar:20}] {pos:>3}% {wide_msg}"));
            bar.set_position(progress.clamp(0.0, 100.0) as u64);
        }
        let words = data["step"].as_str().or(data["message"].as_str());
        bar.set_message(harmless(words.unwrap_or_default(), false));
    }

    fn finish(&mut self, who: &str) {
        self.tails.remove(who);
        if let Some(bar) = self.nodes.remove(who) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    fn write(&mut self, who: &str, event: &Value) {
        let Some(bar) = self.nodes.get(who) else { return };
        let tail = self.tails.entry(who.to_owned()).or_default();
        tail.push_str(&harmless(&event["data"]["token"].as_str().unwrap_or_default().replace('\n', " "), false));
        if let Some((at, _)) = tail.char_indices().rev().nth(TAIL_CHARS) {
            tail.drain(..at);
        }
        bar.set_message(tail.clone());
    }

    fn progress(&mut self, event: &Value) -> Result<(), Failure> {
        let data = &event["data"];
        if let Some(progress) = data["progress"].as_f64() {
            self.whole.set_position(progress.clamp(0.0, 100.0) as u64);
        }
        let node = data["currentNode"].as_str().or(data["currentAgent"].as_str());
        self.whole.set_message(harmless(node.unwrap_or_default(), false));
        Ok(())
    }

    fn pieces(&mut self, pieces: Vec<Piece>) -> Result<(), Failure> {
        for piece in pieces {
            // Lines do not run here: the bar shows what is being written.
            if let Piece::Line(mut event, text) = piece {
                event["data"]["token"] = text.into();
                let line = self.manner.line(&event);
                self.line(line)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: String) -> Result<(), Failure> {
        if let Some(held) = &mut self.held {
            held.push_back(line);
            if held.len() <= HELD_MAX {
                return Ok(());
            }
            return match held.pop_front() {
                Some(oldest) => self.print(&oldest),
                None => Ok(()),
            };
        }
        self.print(&line)
    }

    fn print(&mut self, line: &str) -> Result<(), Failure> {
        let out = &mut *self.out;
        self.all.suspend(|| out.line(line).and_then(|()| out.flush()))?;
        Ok(())
    }

    /// Says something that is no event.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn remark(&mut self, text: &str) -> Result<(), Failure> {
        self.line(format!("weft: {}", short(&harmless(text, false).into())))
    }

    /// Nothing is drawn while somebody types; afterwards comes what has happened meanwhile.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn pause(&mut self, is_asking: bool) -> Result<(), Failure> {
        if is_asking {
            self.held.get_or_insert_default();
            // What is drawn goes before drawing stops.
            let _ = self.all.clear();
            self.all.set_draw_target(ProgressDrawTarget::hidden());
            return Ok(());
        }
        self.all.set_draw_target(ProgressDrawTarget::stderr());
        for line in self.held.take().unwrap_or_default() {
            self.print(&line)?;
        }
        Ok(())
    }

    /// Takes the bars away.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn end(&mut self) -> Result<(), Failure> {
        let pieces = self.texts.all_ended(None);
        self.pieces(pieces)?;
        for bar in self.nodes.values().chain([&self.whole]) {
            bar.finish_and_clear();
        }
        self.pause(false)?;
        let _ = self.all.clear();
        Ok(self.out.flush()?)
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are ours; one that cannot be read would show in the first test that draws.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}
