//! What is asked to be run: a workflow that executors have, or one that is brought along.

use super::prompt::{Kind, value};
use crate::{
    exit::{Exit, Failure},
    gateway::Gateways,
    settings::pair,
};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Largest workflow file; a gateway takes no larger one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A request that starts an execution.
#[derive(Debug)]
pub struct Order {
    /// The workflow's name.
    pub name: String,
    path: Vec<String>,
    body: Value,
}

/// Reads the file, or asks which workflows there are; binds the inputs.
///
/// # Errors
/// No such workflow, or inputs that it does not have.
pub async fn read(workflow: &str, inputs: &[String], id: &str, gateways: &Gateways) -> Result<Order, Failure> {
    if is_file(workflow) {
        return brought(definition(Path::new(workflow))?, inputs, id);
    }
    let text = gateways.get(&["workflows"], &[]).await?;
    let known: Value = serde_json::from_str(&text).unwrap_or_default();
    named(workflow, &known, inputs, id)
}

impl Order {
    /// Starts it. Sent again only where it is sure that nothing was started.
    ///
    /// # Errors
    /// A refusal, or nobody there.
    pub async fn send(&self, gateways: &Gateways) -> Result<(), Failure> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        gateways.post(&path, &self.body, false).await.map(drop)
    }
}

fn is_file(workflow: &str) -> bool {
    workflow.contains('/') || [".yaml", ".yml", ".json"].iter().any(|end| workflow.ends_with(end))
}

fn definition(path: &Path) -> Result<Value, Failure> {
    let wrong = |rule: String| Failure::new(Exit::Input, format!("{}: {rule}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(wrong(format!("must be at most {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    // JSON is YAML.
    let definition: Value = serde_yaml_ng::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if definition.is_object() { Ok(definition) } else { Err(wrong("must be a workflow: name, nodes".into())) }
}

/// The gateway takes no inputs beside a definition: what is given becomes the default.
fn brought(mut definition: Value, inputs: &[String], id: &str) -> Result<Order, Failure> {
    let given = bind(&definition["inputs"], inputs)?;
    for (name, value) in given {
        if let Some(input) = definition["inputs"][&name].as_object_mut() {
            input.insert("default".into(), value);
            input.remove("required");
        }
    }
    definition["executionId"] = id.into();
    let name = definition["name"].as_str().unwrap_or("workflow").to_owned();
    Ok(Order { name, path: vec!["workflows".into()], body: definition })
}

fn named(workflow: &str, known: &Value, inputs: &[String], id: &str) -> Result<Order, Failure> {
    let all = known["workflows"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(found) = all.iter().find(|one| one["name"] == workflow) else {
        let names: Vec<&str> = all.iter().filter_map(|one| one["name"].as_str()).collect();
        let there = if names.is_empty() { "there is no executor".to_owned() } else { format!("there are {}", names.join(", ")) };
        return Err(Failure::away(format!("no executor has a workflow {workflow}; {there}")));
    };
    let inputs = bind(&found["inputs"], inputs)?;
    let path = vec!["workflows".into(), workflow.to_owned(), "execute".into()];
    Ok(Order { name: workflow.to_owned(), path, body: json!({ "executionId": id, "inputs": inputs }) })
}

/// Inputs as the workflow declares them.
fn bind(declared: &Value, inputs: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut bound = Map::new();
    for text in inputs {
        let (name, given) = pair(text, |_| false).map_err(|rule| Failure::usage(format!("--input: {rule}")))?;
        let Some(input) = declared.get(&name) else {
            let names: Vec<&str> = declared.as_object().into_iter().flat_map(|all| all.keys().map(String::as_str)).collect();
            let there = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            return Err(Failure::new(Exit::Input, format!("--input {name}: the workflow has no such input; {there}")));
        };
        let kind = Kind::named(input["type"].as_str());
        let value = value(kind, given.as_str().unwrap_or_default())
            .map_err(|rule| Failure::new(Exit::Input, format!("--input {name}: {rule}")))?;
        bound.insert(name, value);
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn declared() -> Value {
        json!({"hero": {"type": "text"}, "count": {"type": "number", "required": true}, "dry": {"type": "boolean"}})
    }

    #[test]
    fn a_name_is_no_file() {
        for (workflow, expected) in [("demo", false), ("demo.yaml", true), ("./demo", true), ("a.json", true), ("a.b", false)] {
            assert_eq!(is_file(workflow), expected, "{workflow}");
        }
    }

    #[test]
    fn inputs_are_read_as_they_are_declared() {
        let bound = bind(&declared(), &inputs(&["hero=5", "count=5", "dry=yes"])).expect("valid");
        assert_eq!(Value::Object(bound), json!({"hero": "5", "count": 5, "dry": true}));
        for (text, told) in [
            ("count=many", "--input count: must be a number"),
            ("dry=perhaps", "--input dry: must be yes or no"),
            ("place=x", "--input place: the workflow has no such input; it has"),
            ("hero", "--input: must be KEY=VALUE"),
        ] {
            let refused = bind(&declared(), &inputs(&[text])).expect_err(text);
            assert!(refused.message.starts_with(told), "{refused}");
        }
    }

    #[test]
    fn orders_are_those_of_the_protocol() {
        let known = json!({"workflows": [{"name": "story", "inputs": declared()}]});
        let order = named("story", &known, &inputs(&["hero=owl"]), "e").expect("known");
        assert_eq!(order.path, ["workflows", "story", "execute"]);
        assert_eq!(order.body, json!({"executionId": "e", "inputs": {"hero": "owl"}}));
        let unknown = named("tale", &known, &[], "e").expect_err("unknown");
        assert_eq!(
            (unknown.exit, unknown.message.as_str()),
            (Exit::Unavailable, "no executor has a workflow tale; there are story")
        );
        let definition = json!({"name": "own", "inputs": declared(), "nodes": []});
        let order = brought(definition, &inputs(&["count=2"]), "e").expect("valid");
        assert_eq!((order.name.as_str(), order.path.as_slice()), ("own", &["workflows".to_owned()][..]));
        assert_eq!(order.body["inputs"]["count"], json!({"type": "number", "default": 2}));
        assert_eq!(order.body["executionId"], "e");
    }

    #[test]
    fn a_file_that_is_no_workflow_names_its_place() {
        let path = std::env::temp_dir().join(format!("weft-cli-{}.yaml", uuid::Uuid::new_v4()));
        for (text, told) in [("name: [", "line"), ("- a", "must be a workflow")] {
            std::fs::write(&path, text).expect("written");
            let refused = definition(&path).expect_err(text);
            assert!(refused.exit == Exit::Input && refused.message.contains(told), "{refused}");
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(definition(&path).expect_err("gone").message.contains(&path.display().to_string()));
    }
}
