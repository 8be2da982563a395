//! Watching an execution to its end: what is told, what is asked, and Ctrl-C.

use super::{
    View,
    keyboard::Keyboard,
    prompt::{self, Question},
};
use crate::{
    exit::{Exit, Failure},
    follow::{Follow, Told},
    gateway::Gateways,
    show::output::remark,
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    future::{Future, pending},
    io::{IsTerminal as _, Write as _},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::JoinHandle,
};

/// Questions that wait while one is asked; further ones are left to others.
const QUESTIONS_MAX: usize = 64;

type Answered = oneshot::Receiver<Result<(), Failure>>;

/// An execution that is watched.
pub struct Watch<'a> {
    id: String,
    gateways: Gateways,
    follow: Follow,
    view: View<'a>,
    interrupts: Signal,
    /// Ctrl-C was pressed, and the executor is asked.
    cancelling: Option<JoinHandle<Result<(), Failure>>>,
    was_interrupted: bool,
    /// Somebody is there to be asked.
    keyboard: Option<Keyboard>,
    questions: VecDeque<Question>,
    /// The first question stands before the cursor.
    is_asking: bool,
    answered: Option<Answered>,
    /// Whether questions are asked in colours.
    colours: bool,
}

/// What comes next.
enum Next {
    Told(Option<Told>),
    Interrupt,
    Cancelled(Result<(), Failure>),
    Typed(Option<String>),
    Answered(Result<(), Failure>),
}

impl<'a> Watch<'a> {
    /// Begins to listen for Ctrl-C.
    ///
    /// # Errors
    /// The system does not allow that.
    pub fn new(id: String, gateways: Gateways, follow: Follow, view: View<'a>, colours: bool) -> Result<Self, Failure> {
        let interrupts = signal(SignalKind::interrupt()).map_err(|error| Failure::away(format!("Ctrl-C: {error}")))?;
        let is_person = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Ok(Self {
            id,
            gateways,
            follow,
            view,
            interrupts,
            cancelling: None,
            was_interrupted: false,
            keyboard: is_person.then(Keyboard::new),
            questions: VecDeque::new(),
            is_asking: false,
            answered: None,
            colours,
        })
    }

    /// Until the execution has ended, or is left.
    ///
    /// # Errors
    /// What goes on cannot be followed, or nobody reads any more.
    pub async fn until_end(mut self, mut waiting: VecDeque<Told>) -> Result<Exit, Failure> {
        loop {
            let next = match waiting.pop_front().or_else(|| self.follow.next_waiting()) {
                Some(told) => Next::Told(Some(told)),
                None => {
                    self.view.flush()?;
                    self.next().await
                }
            };
            let ended = match next {
                Next::Told(Some(told)) => self.told(told)?,
                Next::Told(None) => Some(Exit::Unavailable),
                Next::Interrupt => self.interrupted()?,
                Next::Cancelled(result) => {
                    self.cancelling = None;
                    if let Err(failure) = result {
                        self.view.remark(&format!("not cancelled: {failure}"))?;
                    }
                    None
                }
                Next::Typed(line) => self.typed(line)?,
                Next::Answered(result) => self.was_answered(result)?,
            };
            if let Some(exit) = ended {
                self.view.end()?;
                return Ok(exit);
            }
        }
    }

    async fn next(&mut self) -> Next {
        let reads = self.is_asking && self.answered.is_none();
        let typed = async {
            match &mut self.keyboard {
                Some(keyboard) if reads => keyboard.line().await,
                _ => pending().await,
            }
        };
        tokio::select! {
            told = self.follow.next() => Next::Told(told),
            _ = self.interrupts.recv() => Next::Interrupt,
            result = if_any(&mut self.cancelling) => {
                Next::Cancelled(result.unwrap_or_else(|error| Err(Failure::away(error.to_string()))))
            }
            result = if_any(&mut self.answered) => {
                let lost = |_| Err(Failure::away("the connection was lost; whether the answer was taken is unknown"));
                Next::Answered(result.unwrap_or_else(lost))
            }
            line = typed => Next::Typed(line),
        }
    }

