//! What is to be run: a workflow, its inputs and its nodes. Valid by construction, see [`crate::definition`].

use crate::template::Template;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value};
use std::{fmt, time::Duration};

/// Largest single input given as text, in bytes.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Largest inputs of an execution together, in bytes of JSON.
pub const INPUTS_BYTES_MAX: usize = 64 * 1024;

/// A directed graph of nodes without cycles.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// Its name, also that of its file.
    pub name: String,
    /// What it does, for people.
    pub description: String,
    /// What an execution is given, by name.
    pub inputs: IndexMap<String, Input>,
    /// Environment variables of all its commands.
    pub env: IndexMap<String, Template>,
    /// Longest time of an execution.
    pub timeout: Duration,
    /// The nodes, in the order of the file.
    pub nodes: Vec<Node>,
}

/// What an execution is given.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// For people.
    pub description: String,
    /// What it must be.
    #[serde(rename = "type")]
    pub kind: ValueKind,
    /// Whether an execution cannot begin without it.
    pub required: bool,
    /// What it is when it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// What a value must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueKind {
    /// A string.
    #[default]
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl ValueKind {
    /// Whether a value is of this kind.
    #[must_use]
    pub fn admits(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        })
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its id, which is also the agent's for [`Step::Tokens`].
    pub id: String,
    /// Its name for people; the id where none was given.
    pub name: String,
    /// Positions in [`Workflow::nodes`] of the nodes that must have completed.
    pub depends_on: Vec<usize>,
    /// What happens when it fails.
    pub retries: Retries,
    /// Longest time of one attempt. `None` where the step has a deadline of its own (a prompt).
    pub timeout: Option<Duration>,
    /// Environment variables, over those of the workflow; only commands have them.
    pub env: IndexMap<String, Template>,
    /// The agent that does this as a tool call, if any.
    pub tool_of: Option<String>,
    /// What to do.
    pub step: Step,
}

/// How often a failed node is tried again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retries {
    /// Further attempts after the first.
    pub attempts: u32,
    /// Time between two attempts.
    pub delay: Duration,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Runs a process: the program and its arguments, word for word.
    Command(Vec<String>),
    /// Sends one HTTP request.
    Http(HttpStep),
    /// Waits.
    Sleep(Duration),
    /// Asks a person.
    Prompt(PromptStep),
    /// Streams a text as an agent would.
    Tokens(TokensStep),
}

impl Step {
    /// The word for it in events, logs and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Command(_) => "command",
            Self::Http(_) => "http",
            Self::Sleep(_) => "sleep",
            Self::Prompt(_) => "prompt",
            Self::Tokens(_) => "tokens",
        }
    }
}

/// One HTTP request and what its answer must be.
#[derive(Clone, Debug)]
pub struct HttpStep {
    /// The method, one of the usual ones.
    pub method: String,
    /// Where to.
    pub url: Template,
    /// Header fields.
    pub headers: IndexMap<String, Template>,
    /// The request's body.
    pub body: Option<Template>,
    /// Statuses that are right; empty for any 2xx.
    pub expect_status: Vec<u16>,
    /// What the answer's body must contain.
    pub expect_contains: Option<Template>,
}

/// A question to a person.
#[derive(Clone, Debug)]
pub struct PromptStep {
    /// The question.
    pub text: Template,
    /// What the answer must be.
    pub rule: AnswerRule,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

/// What an answer must be.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerRule {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: ValueKind,
    /// The only answers there are, if any are listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Shortest text, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<usize>,
    /// Longest text, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Smallest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl AnswerRule {
    /// Checks an answer; the error is the rule it broke, in words that follow "the answer".
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if !self.kind.admits(value) {
            return Err(format!("must be {}", self.kind));
        }
        if let Value::String(text) = value {
            let length = text.chars().count();
            if text.len() > INPUT_BYTES_MAX {
                return Err(format!("must be at most {INPUT_BYTES_MAX} bytes"));
            }
            if !self.choices.is_empty() && !self.choices.contains(text) {
                return Err(format!("must be one of {}", self.choices.join(", ")));
            }
            if let Some(min) = self.min_length.filter(|min| length < *min) {
                return Err(format!("must have at least {min} characters"));
            }
            if let Some(max) = self.max_length.filter(|max| length > *max) {
                return Err(format!("must have at most {max} characters"));
            }
        }
        if let Some(number) = value.as_f64() {
            if let Some(min) = self.min.filter(|min| number < *min) {
                return Err(format!("must be at least {min}"));
            }
            if let Some(max) = self.max.filter(|max| number > *max) {
                return Err(format!("must be at most {max}"));
            }
        }
        Ok(())
    }
}

