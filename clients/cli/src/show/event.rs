//! An event in a line: when, what kind, who, what.

use super::{
    ASK, BAD, DIM, GOOD, NAME, PLAIN, WARN, harmless, paint,
    table::{brief, spell_ms},
};
use anstyle::Style;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

/// Longest text of a value within a line, in characters.
const VALUE_MAX: usize = 400;
/// The same of a result: what an agent has written was told token by token.
const RESULT_MAX: usize = 120;

/// How lines are written.
#[derive(Clone, Debug)]
pub struct Manner {
    /// With colours.
    pub colours: bool,
    /// For a person at a terminal: the time of day, texts of several lines; else the full time, and one line an event.
    pub person: bool,
    /// With the execution of each event: where several are followed.
    pub executions: bool,
    /// Where the person is.
    pub zone: TimeZone,
}

/// What a line says, before it is laid out.
#[derive(Debug, PartialEq)]
pub struct Said {
    /// At most five letters.
    pub word: &'static str,
    /// How the word looks.
    pub style: Style,
    /// Node, agent or knowledge base.
    pub who: String,
    /// The rest.
    pub text: String,
}

impl Manner {
    /// The line, or lines, of an event.
    #[must_use]
    pub fn line(&self, event: &Value) -> String {
        let said = say(event);
        let text = harmless(&said.text, self.person);
        let head = self.head(event, &said);
        if !self.person {
            return format!("{head}{text}").trim_end().to_owned();
        }
        // Further lines stand below the first one.
        let indent = format!("\n{}", " ".repeat(self.width(event, &said)));
        let style = if said.word == "DEBUG" { DIM } else { PLAIN };
        format!("{head}{}", paint(&text.trim_end().replace('\n', &indent), style, self.colours)).trim_end().to_owned()
    }

    /// The beginning of a line that goes on, without its end.
    #[must_use]
    pub fn running(&self, event: &Value, text: &str) -> String {
        format!("{}{}", self.head(event, &say(event)), harmless(text, false))
    }

    /// What stands before the text: `12:00:00.123 INFO  build    `.
    #[must_use]
    pub fn head(&self, event: &Value, said: &Said) -> String {
        let mut head = paint(&self.time(event), DIM, self.colours);
        head.push(' ');
        if self.executions {
            let execution = harmless(event["executionId"].as_str().unwrap_or("-"), false);
            head.push_str(&paint(&format!("{execution:<12}"), DIM, self.colours));
            head.push(' ');
        }
        head.push_str(&paint(said.word, said.style, self.colours));
        head.push_str(&" ".repeat(6 - said.word.len().min(5)));
        let who = harmless(&said.who, false);
        let padding = 12_usize.saturating_sub(who.chars().count()) + 1;
        head.push_str(&paint(&who, NAME, self.colours));
        head.push_str(&" ".repeat(padding));
        head
    }

    fn width(&self, event: &Value, said: &Said) -> usize {
        let plain = Self { colours: false, ..self.clone() };
        plain.head(event, said).chars().count()
    }

    fn time(&self, event: &Value) -> String {
        let text = event["timestamp"].as_str().unwrap_or_default();
        match text.parse::<Timestamp>() {
            Ok(time) if self.person => time.to_zoned(self.zone.clone()).strftime("%H:%M:%S.%3f").to_string(),
            Ok(time) => format!("{time:.3}"),
            Err(_) if self.person => " ".repeat(12),
            Err(_) => "-".into(),
        }
    }
}

/// What an event, a snapshot or a gap says.
#[must_use]
pub fn say(event: &Value) -> Said {
    let data = &event["data"];
    let kind = event["type"].as_str().unwrap_or_default();
    let (family, name) = kind.split_once(':').unwrap_or((kind, ""));
    let (word, style, text) = match (family, name) {
        ("log", _) => log(data),
        ("agent", "token") => ("TEXT", PLAIN, data["token"].as_str().unwrap_or_default().to_owned()),
        ("agent", "streaming_start") => ("TEXT", DIM, "begins to write".into()),
        ("agent", "streaming_end") => ("TEXT", DIM, with("has written", &[("tokens", &data["tokenCount"])])),
        ("agent", "tool_call") => ("TOOL", NAME, tool(data)),
        ("user_input", "required") => ("ASK", ASK, asked(data)),
        ("user_input", "provided") => ("ASK", GOOD, with("answered", &[("request", &data["requestId"])])),
        ("user_input", "timeout") => ("ASK", BAD, with("nobody answered in time", &[("request", &data["requestId"])])),
        ("gap", _) => ("GAP", BAD, gap(event)),
        ("degraded", _) => ("NOTE", WARN, degraded(event)),
        ("snapshot", _) => ("STATE", NAME, state(&event["snapshot"])),
        (_, "started" | "upload_started") => ("START", NAME, started(family, data)),
        (_, "progress" | "processing" | "updated") => ("STEP", NAME, progress(data)),
        (_, "completed" | "upload_completed") => ("DONE", GOOD, completed(family, data)),
        (_, "failed" | "upload_failed") => ("FAIL", BAD, failed(family, data)),
        (_, "cancelled") => ("STOP", WARN, with("cancelled", &[("", &data["reason"])])),
        _ => ("EVENT", PLAIN, format!("{kind} {}", short(data))),
    };
    Said { word, style, who: who(event), text }
}

