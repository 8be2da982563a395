//! What each kind of node does in one attempt.
//!
//! A step ends soon after `stop` is cancelled, answering [`Failure::Stopped`]; its caller knows why it was stopped.

use crate::{
    executions::Execution,
    prompts::Answer,
    refusal::{Code, Refusal},
    reporter::{Level, Report},
    template::{Scope, Template},
    workflow::{Node, PromptStep, Step, TokensStep, Workflow},
};
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio_util::sync::CancellationToken;

mod command;
mod http;

pub use self::http::HostList;

/// What the steps of all executions share.
pub struct Tools {
    /// Where commands run: the workflow directory.
    pub dir: std::path::PathBuf,
    /// Sends the requests of http steps; follows no redirect.
    pub http: reqwest::Client,
    /// Hosts that a substituted URL may name.
    pub http_hosts: HostList,
    /// The executor's own variables that commands get.
    pub environment: Vec<(String, String)>,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Most bytes of output of an attempt that become log events.
    pub output_bytes_max: usize,
    /// Most lines of output of an attempt that become log events.
    pub output_lines_max: usize,
    /// Most nodes of one execution at once.
    pub nodes_at_once: usize,
}

/// One attempt of one node.
pub struct Attempt<'a> {
    /// What the steps of all executions share.
    pub tools: &'a Tools,
    /// Of which execution.
    pub execution: &'a Execution,
    /// Where to tell about it.
    pub report: &'a Report,
    /// Which node.
    pub node: &'a Node,
    /// Values for its templates.
    pub scope: &'a Scope,
    /// A directory of the execution's own, removed at its end.
    pub scratch: &'a Path,
    /// Cancelled when the attempt must end.
    pub stop: &'a CancellationToken,
}

/// Why an attempt gave no output.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed.
    Failed(String),
    /// It was stopped from outside.
    Stopped,
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self::Failed(error)
    }
}

impl Attempt<'_> {
    /// Runs the attempt to its output.
    pub async fn run(&self) -> Result<Value, Failure> {
        match &self.node.step {
            Step::Command(argv) => command::run(self, argv).await,
            Step::Http(step) => http::run(self, step).await,
            Step::Sleep(span) => self.until(tokio::time::sleep(*span)).await.map(|()| Value::Null),
            Step::Prompt(step) => self.prompt(step).await,
            Step::Tokens(step) => self.tokens(step).await,
        }
    }

    /// Waits for something that may simply be dropped when the attempt is stopped.
    async fn until<T>(&self, what: impl Future<Output = T>) -> Result<T, Failure> {
        self.stop.run_until_cancelled(what).await.ok_or(Failure::Stopped)
    }

    fn render(&self, field: &str, text: &Template) -> Result<String, Failure> {
        text.render(self.scope).map_err(|error| Failure::Failed(format!("{field}: {error}")))
    }

    fn render_all(&self, field: &str, texts: &IndexMap<String, Template>) -> Result<Vec<(String, String)>, Failure> {
        texts.iter().map(|(name, text)| Ok((name.clone(), self.render(&format!("{field}.{name}"), text)?))).collect()
    }

    fn workflow(&self) -> &Workflow {
        &self.execution.workflow
    }

    async fn prompt(&self, step: &PromptStep) -> Result<Value, Failure> {
        let prompts = &self.execution.prompts;
        let request_id = uuid::Uuid::now_v7().to_string();
        let timeout_ms = u64::try_from(step.timeout.as_millis()).unwrap_or(u64::MAX);
        let asked = json!({"requestId": request_id, "prompt": self.render("prompt.text", &step.text)?,
            "inputType": step.rule.kind, "validation": step.rule, "timeoutMs": timeout_ms});
        // Open before it is told, so that the fastest answer finds it.
        let answered = prompts.open(&request_id, step.rule.clone(), asked.clone());
        self.report.user_input(self.node, "required", asked).await;
        let mut answered = std::pin::pin!(answered);
        let in_time = tokio::select! {
            answer = &mut answered => answer.ok(),
            () = tokio::time::sleep(step.timeout) => {
                let late = Refusal::new(Code::TimedOut, "the time for an answer is over");
                // Either the question is closed now, or its answer has just arrived.
                if prompts.close(&request_id, late) {
                    self.report.user_input(self.node, "timeout", json!({"requestId": request_id, "timeoutMs": timeout_ms})).await;
                    return Err(Failure::Failed(format!("nobody answered within {:?}", step.timeout)));
                }
                answered.await.ok()
            }
            () = self.stop.cancelled() => {
                if prompts.close(&request_id, Refusal::new(Code::NotRunning, "the execution has stopped")) {
                    return Err(Failure::Stopped);
                }
                answered.await.ok()
            }
        };
        let Some(Answer { value, by }) = in_time else { return Err(Failure::Stopped) };
        self.report.user_input(self.node, "provided", json!({"requestId": request_id, "by": by})).await;
        Ok(value)
    }

    async fn tokens(&self, step: &TokensStep) -> Result<Value, Failure> {
        let (agent, text) = (&self.node.id, self.render("tokens.text", &step.text)?);
        let name = step.agent_name.as_ref().unwrap_or(&self.node.name);
        self.report.agent(agent, "streaming_start", json!({"agentName": name})).await;
        let mut count = 0usize;
        for token in tokens_of(&text) {
            if count > 0 {
                self.until(tokio::time::sleep(step.delay)).await?;
            } else if self.stop.is_cancelled() {
                return Err(Failure::Stopped);
            }
            self.report.agent(agent, "token", json!({"token": token, "index": count})).await;
            count += 1;
        }
        let end = json!({"response": text, "tokenCount": count});
        self.report.agent(agent, "streaming_end", end).await;
        Ok(Value::String(text))
    }

    async fn log(&self, level: Level, message: &str, metadata: Value) {
        self.report.log(self.node, level, message, metadata).await;
    }
}

/// A text as the tokens that make it up: words, each with the white space after it.
fn tokens_of(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let end = rest[word..].find(|letter: char| !letter.is_whitespace()).map_or(rest.len(), |space| word + space);
        let token = rest.get(..end).filter(|token| !token.is_empty())?;
        rest = &rest[end..];
        Some(token)
    })
}

#[cfg(test)]
mod tests {
    use super::tokens_of;

    #[test]
    fn tokens_make_up_their_text() {
        for (text, tokens) in [
            ("", vec![]),
            ("one", vec!["one"]),
            ("Once upon\n\na  time. ", vec!["Once ", "upon\n\n", "a  ", "time. "]),
            (" leading", vec![" ", "leading"]),
            ("gr\u{fc}n \u{2003}ja", vec!["gr\u{fc}n \u{2003}", "ja"]),
        ] {
            assert_eq!(tokens_of(text).collect::<Vec<_>>(), tokens, "{text:?}");
            assert_eq!(tokens_of(text).collect::<String>(), text);
        }
    }
}