    /// How it ended, if it has.
    fn told(&mut self, told: Told) -> Result<Option<Exit>, Failure> {
        let Told::Message(message) = &told else {
            self.view.tell(told)?;
            return Ok(None);
        };
        let (kind, event) = (message.kind().to_owned(), message.value.clone());
        let data = &event["data"];
        if kind == "user_input:provided" || kind == "user_input:timeout" || kind.starts_with("execution:") {
            self.closed(&kind, data["requestId"].as_str())?;
        }
        self.view.tell(told)?;
        match kind.as_str() {
            "user_input:required" => self.asked(data)?,
            "snapshot" => return Ok(event["snapshot"]["status"].as_str().and_then(Exit::of_execution)),
            kind if kind.starts_with("execution:") => return Ok(Exit::of_execution(kind)),
            _ => {}
        }
        Ok(None)
    }

    /// Once asks the executor to cancel, twice leaves.
    fn interrupted(&mut self) -> Result<Option<Exit>, Failure> {
        if std::mem::replace(&mut self.was_interrupted, true) {
            return Ok(Some(Exit::Interrupted));
        }
        self.view.remark("the executor is asked to cancel; Ctrl-C again leaves it as it is")?;
        let (gateways, id) = (self.gateways.clone(), self.id.clone());
        self.cancelling = Some(tokio::spawn(async move {
            gateways.post(&["executions", &id, "cancel"], &json!({ "reason": "Ctrl-C" }), true).await.map(drop)
        }));
        Ok(None)
    }

    fn asked(&mut self, data: &Value) -> Result<(), Failure> {
        let question = Question::new(data);
        if self.keyboard.is_none() || self.questions.len() >= QUESTIONS_MAX {
            let how = format!("an answer is waited for: weft answer {} {} <value>", self.id, question.request_id);
            return self.view.remark(&how);
        }
        self.questions.push_back(question);
        if self.is_asking { Ok(()) } else { self.ask() }
    }

    /// Puts the first question, or goes on drawing where there is none.
    fn ask(&mut self) -> Result<(), Failure> {
        self.is_asking = !self.questions.is_empty();
        self.view.pause(self.is_asking)?;
        if let Some(question) = self.questions.front() {
            let mut stderr = std::io::stderr();
            // A terminal that is gone reads nothing and types nothing.
            let _ = write!(stderr, "{}", question.line(self.colours)).and_then(|()| stderr.flush());
        }
        Ok(())
    }

    fn typed(&mut self, line: Option<String>) -> Result<Option<Exit>, Failure> {
        let Some(question) = self.questions.front() else { return Ok(None) };
        let Some(line) = line else {
            // Nobody will type any more: the questions are left to others.
            self.keyboard = None;
            for question in std::mem::take(&mut self.questions) {
                remark(&format!("left open: weft answer {} {} <value>", self.id, question.request_id));
            }
            self.ask()?;
            return Ok(None);
        };
        // A line that is empty is more often a slip than an answer.
        let value = if line.is_empty() { Err("must not be empty".to_owned()) } else { question.read(&line) };
        match value {
            Ok(value) => self.answered = Some(self.follow.ask(prompt::message(&self.id, &question.request_id, &value))),
            Err(rule) => {
                remark(&format!("the answer {rule}"));
                self.ask()?;
            }
        }
        Ok(None)
    }

    fn was_answered(&mut self, result: Result<(), Failure>) -> Result<Option<Exit>, Failure> {
        self.answered = None;
        if let Err(failure) = result {
            remark(&failure.message);
            // What can be mended is asked again; a question that is closed is not.
            if failure.message.starts_with("invalid") || failure.exit == Exit::Unavailable {
                self.ask()?;
                return Ok(None);
            }
        }
        self.questions.pop_front();
        self.ask()?;
        Ok(None)
    }

    /// A question is closed, or all of them are with the execution.
    fn closed(&mut self, kind: &str, request_id: Option<&str>) -> Result<(), Failure> {
        let is_end = Exit::of_execution(kind).is_some();
        let is_closed = |question: &Question| is_end || Some(question.request_id.as_str()) == request_id;
        // Of an answer of ours the executor's word comes by itself.
        let is_current = self.answered.is_none() && self.is_asking && self.questions.front().is_some_and(is_closed);
        let first = if self.answered.is_some() { self.questions.pop_front() } else { None };
        self.questions.retain(|question| !is_closed(question));
        if let Some(first) = first {
            self.questions.push_front(first);
        }
        if is_current {
            let _ = writeln!(std::io::stderr());
            self.ask()?;
        }
        Ok(())
    }
}

/// Waits for what is under way; for ever where nothing is.
async fn if_any<F: Future + Unpin>(waited: &mut Option<F>) -> F::Output {
    match waited {
        Some(future) => future.await,
        None => pending().await,
    }
}
