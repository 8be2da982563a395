//! Tokens as running text: several agents may write at once, and each line shall still be one agent's.

use serde_json::Value;
use std::collections::BTreeMap;

/// Longest piece of a line that waits for its end, in bytes; past it, it is told as a line.
const LINE_BYTES_MAX: usize = 4096;
/// Agents whose unfinished lines are kept; of a further one each token is a line.
const AGENTS_MAX: usize = 256;

/// A piece of text to write.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// A line of its own, of the event that brought its beginning.
    Line(Value, String),
    /// Begins a running line: the head of this event, then the text.
    Begin(Value, String),
    /// Goes on in the running line.
    More(String),
    /// Ends the running line.
    End,
}

/// The texts that agents are writing.
pub struct Texts {
    /// What each has written of a line that has no end yet, with the event that began it.
    open: BTreeMap<String, (Value, String)>,
    /// Who writes in the running line; only where lines can run, on a terminal.
    running: Option<String>,
    can_run: bool,
}

impl Texts {
    /// Lines run on a terminal; in a pipe each is written when it is whole.
    #[must_use]
    pub fn new(can_run: bool) -> Self {
        Self { open: BTreeMap::new(), running: None, can_run }
    }

    /// A token of an agent.
    pub fn token(&mut self, event: &Value) -> Vec<Piece> {
        let token = event["data"]["token"].as_str().unwrap_or_default();
        let agent = name(event);
        let mut pieces = Vec::new();
        let mut parts = token.split('\n').peekable();
        while let Some(part) = parts.next() {
            self.write(&agent, event, part, &mut pieces);
            if parts.peek().is_some() {
                self.break_line(&agent, &mut pieces);
            }
        }
        pieces
    }

    fn write(&mut self, agent: &str, event: &Value, part: &str, pieces: &mut Vec<Piece>) {
        if part.is_empty() {
            return;
        }
        if self.running.as_deref() == Some(agent) {
            pieces.push(Piece::More(part.to_owned()));
            return;
        }
        if self.open.len() >= AGENTS_MAX && !self.open.contains_key(agent) {
            pieces.extend(self.interrupt());
            pieces.push(Piece::Line(event.clone(), part.to_owned()));
            return;
        }
        let (begun, text) = self.open.entry(agent.to_owned()).or_insert_with(|| (event.clone(), String::new()));
        text.push_str(part);
        if self.can_run && self.running.is_none() {
            pieces.push(Piece::Begin(begun.clone(), std::mem::take(text)));
            self.open.remove(agent);
            self.running = Some(agent.to_owned());
        } else if text.len() > LINE_BYTES_MAX {
            self.break_line(agent, pieces);
        }
    }

    /// The agent's line has its end.
    fn break_line(&mut self, agent: &str, pieces: &mut Vec<Piece>) {
        if self.running.as_deref() == Some(agent) {
            self.running = None;
            pieces.push(Piece::End);
        } else if let Some((event, text)) = self.open.remove(agent)
            && !text.is_empty()
        {
            pieces.extend(self.interrupt());
            pieces.push(Piece::Line(event, text));
        }
    }

    /// An agent has stopped writing.
    pub fn ended(&mut self, event: &Value) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.break_line(&name(event), &mut pieces);
        pieces
    }

    /// An execution has ended, or following it: nobody of it writes any more. Of all executions without one.
    pub fn all_ended(&mut self, execution: Option<&str>) -> Vec<Piece> {
        let is_of = |agent: &str| execution.is_none_or(|execution| agent.split('\n').next() == Some(execution));
        let mut pieces = Vec::new();
        let agents: Vec<String> = self.running.iter().chain(self.open.keys()).filter(|agent| is_of(agent)).cloned().collect();
        for agent in agents {
            self.break_line(&agent, &mut pieces);
        }
        pieces
    }

    /// Another line comes: the running one ends here, and its text goes on in a further line.
    pub fn interrupt(&mut self) -> Option<Piece> {
        self.running.take().map(|_| Piece::End)
    }
}

/// Who writes, in which execution.
fn name(event: &Value) -> String {
    let agent = event["agentId"].as_str().or(event["data"]["agentId"].as_str()).unwrap_or_default();
    format!("{}\n{agent}", event["executionId"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn token(agent: &str, token: &str) -> Value {
        json!({"type": "agent:token", "executionId": "e", "agentId": agent, "data": {"token": token}})
    }

    /// What is written, heads as `[agent]`.
    fn written(pieces: impl IntoIterator<Item = Piece>) -> String {
        let head = |event: &Value| format!("[{}]", event["agentId"].as_str().unwrap_or_default());
        let write = |piece| match piece {
            Piece::Line(event, text) => format!("{}{text}\n", head(&event)),
            Piece::Begin(event, text) => format!("{}{text}", head(&event)),
            Piece::More(text) => text,
            Piece::End => "\n".into(),
        };
        pieces.into_iter().map(write).collect()
    }

    #[test]
    fn in_a_pipe_a_line_is_written_when_it_is_whole() {
        let mut texts = Texts::new(false);
        let mut all = String::new();
        for (agent, text) in [("a", "Hel"), ("b", "x "), ("a", "lo\nwor"), ("b", "y"), ("a", "ld\n\n")] {
            all.push_str(&written(texts.token(&token(agent, text))));
        }
        assert_eq!(all, "[a]Hello\n[a]world\n");
        assert_eq!(written(texts.ended(&token("b", ""))), "[b]x y\n");
        assert_eq!(written(texts.all_ended(None)), "");
    }

    #[test]
    fn on_a_terminal_the_first_to_write_runs() {
        let mut texts = Texts::new(true);
        let mut all = String::new();
        for (agent, text) in [("a", "Hel"), ("b", "x "), ("a", "lo\n"), ("b", "y"), ("a", "wor")] {
            all.push_str(&written(texts.token(&token(agent, text))));
        }
        assert_eq!(all, "[a]Hello\n[b]x y");
        assert_eq!(written(texts.interrupt()), "\n");
        assert_eq!(written(texts.token(&token("b", "z"))), "[b]z", "it goes on below what came in between");
        assert_eq!(written(texts.all_ended(Some("other"))), "");
        assert_eq!(written(texts.all_ended(Some("e"))), "\n[a]wor\n");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut texts = Texts::new(false);
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        assert_eq!(written(texts.token(&token("a", &long))), format!("[a]{long}\n"));
        for agent in 0..=AGENTS_MAX {
            let text = written(texts.token(&token(&agent.to_string(), "t")));
            assert_eq!(text.is_empty(), agent < AGENTS_MAX, "{agent}");
        }
    }
}
