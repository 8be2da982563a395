//! The step of a node as it is written: exactly one of `command`, `http`, `sleep`, `prompt`, `tokens`.

use super::{Fault, Origin, Span, fault, positive, template};
use crate::{
    template::Template,
    workflow::{AnswerRule, HttpStep, PromptStep, Step, TokensStep, ValueKind},
};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// How long an answer is waited for, where the file does not say.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(600);
/// Time between two tokens, where the file does not say.
const TOKEN_DELAY: Duration = Duration::from_millis(50);

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHttp {
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: IndexMap<String, String>,
    body: Option<String>,
    #[serde(default)]
    expect: RawExpect,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    status: Option<Value>,
    contains: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrompt {
    text: String,
    #[serde(default, rename = "type")]
    kind: ValueKind,
    #[serde(default)]
    choices: Vec<String>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    min: Option<f64>,
    max: Option<f64>,
    timeout: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTokens {
    agent_name: Option<String>,
    text: String,
    delay: Option<Span>,
}

pub(super) fn compile(
    node: &str,
    command: Option<Value>,
    http: Option<RawHttp>,
    sleep: Option<Span>,
    prompt: Option<RawPrompt>,
    tokens: Option<RawTokens>,
    origin: Origin,
) -> Result<Step, Fault> {
    match (command, http, sleep, prompt, tokens) {
        (Some(_), None, None, None, None) if origin == Origin::Request => {
            fault(format!("{node}.command"), "commands come only from files of the workflow directory")
        }
        (None, Some(_), None, None, None) if origin == Origin::Request => {
            fault(format!("{node}.http"), "http steps come only from files of the workflow directory")
        }
        (Some(command), None, None, None, None) => compile_command(&format!("{node}.command"), command),
        (None, Some(http), None, None, None) => compile_http(&format!("{node}.http"), http).map(Step::Http),
        (None, None, Some(span), None, None) => Ok(Step::Sleep(span.0)),
        (None, None, None, Some(prompt), None) => compile_prompt(&format!("{node}.prompt"), prompt).map(Step::Prompt),
        (None, None, None, None, Some(tokens)) => compile_tokens(&format!("{node}.tokens"), tokens).map(Step::Tokens),
        _ => fault(node, "must have exactly one of command, http, sleep, prompt, tokens"),
    }
}

/// A list is a program and its arguments; a text is for the shell. Neither is ever substituted into.
fn compile_command(field: &str, command: Value) -> Result<Step, Fault> {
    let argv = match command {
        Value::String(script) => vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
        Value::Array(list) => {
            let words: Option<Vec<String>> = list.into_iter().map(|word| word.as_str().map(str::to_owned)).collect();
            match words {
                Some(words) => words,
                None => return fault(field, "must be a list of texts; put numbers in quotes"),
            }
        }
        _ => return fault(field, "must be a list of texts, or one text for the shell"),
    };
    if argv.first().is_none_or(String::is_empty)
        || argv.last().is_some_and(|script| script.trim().is_empty() && argv[0] == "/bin/sh")
    {
        return fault(field, "must name a program");
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return fault(field, "must not hold a NUL");
    }
    for word in &argv {
        // Other programs use {{ }} too; only what looks like ours is a mistake.
        let names_a_place = word
            .split("{{")
            .skip(1)
            .map(str::trim_start)
            .any(|after| ["inputs.", "nodes.", "execution."].iter().any(|start| after.starts_with(start)));
        if names_a_place {
            return fault(field, "nothing is substituted into a command; put the value into env and use \"$NAME\"");
        }
    }
    Ok(Step::Command(argv))
}

fn compile_http(field: &str, raw: RawHttp) -> Result<HttpStep, Fault> {
    let method = raw.method.unwrap_or_else(|| "GET".into());
    if !METHODS.contains(&method.as_str()) {
        return fault(format!("{field}.method"), format!("must be one of {}", METHODS.join(", ")));
    }
    let url = template(&format!("{field}.url"), &raw.url)?;
    let literal = url.literal_start();
    let is_http = literal.starts_with("http://") || literal.starts_with("https://");
    if raw.url.is_empty() || (!literal.is_empty() && !is_http) {
        return fault(format!("{field}.url"), "must begin with http:// or https://, or with a place");
    }
    let headers = raw.headers.into_iter().map(|(name, value)| {
        let field = format!("{field}.headers.{name}");
        if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return fault(field, "is no name of a header field");
        }
        Ok((name, template(&field, &value)?))
    });
    Ok(HttpStep {
        method,
        url,
        headers: headers.collect::<Result<_, _>>()?,
        body: optional(&format!("{field}.body"), raw.body)?,
        expect_status: statuses(&format!("{field}.expect.status"), raw.expect.status)?,
        expect_contains: optional(&format!("{field}.expect.contains"), raw.expect.contains)?,
    })
}

fn optional(field: &str, text: Option<String>) -> Result<Option<Template>, Fault> {
    text.map(|text| template(field, &text)).transpose()
}

/// One status, or a list of them.
fn statuses(field: &str, raw: Option<Value>) -> Result<Vec<u16>, Fault> {
    let list = match raw {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(one) => vec![one],
    };
    let read = |value: &Value| value.as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| (100..600).contains(code));
    let codes: Option<Vec<u16>> = list.iter().map(read).collect();
    codes
        .filter(|codes| !codes.is_empty())
        .map_or_else(|| fault(field, "must be a status from 100 to 599, or a list of them"), Ok)
}

fn compile_prompt(field: &str, raw: RawPrompt) -> Result<PromptStep, Fault> {
    if raw.text.trim().is_empty() {
        return fault(format!("{field}.text"), "must not be empty");
    }
    let only = |kind: ValueKind, name: &str, given: bool| {
        if given && raw.kind != kind { fault(format!("{field}.{name}"), format!("needs type: {kind}")) } else { Ok(()) }
    };
    only(ValueKind::Text, "choices", !raw.choices.is_empty())?;
    only(ValueKind::Text, "min_length", raw.min_length.is_some())?;
    only(ValueKind::Text, "max_length", raw.max_length.is_some())?;
    only(ValueKind::Number, "min", raw.min.is_some())?;
    only(ValueKind::Number, "max", raw.max.is_some())?;
    if raw.min.zip(raw.max).is_some_and(|(min, max)| min > max) {
        return fault(format!("{field}.max"), "must not be less than min");
    }
    if raw.min_length.zip(raw.max_length).is_some_and(|(min, max)| min > max) {
        return fault(format!("{field}.max_length"), "must not be less than min_length");
    }
    Ok(PromptStep {
        text: template(&format!("{field}.text"), &raw.text)?,
        rule: AnswerRule {
            kind: raw.kind,
            choices: raw.choices,
            min_length: raw.min_length,
            max_length: raw.max_length,
            min: raw.min,
            max: raw.max,
        },
        timeout: positive(&format!("{field}.timeout"), raw.timeout)?.unwrap_or(PROMPT_TIMEOUT),
    })
}

fn compile_tokens(field: &str, raw: RawTokens) -> Result<TokensStep, Fault> {
    if raw.text.trim().is_empty() {
        return fault(format!("{field}.text"), "must not be empty");
    }
    Ok(TokensStep {
        agent_name: raw.agent_name,
        text: template(&format!("{field}.text"), &raw.text)?,
        delay: raw.delay.map_or(TOKEN_DELAY, |span| span.0),
    })
}