fn who(event: &Value) -> String {
    let data = &event["data"];
    let ids = ["nodeId", "agentId", "knowledgeBaseId"].iter().flat_map(|name| [&event[*name], &data[*name]]);
    ids.filter_map(Value::as_str).find(|id| !id.is_empty()).unwrap_or("-").to_owned()
}

fn log(data: &Value) -> (&'static str, Style, String) {
    let (word, style) = match data["level"].as_str().unwrap_or_default() {
        "debug" => ("DEBUG", DIM),
        "warning" | "warn" => ("WARN", WARN),
        "error" => ("ERROR", BAD),
        _ => ("INFO", GOOD),
    };
    let text = data["message"].as_str().map_or_else(|| short(data), str::to_owned);
    (word, style, text)
}

fn tool(data: &Value) -> String {
    with(&format!("{} {}", brief(&data["tool"]), short(&data["arguments"])), &[("", &data["status"])])
}

fn asked(data: &Value) -> String {
    with(&brief(&data["prompt"]), &[("", &data["inputType"]), ("request", &data["requestId"])])
}

fn gap(event: &Value) -> String {
    let reason = match event["reason"].as_str().unwrap_or_default() {
        "retention" => "they were kept as long as the settings say",
        "reset" => "the broker has lost or rewound the history",
        "unreadable" => "the broker never gave them back",
        "live_only" => "the connection was lost, and the bus stores nothing",
        other => other,
    };
    format!(
        "events of {} are missing, after {} up to {}: {reason}",
        brief(&event["room"]),
        brief(&event["missedFrom"]),
        brief(&event["missedTo"])
    )
}

fn degraded(event: &Value) -> String {
    let away = event["active"].as_bool().unwrap_or_default();
    if away { "the broker is away; what is missed follows" } else { "the broker is back" }.into()
}

fn state(snapshot: &Value) -> String {
    let nodes = snapshot["nodes"].as_object().map_or(0, serde_json::Map::len);
    let progress = snapshot["progress"].as_f64().map_or(String::new(), |progress| format!(", {progress}%"));
    format!("{}{progress}, {nodes} nodes", brief(&snapshot["status"]))
}

fn started(family: &str, data: &Value) -> String {
    with(&format!("{} started", noun(family)), &[("", &data["workflowName"]), ("", &data["nodeType"]), ("", &data["fileName"])])
}

fn progress(data: &Value) -> String {
    let percent = data["progress"].as_f64().map(|progress| format!("{progress}%"));
    let words = ["step", "message", "status", "currentNode", "currentAgent"].iter().filter_map(|name| data[*name].as_str());
    let parts: Vec<String> = percent.into_iter().chain(words.map(str::to_owned)).collect();
    if parts.is_empty() { short(data) } else { parts.join(" ") }
}

fn completed(family: &str, data: &Value) -> String {
    let seconds = data["duration"].as_f64().map(|seconds| seconds * 1000.0);
    let ms = data["durationMs"].as_f64().or(seconds);
    let took = ms.map_or(String::new(), |ms| format!(" in {}", spell_ms(ms.max(0.0) as u64)));
    let result = ["result", "outputs", "output"].iter().map(|name| &data[*name]).find(|value| !is_nothing(value));
    format!("{} completed{took}{}", noun(family), result.map_or(String::new(), |value| format!(": {}", cut(value, RESULT_MAX))))
}

fn failed(family: &str, data: &Value) -> String {
    format!("{} failed: {}", noun(family), short(&data["error"]))
}

