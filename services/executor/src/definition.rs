//! How a workflow is written down, and the rules it must keep before anything runs.
//!
//! The raw structs mirror the YAML, key by key; unknown keys are refused. Everything that only shows when the
//! whole is seen (cycles, unknown dependencies, places that name what is not there) is checked in [`graph`].

mod graph;
mod step;

use crate::{
    template::Template,
    workflow::{Input, Node, Retries, ValueKind, Workflow},
};
use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

/// Largest workflow file in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Most workflows in a directory.
const WORKFLOWS_MAX: usize = 500;
/// Most nodes of a workflow.
const NODES_MAX: usize = 200;
/// Most further attempts of a node.
const ATTEMPTS_MAX: u32 = 10;
/// Longest time that any setting of a workflow may name.
const SPAN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest time of an execution and of one attempt, where the file does not say.
const EXECUTION_TIMEOUT: Duration = Duration::from_secs(3600);
const NODE_TIMEOUT: Duration = Duration::from_secs(600);

/// A workflow that cannot be used: where it stands, the field, and the rule it broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {field}: {rule}")]
pub struct Flaw {
    /// The file, or `request`.
    pub file: String,
    /// The field, as a path from the top of the file.
    pub field: String,
    /// The rule, in words that follow the field.
    pub rule: String,
}

/// Who wrote a workflow down, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the workflow directory: anything.
    File,
    /// Somebody's request: neither commands nor requests to other servers.
    Request,
}

/// A broken rule of one field, before the file is known.
#[derive(Debug)]
pub(crate) struct Fault {
    field: String,
    rule: String,
}

pub(crate) fn fault<T>(field: impl Into<String>, rule: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { field: field.into(), rule: rule.into() })
}

/// The workflows of a directory: every `*.yaml` and `*.yml` directly in it.
pub fn load_dir(dir: &Path) -> Result<BTreeMap<String, Arc<Workflow>>, Flaw> {
    let shown = dir.display().to_string();
    let flaw = |rule: String| Flaw { file: shown.clone(), field: "WEFT_WORKFLOW_DIR".into(), rule };
    let entries = fs::read_dir(dir).map_err(|error| flaw(format!("cannot be read: {error}")))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| flaw(format!("cannot be read: {error}")))?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if is_yaml && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(flaw("holds no workflow (*.yaml)".into()));
    }
    if files.len() > WORKFLOWS_MAX {
        return Err(flaw(format!("holds more than {WORKFLOWS_MAX} workflows")));
    }
    files.sort();
    let mut workflows = BTreeMap::new();
    for path in files {
        let workflow = load_file(&path)?;
        if workflows.contains_key(&workflow.name) {
            let rule = format!("'{}' is also the name of another file's workflow", workflow.name);
            return Err(Flaw { file: path.display().to_string(), field: "name".into(), rule });
        }
        workflows.insert(workflow.name.clone(), Arc::new(workflow));
    }
    Ok(workflows)
}

