//! The questions of one execution that wait for a person, and how each was answered.
//!
//! A question is open until the first of: an answer that keeps its rule, its timeout, the end of the execution.
//! From then on whoever answers it again is told what the first was told.

use crate::{
    refusal::{Code, Refusal},
    workflow::AnswerRule,
};
use indexmap::IndexMap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Questions remembered for one execution; when there are more, the oldest closed ones are forgotten.
const REMEMBERED_MAX: usize = 64;
/// Largest answer that is told again to whoever answers too, in bytes.
const TOLD_BYTES_MAX: usize = 1024;

/// The questions of one execution.
#[derive(Default)]
pub struct Prompts(Mutex<IndexMap<String, Prompt>>);

enum Prompt {
    Open { rule: AnswerRule, asked: Value, answer: oneshot::Sender<Answer> },
    Closed(Result<Value, Refusal>),
}

/// An answer that was accepted.
#[derive(Debug)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// Who gave it, where known.
    pub by: Option<String>,
}

impl Prompts {
    /// Opens a question. `asked` is what a list of open questions tells of it.
    pub fn open(&self, request_id: &str, rule: AnswerRule, asked: Value) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let mut prompts = self.0.lock();
        prompts.insert(request_id.to_owned(), Prompt::Open { rule, asked, answer });
        if prompts.len() > REMEMBERED_MAX
            && let Some(at) = prompts.values().position(|prompt| matches!(prompt, Prompt::Closed(_)))
        {
            prompts.shift_remove_index(at);
        }
        answered
    }

    /// Takes an answer: the body of the acceptance, or why not. A value that breaks the rule leaves the question open.
    pub fn provide(&self, request_id: &str, value: Value, by: Option<&str>) -> Result<Value, Refusal> {
        let mut prompts = self.0.lock();
        let Some(prompt) = prompts.get_mut(request_id) else {
            return Err(Refusal::new(Code::UnknownRequest, "the execution has no such request"));
        };
        match prompt {
            Prompt::Closed(told) => return told.clone(),
            Prompt::Open { rule, .. } => {
                rule.check(&value).map_err(|broken| Refusal::new(Code::InvalidValue, format!("the answer {broken}")))?;
            }
        }
        let mut told = json!({"requestId": request_id});
        if value.to_string().len() <= TOLD_BYTES_MAX {
            told["value"] = value.clone();
        }
        let told = Ok(told);
        if let Prompt::Open { answer, .. } = std::mem::replace(prompt, Prompt::Closed(told.clone()))
            && answer.send(Answer { value, by: by.map(str::to_owned) }).is_err()
        {
            // Its node has ended in this moment, and nobody will read the answer.
            let gone = Err(Refusal::new(Code::NotRunning, "nobody waits for this answer any more"));
            *prompt = Prompt::Closed(gone.clone());
            return gone;
        }
        told
    }

    /// Closes a question unless it has been answered; whether this closed it.
    pub fn close(&self, request_id: &str, told: Refusal) -> bool {
        let mut prompts = self.0.lock();
        match prompts.get_mut(request_id) {
            Some(prompt @ Prompt::Open { .. }) => {
                *prompt = Prompt::Closed(Err(told));
                true
            }
            _ => false,
        }
    }

    /// The open questions, as they were asked.
    #[must_use]
    pub fn asked(&self) -> Vec<Value> {
        let open = |prompt: &Prompt| match prompt {
            Prompt::Open { asked, .. } => Some(asked.clone()),
            Prompt::Closed(_) => None,
        };
        self.0.lock().values().filter_map(open).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_right_answer_counts_and_is_told_again() {
        let prompts = Prompts::default();
        let rule = AnswerRule { choices: vec!["yes".into(), "no".into()], ..AnswerRule::default() };
        let mut answered = prompts.open("r", rule, json!({"requestId": "r"}));
        assert_eq!(prompts.asked().len(), 1);
        assert_eq!(prompts.provide("x", json!("yes"), None).map_err(|refusal| refusal.code), Err(Code::UnknownRequest));
        assert_eq!(prompts.provide("r", json!("maybe"), None).map_err(|refusal| refusal.code), Err(Code::InvalidValue));
        let first = prompts.provide("r", json!("yes"), Some("ada"));
        assert!(first.is_ok());
        assert_eq!(prompts.provide("r", json!("yes"), None), first);
        assert_eq!(prompts.provide("r", json!("no"), None), first);
        assert!(!prompts.close("r", Refusal::new(Code::TimedOut, "late")));
        let answer = answered.try_recv().expect("answered");
        assert_eq!((answer.value, answer.by.as_deref()), (json!("yes"), Some("ada")));
        assert!(prompts.asked().is_empty());
    }

    #[test]
    fn a_closed_question_takes_no_answer() {
        let prompts = Prompts::default();
        let _answered = prompts.open("r", AnswerRule::default(), Value::Null);
        assert!(prompts.close("r", Refusal::new(Code::TimedOut, "too late")));
        for _ in 0..2 {
            assert_eq!(prompts.provide("r", json!("x"), None).map_err(|refusal| refusal.code), Err(Code::TimedOut));
        }
        drop(prompts.open("s", AnswerRule::default(), Value::Null));
        assert_eq!(prompts.provide("s", json!("x"), None).map_err(|refusal| refusal.code), Err(Code::NotRunning));
    }

    #[test]
    fn open_questions_are_never_forgotten() {
        let prompts = Prompts::default();
        let _first = prompts.open("first", AnswerRule::default(), Value::Null);
        for at in 0..2 * REMEMBERED_MAX {
            let id = format!("r{at}");
            drop(prompts.open(&id, AnswerRule::default(), Value::Null));
            prompts.close(&id, Refusal::new(Code::TimedOut, ""));
        }
        assert!(prompts.provide("first", json!("x"), None).is_ok());
        assert!(prompts.0.lock().len() <= REMEMBERED_MAX + 1);
    }
}