fn noun(family: &str) -> &str {
    match family {
        "execution" => "execution",
        "node" => "node",
        "agent" => "agent",
        "kb" => "upload",
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn with(text: &str, remarks: &[(&str, &Value)]) -> String {
    let told = remarks.iter().filter(|(_, value)| !is_nothing(value));
    let told: Vec<String> = told.map(|(name, value)| format!("{name} {}", brief(value)).trim().to_owned()).collect();
    if told.is_empty() { text.to_owned() } else { format!("{text} ({})", told.join(", ")) }
}

/// A value within a line, cut where it is long.
#[must_use]
pub fn short(value: &Value) -> String {
    cut(value, VALUE_MAX)
}

fn cut(value: &Value, chars_max: usize) -> String {
    let text = brief(value);
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manner(person: bool) -> Manner {
        Manner { colours: false, person, executions: false, zone: TimeZone::UTC }
    }

    fn event(kind: &str, data: Value) -> Value {
        json!({"type": kind, "executionId": "e", "timestamp": "2026-01-31T12:00:00.123Z", "data": data})
    }

    #[test]
    fn every_type_has_its_line() {
        for (kind, data, line) in [
            ("log", json!({"level": "info", "message": "hello", "nodeId": "build"}), "INFO  build        hello"),
            ("log", json!({"level": "warning", "message": "hm"}), "WARN  -            hm"),
            ("log", json!({"level": "error", "message": "no"}), "ERROR -            no"),
            ("log", json!({"level": "debug", "message": "x"}), "DEBUG -            x"),
            ("execution:started", json!({"workflowName": "nightly"}), "START -            execution started (nightly)"),
            ("execution:progress", json!({"progress": 40, "currentNode": "build"}), "STEP  -            40% build"),
            ("execution:updated", json!({"status": "running"}), "STEP  -            running"),
            (
                "execution:completed",
                json!({"duration": 4.25, "outputs": {"a": 1}}),
                "DONE  -            execution completed in 4.2s: {\"a\":1}",
            ),
            ("execution:failed", json!({"error": "boom"}), "FAIL  -            execution failed: boom"),
            ("execution:cancelled", json!({"reason": "enough"}), "STOP  -            cancelled (enough)"),
            ("node:started", json!({"nodeId": "n", "nodeType": "command"}), "START n            node started (command)"),
            ("node:progress", json!({"nodeId": "n", "progress": 50.5, "step": "half"}), "STEP  n            50.5% half"),
            ("node:completed", json!({"nodeId": "n", "durationMs": 320}), "DONE  n            node completed in 320ms"),
            ("node:failed", json!({"nodeId": "n", "error": "exit 1"}), "FAIL  n            node failed: exit 1"),
            ("agent:token", json!({"agentId": "a", "token": "Hi "}), "TEXT  a            Hi"),
            ("agent:streaming_end", json!({"agentId": "a", "tokenCount": 3}), "TEXT  a            has written (tokens 3)"),
            (
                "agent:tool_call",
                json!({"agentId": "a", "tool": "ls", "arguments": {}, "status": "ok"}),
                "TOOL  a            ls {} (ok)",
            ),
            (
                "user_input:required",
                json!({"requestId": "r", "prompt": "Go on?", "inputType": "boolean"}),
                "ASK   -            Go on? (boolean, request r)",
            ),
            ("user_input:timeout", json!({"requestId": "r"}), "ASK   -            nobody answered in time (request r)"),
            (
                "kb:processing",
                json!({"knowledgeBaseId": "k", "progress": 5, "step": "embedding"}),
                "STEP  k            5% embedding",
            ),
            ("billing:charged", json!({"cents": 5}), "EVENT -            billing:charged {\"cents\":5}"),
        ] {
            let expected = format!("2026-01-31T12:00:00.123Z {line}");
            assert_eq!(manner(false).line(&event(kind, data)), expected);
        }
    }

    #[test]
    fn what_is_no_event_is_told_too() {
        let gap = json!({"type": "gap", "room": "execution:e", "missedFrom": "1.2", "missedTo": null, "reason": "retention"});
        let said = manner(false).line(&gap);
        assert_eq!(
            said,
            "- GAP   -            events of execution:e are missing, after 1.2 up to -: they were kept as long as the settings say"
        );
        let degraded = json!({"type": "degraded", "active": true});
        assert!(manner(false).line(&degraded).contains("the broker is away"));
        let snapshot = json!({"type": "snapshot", "snapshot": {"status": "running", "progress": 40, "nodes": {"a": {}}}});
        assert!(manner(false).line(&snapshot).ends_with("running, 40%, 1 nodes"));
    }

    #[test]
    fn a_pipe_gets_one_line_and_a_person_what_was_written() {
        let event = event("log", json!({"level": "info", "message": "one\ntwo\u{1b}[2J", "nodeId": "n"}));
        assert_eq!(manner(false).line(&event), "2026-01-31T12:00:00.123Z INFO  n            one\\ntwo\\u{1b}[2J");
        let indent = " ".repeat(32);
        assert_eq!(manner(true).line(&event), format!("12:00:00.123 INFO  n            one\n{indent}two\\u{{1b}}[2J"));
        let several = Manner { executions: true, ..manner(true) };
        assert!(several.line(&event).starts_with("12:00:00.123 e            INFO  n "));
        let colours = Manner { colours: true, ..manner(true) };
        assert!(colours.line(&event).contains("\u{1b}[32mINFO\u{1b}[0m  \u{1b}[36mn\u{1b}[0m"));
    }

    #[test]
    fn long_values_are_cut() {
        let text = short(&json!("é".repeat(VALUE_MAX + 1)));
        assert!(text.starts_with('é') && text.ends_with(&format!("… ({} bytes)", 2 * (VALUE_MAX + 1))), "{text}");
    }
}