fn load_file(path: &Path) -> Result<Workflow, Flaw> {
    let file = path.display().to_string();
    let flaw = |field: &str, rule: String| Flaw { file: file.clone(), field: field.into(), rule };
    let size = fs::metadata(path).map_err(|error| flaw("file", format!("cannot be read: {error}")))?.len();
    if size > FILE_BYTES_MAX {
        return Err(flaw("file", format!("must be at most {FILE_BYTES_MAX} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|error| flaw("file", format!("cannot be read: {error}")))?;
    let workflow = parse_yaml(&file, &text)?;
    if path.file_stem().is_none_or(|stem| stem != workflow.name.as_str()) {
        return Err(flaw("name", format!("'{}' must be the file's name without its ending", workflow.name)));
    }
    Ok(workflow)
}

/// Reads one workflow from YAML; `file` names it in errors.
pub fn parse_yaml(file: &str, text: &str) -> Result<Workflow, Flaw> {
    let flaw = |field: String, rule: String| Flaw { file: file.into(), field, rule };
    // Read twice: only the untyped form notices a key that stands twice in a map.
    let untyped = serde_yaml_ng::from_str::<serde_yaml_ng::Value>(text);
    untyped.map_err(|error| flaw("file".into(), error.to_string()))?;
    let raw = read(serde_yaml_ng::Deserializer::from_str(text)).map_err(|(field, rule)| flaw(field, rule))?;
    compile(raw, Origin::File).map_err(|Fault { field, rule }| flaw(field, rule))
}

/// Reads one workflow from a request's JSON: no commands, no requests to other servers.
pub fn parse_request(value: Value) -> Result<Workflow, Flaw> {
    let flaw = |field: String, rule: String| Flaw { file: "request".into(), field: format!("definition.{field}"), rule };
    let raw = read(value).map_err(|(field, rule)| flaw(field, rule))?;
    compile(raw, Origin::Request).map_err(|Fault { field, rule }| flaw(field, rule))
}

/// The raw form, or the path of the field at fault and the rule it broke.
fn read<'de, D: Deserializer<'de, Error: std::fmt::Display>>(document: D) -> Result<RawWorkflow, (String, String)> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let field = error.path().to_string();
        let text = error.into_inner().to_string();
        // The YAML reader puts a path of its own before some of its errors.
        let rule = text.split_once(": ").filter(|(path, _)| field.starts_with(path)).map_or(text.as_str(), |(_, rule)| rule);
        (if field == "." { "file".into() } else { field }, rule.to_owned())
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWorkflow {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    inputs: IndexMap<String, RawInput>,
    #[serde(default)]
    env: IndexMap<String, String>,
    timeout: Option<Span>,
    nodes: Vec<RawNode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    #[serde(default)]
    description: String,
    #[serde(default, rename = "type")]
    kind: ValueKind,
    #[serde(default)]
    required: bool,
    default: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    id: String,
    name: Option<String>,
    #[serde(default)]
    depends_on: Vec<String>,
    #[serde(default)]
    retries: RawRetries,
    timeout: Option<Span>,
    #[serde(default)]
    env: IndexMap<String, String>,
    tool_of: Option<String>,
    command: Option<Value>,
    http: Option<step::RawHttp>,
    sleep: Option<Span>,
    prompt: Option<step::RawPrompt>,
    tokens: Option<step::RawTokens>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRetries {
    attempts: u32,
    delay: Option<Span>,
}

/// A time as it is written: `500ms`, `30s`, `5m`, `1h`.
#[derive(Clone, Copy)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_span(&text)
            .map(Span)
            .ok_or_else(|| de::Error::custom(format!("'{text}' must be a time such as 500ms, 30s, 5m or 1h, at most 168h")))
    }
}

fn parse_span(text: &str) -> Option<Duration> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let count: u64 = text[..digits].parse().ok()?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(unit_ms)?)).filter(|span| *span <= SPAN_MAX)
}

fn compile(raw: RawWorkflow, origin: Origin) -> Result<Workflow, Fault> {
    check_word("name", &raw.name, "a-z A-Z 0-9 _ -")?;
    if raw.nodes.is_empty() || raw.nodes.len() > NODES_MAX {
        return fault("nodes", format!("must be 1 to {NODES_MAX} nodes"));
    }
    let inputs = raw.inputs.into_iter().map(compile_input).collect::<Result<_, _>>()?;
    let positions = positions(&raw.nodes)?;
    let nodes = raw.nodes.into_iter().map(|node| compile_node(node, &positions, origin)).collect::<Result<_, _>>()?;
    let workflow = Workflow {
        name: raw.name,
        description: raw.description,
        inputs,
        env: compile_env("env", raw.env)?,
        timeout: positive("timeout", raw.timeout)?.unwrap_or(EXECUTION_TIMEOUT),
        nodes,
    };
    graph::check(&workflow)?;
    Ok(workflow)
}

fn compile_input((name, raw): (String, RawInput)) -> Result<(String, Input), Fault> {
    let field = format!("inputs.{name}");
    check_word(&field, &name, "a-z A-Z 0-9 _ -")?;
    if let Some(default) = &raw.default
        && !raw.kind.admits(default)
    {
        return fault(format!("{field}.default"), format!("must be {}", raw.kind));
    }
    if raw.required && raw.default.is_some() {
        return fault(format!("{field}.default"), "must be absent where the input is required");
    }
    Ok((name, Input { description: raw.description, kind: raw.kind, required: raw.required, default: raw.default }))
}