/// A text that is streamed word by word.
#[derive(Clone, Debug)]
pub struct TokensStep {
    /// The agent's name for people.
    pub agent_name: Option<String>,
    /// The text.
    pub text: Template,
    /// Time between two tokens.
    pub delay: Duration,
}

/// An input that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadInput {
    /// `inputs.<name>`.
    pub field: String,
    /// The rule it broke.
    pub rule: String,
}

impl Workflow {
    /// Checks what an execution is given and adds defaults.
    pub fn bind(&self, given: Map<String, Value>) -> Result<Map<String, Value>, BadInput> {
        let refuse = |name: &str, rule: String| Err(BadInput { field: format!("inputs.{name}"), rule });
        if let Some(unknown) = given.keys().find(|name| !self.inputs.contains_key(*name)) {
            return refuse(unknown, format!("workflow '{}' has no such input", self.name));
        }
        let mut bound = Map::new();
        for (name, input) in &self.inputs {
            match given.get(name).filter(|value| !value.is_null()).or(input.default.as_ref()) {
                None if input.required => return refuse(name, "is required".into()),
                None => {}
                Some(value) if !input.kind.admits(value) => return refuse(name, format!("must be {}", input.kind)),
                Some(Value::String(text)) if text.len() > INPUT_BYTES_MAX => {
                    return refuse(name, format!("must be at most {INPUT_BYTES_MAX} bytes"));
                }
                Some(value) => {
                    bound.insert(name.clone(), value.clone());
                }
            }
        }
        let bytes = Value::Object(bound.clone()).to_string().len();
        if bytes > INPUTS_BYTES_MAX {
            return Err(BadInput { field: "inputs".into(), rule: format!("must be at most {INPUTS_BYTES_MAX} bytes together") });
        }
        Ok(bound)
    }

    /// What a list of workflows tells.
    #[must_use]
    pub fn summary(&self) -> Value {
        serde_json::json!({"name": self.name, "description": self.description, "inputs": self.inputs})
    }

    /// What reading one workflow tells: its nodes too, but neither commands nor environment.
    #[must_use]
    pub fn outline(&self) -> Value {
        let node = |node: &Node| {
            let depends_on: Vec<&str> = self.needs(node).collect();
            serde_json::json!({"id": node.id, "name": node.name, "type": node.step.word(), "dependsOn": depends_on,
                "retries": node.retries.attempts, "timeoutMs": node.timeout.map(|limit| limit.as_millis() as u64)})
        };
        let mut outline = self.summary();
        outline["nodes"] = self.nodes.iter().map(node).collect();
        outline["timeoutMs"] = (self.timeout.as_millis() as u64).into();
        outline
    }

    /// Ids of the nodes that must have completed before one of its nodes begins.
    pub fn needs<'w>(&'w self, node: &'w Node) -> impl Iterator<Item = &'w str> {
        node.depends_on.iter().map(|at| self.nodes[*at].id.as_str())
    }

    /// Positions of the nodes that no other depends on: their outputs are the result.
    #[must_use]
    pub fn leaves(&self) -> Vec<usize> {
        let needed: std::collections::HashSet<usize> =
            self.nodes.iter().flat_map(|node| node.depends_on.iter().copied()).collect();
        (0..self.nodes.len()).filter(|at| !needed.contains(at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_are_checked() {
        let text = AnswerRule { min_length: Some(2), max_length: Some(3), ..AnswerRule::default() };
        let choice = AnswerRule { choices: vec!["a".into(), "b".into()], ..AnswerRule::default() };
        let number = AnswerRule { kind: ValueKind::Number, min: Some(1.0), max: Some(5.0), ..AnswerRule::default() };
        let yes_no = AnswerRule { kind: ValueKind::Boolean, ..AnswerRule::default() };
        for (rule, value, right) in [
            (&text, json!("ab"), true),
            (&text, json!("\u{e4}\u{f6}\u{fc}"), true),
            (&text, json!("a"), false),
            (&text, json!("abcd"), false),
            (&text, json!(12), false),
            (&choice, json!("b"), true),
            (&choice, json!("c"), false),
            (&number, json!(1), true),
            (&number, json!(5.5), false),
            (&number, json!("3"), false),
            (&yes_no, json!(false), true),
            (&yes_no, json!("true"), false),
            (&yes_no, json!(null), false),
        ] {
            assert_eq!(rule.check(&value).is_ok(), right, "{rule:?} {value}");
        }
    }
}
