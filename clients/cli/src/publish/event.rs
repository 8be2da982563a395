//! One event from flags.

use crate::{
    exit::{Exit, Failure},
    settings::{EventArgs, pair},
};
use serde_json::{Map, Value};
use weft_event::{Limits, Prepared};
use weft_publisher::EventDraft;

/// Sets a field of an event.
type Set = fn(EventDraft, String) -> EventDraft;

/// The event that the flags describe, checked.
///
/// # Errors
/// A flag that cannot be read, or a rule that the event breaks.
pub fn from_flags(kind: &str, args: &EventArgs) -> Result<Prepared, Failure> {
    let data = data(kind, args)?;
    let mut draft = EventDraft::new(kind);
    let setters: [(&Option<String>, Set); 8] = [
        (&args.execution, |draft, id| draft.execution(id)),
        (&args.id, |draft, id| draft.id(id)),
        (&args.timestamp, |draft, time| draft.timestamp(time)),
        (&args.workflow, |draft, id| draft.workflow(id)),
        (&args.user, |draft, id| draft.user(id)),
        (&args.node, |draft, id| draft.node(id)),
        (&args.agent, |draft, id| draft.agent(id)),
        (&args.kb, |draft, id| draft.knowledge_base(id)),
    ];
    for (value, set) in setters {
        if let Some(value) = value {
            draft = set(draft, value.clone());
        }
    }
    if !data.is_empty() {
        draft = draft.data(data);
    }
    draft.prepare(&Limits::default()).map_err(|invalid| Failure::new(Exit::Input, invalid.to_string()))
}

fn data(kind: &str, args: &EventArgs) -> Result<Map<String, Value>, Failure> {
    let mut data = match &args.data {
        None => Map::new(),
        Some(text) => serde_json::from_str(text)
            .map_err(|error| Failure::new(Exit::Input, format!("--data: must be a JSON object: {error}")))?,
    };
    for text in &args.set {
        let (key, value) = pair(text, |_| true).map_err(|rule| Failure::usage(format!("--set: {rule}")))?;
        data.insert(key, value);
    }
    for (name, value) in [("message", &args.message), ("level", &args.level)] {
        if let Some(value) = value {
            data.insert(name.into(), value.as_str().into());
        }
    }
    if kind == "log" && data.contains_key("message") {
        data.entry("level").or_insert_with(|| "info".into());
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Command, Settings};
    use clap::Parser as _;

    fn event(flags: &[&str]) -> Result<String, String> {
        let settings = Settings::try_parse_from(["weft", "publish"].iter().chain(flags)).map_err(|error| error.to_string())?;
        let Command::Publish(args) = settings.command else { panic!("publish was asked for") };
        let event = from_flags(args.kind.as_deref().expect("a type"), &args.event).map_err(|failure| failure.message)?;
        Ok(String::from_utf8_lossy(&event.body).into_owned())
    }

    #[test]
    fn flags_become_an_event() {
        for (flags, body) in [
            (
                &["log", "-e", "e", "-m", "hello"][..],
                r#"{"type":"log","executionId":"e","data":{"level":"info","message":"hello"}}"#,
            ),
            (
                &["log", "-e", "e", "-m", "5", "-l", "error", "--node", "n"],
                r#"{"type":"log","executionId":"e","nodeId":"n","data":{"nodeId":"n","level":"error","message":"5"}}"#,
            ),
            (
                &["node:progress", "-e", "e", "-n", "n", "-s", "progress=40", "-s", "step=half way", "--id", "i", "--user", "u"],
                r#"{"type":"node:progress","executionId":"e","id":"i","userId":"u","nodeId":"n","data":{"nodeId":"n","progress":40,"step":"half way"}}"#,
            ),
            (
                &["kb:processing", "--kb", "k", "--data", r#"{"step":"embedding"}"#],
                r#"{"type":"kb:processing","knowledgeBaseId":"k","data":{"step":"embedding"}}"#,
            ),
            (&["billing:charged", "-e", "e"], r#"{"type":"billing:charged","executionId":"e"}"#),
        ] {
            assert_eq!(event(flags).as_deref(), Ok(body));
        }
    }

    #[test]
    fn a_broken_rule_names_its_field() {
        for (flags, told) in [
            (&["log"][..], "executionId: is required"),
            (&["logs", "-e", "e"], "type: "),
            (&["log", "-e", "a b"], "executionId: may hold only"),
            (&["node:started", "-e", "e"], "nodeId: is required"),
            (&["log", "-e", "e", "--data", "[]"], "--data: must be a JSON object"),
            (&["log", "-e", "e", "--set", "x"], "--set: must be KEY=VALUE"),
            (&["log", "-e", "e", "--timestamp", "now"], "timestamp: "),
        ] {
            let refused = event(flags).expect_err(told);
            assert!(refused.starts_with(told), "{refused}");
        }
    }
}