/// Where each node stands; ids are legal and unique.
fn positions(nodes: &[RawNode]) -> Result<HashMap<String, usize>, Fault> {
    let mut positions = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        check_word(&format!("nodes[{at}].id"), &node.id, "a-z A-Z 0-9 _ -")?;
        if let Some(first) = positions.insert(node.id.clone(), at) {
            return fault(format!("nodes[{at}].id"), format!("'{}' is also the id of nodes[{first}]", node.id));
        }
    }
    Ok(positions)
}

fn compile_node(raw: RawNode, positions: &HashMap<String, usize>, origin: Origin) -> Result<Node, Fault> {
    let field = |name: &str| format!("nodes.{}.{name}", raw.id);
    let mut depends_on = Vec::new();
    for needed in &raw.depends_on {
        match positions.get(needed) {
            None => return fault(field("depends_on"), format!("there is no node '{needed}'")),
            Some(at) if depends_on.contains(at) => return fault(field("depends_on"), format!("names '{needed}' twice")),
            Some(at) => depends_on.push(*at),
        }
    }
    if raw.retries.attempts > ATTEMPTS_MAX {
        return fault(field("retries.attempts"), format!("must be at most {ATTEMPTS_MAX}"));
    }
    let retries =
        Retries { attempts: raw.retries.attempts, delay: raw.retries.delay.map_or(Duration::from_secs(1), |span| span.0) };
    let timeout = positive(&field("timeout"), raw.timeout)?;
    if raw.prompt.is_some() && timeout.is_some() {
        return fault(field("timeout"), "a prompt has its own: prompt.timeout");
    }
    if raw.command.is_none() && !raw.env.is_empty() {
        return fault(field("env"), "only commands have an environment");
    }
    if raw.tokens.is_some() && raw.tool_of.is_some() {
        return fault(field("tool_of"), "an agent is no tool");
    }
    let timeout = if raw.prompt.is_some() { None } else { Some(timeout.unwrap_or(NODE_TIMEOUT)) };
    let env = compile_env(&field("env"), raw.env)?;
    let node_field = format!("nodes.{}", raw.id);
    let step = step::compile(&node_field, raw.command, raw.http, raw.sleep, raw.prompt, raw.tokens, origin)?;
    let name = raw.name.unwrap_or_else(|| raw.id.clone());
    Ok(Node { id: raw.id, name, depends_on, retries, timeout, env, tool_of: raw.tool_of, step })
}

fn compile_env(field: &str, raw: IndexMap<String, String>) -> Result<IndexMap<String, Template>, Fault> {
    let compiled = raw.into_iter().map(|(name, text)| {
        let field = format!("{field}.{name}");
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !name.bytes().all(legal) || name.as_bytes().first().is_none_or(u8::is_ascii_digit) {
            return fault(field, "a variable's name holds A-Z a-z 0-9 _ and does not begin with a digit");
        }
        if name.starts_with("WEFT_") {
            return fault(field, "names that begin with WEFT_ are set by the executor");
        }
        Ok((name, template(&field, &text)?))
    });
    compiled.collect()
}

fn template(field: &str, text: &str) -> Result<Template, Fault> {
    Template::parse(text).or_else(|rule| fault(field, rule))
}

fn positive(field: &str, span: Option<Span>) -> Result<Option<Duration>, Fault> {
    match span {
        Some(Span(Duration::ZERO)) => fault(field, "must be more than nothing"),
        span => Ok(span.map(|span| span.0)),
    }
}

/// One word of at most 64 bytes: no dots, which part the places of templates, and no colons, which part room names.
fn check_word(field: &str, word: &str, letters: &str) -> Result<(), Fault> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if word.is_empty() || word.len() > 64 || !word.bytes().all(legal) {
        return fault(field, format!("must be 1 to 64 of {letters}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
