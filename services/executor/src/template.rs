//! Texts with places to fill: `{{inputs.<name>}}`, `{{nodes.<id>.output}}`, `{{nodes.<id>.output.<key>}}`,
//! `{{execution.id}}`.
//!
//! Substitution happens once, from left to right: what a value brings in is never read for places again. Templates
//! exist only where a value cannot become code: fields of built-in steps and environment variables, never a shell
//! string.

use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

/// Largest text that a template may become, in bytes: half of what Linux takes for one environment variable.
pub const RENDERED_BYTES_MAX: usize = 64 * 1024;

/// A text with places to fill, read once when its workflow is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Place(Place),
}

/// What a place stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An input of the execution.
    Input(String),
    /// The output of a node that has completed, or a part of it.
    Output {
        /// Which node.
        node: String,
        /// Keys and list positions inside its output; empty for all of it.
        path: Vec<String>,
    },
    /// The execution's id.
    ExecutionId,
}

/// The values that places are filled with.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The execution's id.
    pub execution_id: String,
    /// Inputs by name.
    pub inputs: Arc<serde_json::Map<String, Value>>,
    /// Outputs of completed nodes by id.
    pub outputs: HashMap<String, Arc<Value>>,
}

impl Template {
    /// Reads a text; the error is the rule it broke.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or("has {{ without }}")?;
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            parts.push(Part::Place(parse_place(inside.trim())?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The places, in order.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter_map(|part| match part {
            Part::Place(place) => Some(place),
            Part::Literal(_) => None,
        })
    }

    /// The literal text before the first place.
    #[must_use]
    pub fn literal_start(&self) -> &str {
        match self.0.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// The text with its places filled; the error says which value is missing or that the text grew too long.
    pub fn render(&self, scope: &Scope) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Place(place) => text.push_str(&shown(scope.value(place)?)),
            }
            if text.len() > RENDERED_BYTES_MAX {
                return Err(format!("the filled text is longer than {RENDERED_BYTES_MAX} bytes"));
            }
        }
        Ok(text)
    }
}

impl Scope {
    fn value(&self, place: &Place) -> Result<Value, String> {
        match place {
            Place::ExecutionId => Ok(Value::String(self.execution_id.clone())),
            // An optional input that was not given is nothing, as in a shell.
            Place::Input(name) => Ok(self.inputs.get(name).cloned().unwrap_or(Value::Null)),
            Place::Output { node, path } => {
                let mut value = self.outputs.get(node).map(Arc::as_ref).ok_or_else(|| format!("nodes.{node} has no output"))?;
                for key in path {
                    value = step_into(value, key)
                        .ok_or_else(|| format!("nodes.{node}.output.{} is not in the output", path.join(".")))?;
                }
                Ok(value.clone())
            }
        }
    }
}

fn step_into<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(key),
        Value::Array(list) => key.parse::<usize>().ok().and_then(|index| list.get(index)),
        _ => None,
    }
}

/// A string stands for itself, nothing for the empty text, everything else for its JSON.
fn shown(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn parse_place(inside: &str) -> Result<Place, String> {
    let words: Vec<&str> = inside.split('.').collect();
    match words.as_slice() {
        ["execution", "id"] => Ok(Place::ExecutionId),
        ["inputs", name] if !name.is_empty() => Ok(Place::Input((*name).to_owned())),
        ["nodes", node, "output", path @ ..] if !node.is_empty() && path.iter().all(|key| !key.is_empty()) => {
            Ok(Place::Output { node: (*node).to_owned(), path: path.iter().map(|key| (*key).to_owned()).collect() })
        }
        _ => Err(format!(
            "has {{{{{inside}}}}}, which is none of {{{{inputs.<name>}}}}, {{{{nodes.<id>.output}}}}, \
             {{{{nodes.<id>.output.<key>}}}} and {{{{execution.id}}}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scope() -> Scope {
        let inputs = json!({"name": "Ada", "count": 3, "sly": "{{inputs.name}}", "deep": {"a": [1]}});
        let Value::Object(inputs) = inputs else { unreachable!("an object") };
        let outputs = [
            ("fetch", json!({"status": 200, "body": {"items": ["first", "second"]}})),
            ("ask", json!(true)),
            ("big", Value::String("x".repeat(RENDERED_BYTES_MAX))),
        ];
        Scope {
            execution_id: "e-1".into(),
            inputs: Arc::new(inputs),
            outputs: outputs.into_iter().map(|(id, output)| (id.to_owned(), Arc::new(output))).collect(),
        }
    }

    #[test]
    fn places_are_filled() {
        for (text, filled) in [
            ("", ""),
            ("plain } text }} {", "plain } text }} {"),
            ("Hello {{inputs.name}}!", "Hello Ada!"),
            ("{{ inputs.count }}{{inputs.name}}", "3Ada"),
            ("{{inputs.absent}}|", "|"),
            ("{{inputs.deep}}", "{\"a\":[1]}"),
            ("{{nodes.fetch.output.status}} {{nodes.fetch.output.body.items.1}}", "200 second"),
            ("{{nodes.ask.output}} {{execution.id}}", "true e-1"),
            // What a value brings in is not read again.
            ("{{inputs.sly}}", "{{inputs.name}}"),
        ] {
            assert_eq!(Template::parse(text).and_then(|template| template.render(&scope())).as_deref(), Ok(filled), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_is_an_error() {
        for (text, part) in [
            ("{{nodes.none.output}}", "nodes.none has no output"),
            ("{{nodes.fetch.output.nothing}}", "nodes.fetch.output.nothing"),
            ("{{nodes.fetch.output.body.items.9}}", "items.9"),
            ("{{nodes.ask.output.key}}", "nodes.ask.output.key"),
            ("a{{nodes.big.output}}", "longer than"),
        ] {
            let refused = Template::parse(text).expect(text).render(&scope()).expect_err(text);
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    #[test]
    fn bad_places_are_refused_when_read() {
        for text in
            ["{{inputs.a", "{{}}", "{{inputs}}", "{{inputs.}}", "{{env.HOME}}", "{{nodes.a}}", "{{nodes..output}}", "{{a b}}"]
        {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
