//! Commands from clients, by whichever way they came: each is answered once, a repeat as the first was.

use crate::{
    executor::{Executor, Order, Plan},
    refusal::{Code, Refusal},
};
use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json, value::to_raw_value};
use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tracing::info;
use weft_bus::{Address, Command, Incoming, Reply};

/// How long an answer is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Most answers remembered; beyond it the oldest is forgotten early.
const REMEMBERED_MAX: usize = 5000;
/// Commands answered at once.
const AT_ONCE: usize = 64;
/// Longest `ref`, in bytes.
const REFERENCE_BYTES_MAX: usize = 256;
/// Commands that wait in the inbox; further ones are told that the executor is busy.
pub const INBOX_MAX: usize = 256;

/// The body of `execute`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Execute {
    workflow: Option<String>,
    definition: Option<Value>,
    execution_id: Option<String>,
    #[serde(default)]
    inputs: Option<Map<String, Value>>,
    user_id: Option<String>,
    traceparent: Option<String>,
}

/// The body of `user_input:provide`. Clients' further fields are theirs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provide {
    request_id: String,
    value: Value,
}

/// The body of `cancel`.
#[derive(Deserialize)]
struct Cancel {
    reason: Option<String>,
}

/// The body of `start-streaming`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartStreaming {
    execution_id: String,
}

/// Answers commands until the inbox is closed.
pub async fn answer_all(executor: Executor, mut inbox: mpsc::Receiver<Incoming>) {
    let answers = Arc::new(Answers::default());
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(Incoming { command, address, reply }) = inbox.recv().await {
        if matches!(address, Address::Execution(_)) {
            // They take no time, and must not overtake each other: of two answers to a prompt the first one counts.
            let _ = reply.send(answer(&executor, &answers, &address, &command).await);
            continue;
        }
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (executor, answers) = (executor.clone(), answers.clone());
        tokio::spawn(async move {
            // Whoever asked may have stopped waiting; the answer is remembered for its repeat.
            let _ = reply.send(answer(&executor, &answers, &address, &command).await);
            drop(place);
        });
    }
}

async fn answer(executor: &Executor, answers: &Answers, address: &Address, command: &Command) -> Reply {
    let kind = label(&command.kind);
    let (cell, is_new) = match answers.cell(address, command) {
        Ok(found) => found,
        Err(refusal) => {
            crate::metrics::command(kind, refusal.code.word());
            return rejected(&refusal);
        }
    };
    let answered = cell.get_or_init(|| async { obey(executor, address, command).await }).await;
    match answered {
        Ok(_) if is_new => info!(kind, reference = command.reference, address = address.name(), "command accepted"),
        Err(refusal) if is_new => {
            info!(kind, reference = command.reference, address = address.name(), code = refusal.code.word(), %refusal, "command rejected");
        }
        _ => {}
    }
    crate::metrics::command(
        kind,
        if !is_new { "repeated" } else { answered.as_ref().map_or_else(|refusal| refusal.code.word(), |_| "accepted") },
    );
    match answered {
        Ok(body) => accepted(body),
        Err(refusal) => {
            if refusal.code.may_pass() {
                answers.forget(address, command);
            }
            rejected(refusal)
        }
    }
}

/// Kinds are labels of a metric, so nobody may make up new ones.
fn label(kind: &str) -> &'static str {
    crate::metrics::COMMAND_KINDS.into_iter().find(|known| *known == kind).unwrap_or("unknown")
}

async fn obey(executor: &Executor, address: &Address, command: &Command) -> Result<Value, Refusal> {
    let subject = command.subject.as_deref();
    match (address, command.kind.as_str()) {
        (Address::Execution(room), "user_input:provide") => {
            let Provide { request_id, value } = body(command)?;
            executor.provide(room.id(), &request_id, value, subject)
        }
        (Address::Execution(room), "cancel") => {
            let Cancel { reason } = body(command)?;
            executor.cancel(room.id(), reason.as_deref())
        }
        (Address::Executor(_), "execute") => execute(executor, body(command)?, subject).await,
        (Address::Executor(_), "start-streaming") => {
            let StartStreaming { execution_id } = body(command)?;
            let id = executor.start_streaming(execution_id, subject.map(str::to_owned)).await?;
            Ok(json!({"executionId": id}))
        }
        (_, kind) => Err(Refusal::new(Code::UnknownCommand, format!("{} takes no command '{kind}'", address.name()))),
    }
}

/// The verified subject owns what it starts, whatever the body says.
async fn execute(executor: &Executor, body: Execute, subject: Option<&str>) -> Result<Value, Refusal> {
    let plan = match (body.workflow, body.definition) {
        (Some(name), None) => Plan::Named(name),
        (None, Some(definition)) => Plan::Brought(definition),
        _ => return Err(Refusal::field("workflow", "must be given, or else definition")),
    };
    let user = subject.map(str::to_owned).or(body.user_id);
    let inputs = body.inputs.unwrap_or_default();
    let id =
        executor.execute(Order { plan, execution_id: body.execution_id, inputs, user, traceparent: body.traceparent }).await?;
    Ok(json!({"executionId": id}))
}

fn body<T: DeserializeOwned>(command: &Command) -> Result<T, Refusal> {
    serde_json::from_str(command.body.get()).map_err(|error| Refusal::field("body", error))
}

fn accepted(body: &Value) -> Reply {
    match to_raw_value(body) {
        Ok(body) => Reply::Accepted { body: Some(body) },
        Err(error) => rejected(&Refusal::new(Code::Unavailable, error.to_string())),
    }
}

/// What a sender is told.
#[must_use]
pub fn rejected(refusal: &Refusal) -> Reply {
    Reply::Rejected { code: refusal.code.word().to_owned(), message: refusal.message.clone() }
}

type Answer = Arc<OnceCell<Result<Value, Refusal>>>;

/// The answers of the last minutes, by command.
#[derive(Default)]
struct Answers {
    state: Mutex<Remembered>,
    hasher: RandomState,
}

#[derive(Default)]
struct Remembered {
    by_key: HashMap<Key, Answer>,
    by_age: VecDeque<(Instant, Key)>,
}

/// A command: its `ref`, and everything else of it hashed. Clients choose refs for themselves, so the same ref with
/// another body, from another subject or for another execution is another command.
type Key = (String, u64);

impl Answers {
    /// Where the answer to a command is or will be, and whether nobody has asked for it before.
    fn cell(&self, address: &Address, command: &Command) -> Result<(Answer, bool), Refusal> {
        if command.reference.is_empty() || command.reference.len() > REFERENCE_BYTES_MAX {
            return Err(Refusal::field("ref", format!("must be 1 to {REFERENCE_BYTES_MAX} bytes")));
        }
        let (key, now) = (self.key(address, command), Instant::now());
        let mut state = self.state.lock();
        state.expire(now);
        if let Some(known) = state.by_key.get(&key) {
            return Ok((known.clone(), false));
        }
        let cell = Answer::default();
        state.by_key.insert(key.clone(), cell.clone());
        state.by_age.push_back((now, key));
        Ok((cell, true))
    }

    fn forget(&self, address: &Address, command: &Command) {
        self.state.lock().by_key.remove(&self.key(address, command));
    }

    fn key(&self, address: &Address, command: &Command) -> Key {
        let rest = self.hasher.hash_one((address, &command.kind, &command.subject, command.body.get()));
        (command.reference.clone(), rest)
    }
}

impl Remembered {
    fn expire(&mut self, now: Instant) {
        while let Some((at, _)) = self.by_age.front() {
            if self.by_age.len() < REMEMBERED_MAX && now.duration_since(*at) < REMEMBERED_FOR {
                break;
            }
            if let Some((_, key)) = self.by_age.pop_front() {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn command(reference: &str, body: &str) -> Command {
        let body = RawValue::from_string(body.into()).expect("json");
        Command { reference: reference.into(), kind: "cancel".into(), subject: None, body }
    }

    #[test]
    fn a_repeat_is_the_same_in_everything() {
        let (answers, address) = (Answers::default(), Address::Executor("x".into()));
        let is_new = |command: &Command| answers.cell(&address, command).map(|(_, is_new)| is_new).ok();
        assert_eq!(is_new(&command("1", "{}")), Some(true));
        assert_eq!(is_new(&command("1", "{}")), Some(false));
        assert_eq!(is_new(&command("1", "{\"reason\":\"other\"}")), Some(true));
        assert_eq!(is_new(&Command { subject: Some("ada".into()), ..command("1", "{}") }), Some(true));
        assert_eq!(is_new(&command(&"x".repeat(257), "{}")), None);
        answers.forget(&address, &command("1", "{}"));
        assert_eq!(is_new(&command("1", "{}")), Some(true));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (answers, address) = (Answers::default(), Address::Executor("x".into()));
        for at in 0..REMEMBERED_MAX + 50 {
            answers.cell(&address, &command(&at.to_string(), "{}")).expect("cell");
        }
        let state = answers.state.lock();
        assert!(state.by_key.len() <= REMEMBERED_MAX && state.by_age.len() <= REMEMBERED_MAX);
    }
}
