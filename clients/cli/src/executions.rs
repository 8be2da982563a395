//! `weft executions` and `weft execution`: the list, and the state of one.

use crate::{
    exit::{Exit, Failure},
    gateway::Gateways,
    settings::{ExecutionArgs, ExecutionsArgs, LineSettings},
    show::{
        BOLD, DIM, NAME, harmless,
        output::{Output, remark},
        paint, status_style,
        table::{self, Cell, between, brief, percent},
    },
};
use jiff::Timestamp;
use serde_json::Value;
use std::{collections::HashMap, time::Duration};
use weft_event::Room;

/// Most that a gateway gives at once.
const PAGE_MAX: u32 = 200;
const WATCH_EVERY: Duration = Duration::from_secs(2);
const HEAD: [&str; 7] = ["EXECUTION", "STATUS", "DONE", "OWNER", "WORKFLOW", "STARTED", "TOOK"];

/// Lists executions, once or again and again.
///
/// # Errors
/// Nobody there, or a refusal.
pub async fn list(args: &ExecutionsArgs, line: &LineSettings, out: &mut Output) -> Result<Exit, Failure> {
    let gateways = Gateways::new(line)?;
    if !args.watch {
        let executions = read(&gateways, args).await?;
        write(&executions, args.json, out)?;
        out.flush()?;
        return Ok(Exit::Done);
    }
    let mut shown: HashMap<String, String> = HashMap::new();
    loop {
        let executions = match read(&gateways, args).await {
            Ok(executions) => executions,
            // Who watches goes on watching.
            Err(failure) if failure.exit == Exit::Unavailable => {
                remark(&failure.message);
                tokio::time::sleep(WATCH_EVERY).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if out.is_terminal && !args.json {
            // From the top of an empty screen, as `watch` does.
            out.text("\u{1b}[H\u{1b}[2J")?;
            write(&executions, false, out)?;
        } else {
            let changed = changes(&mut shown, &executions);
            write(&changed, args.json, out)?;
        }
        out.flush()?;
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

async fn read(gateways: &Gateways, args: &ExecutionsArgs) -> Result<Vec<Value>, Failure> {
    let mut found: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let left = args.limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
        let limit = left.min(PAGE_MAX).to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(args.status.as_deref().map(|status| ("status", status)));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = parse(&gateways.get(&["executions"], &query).await?)?;
        found.extend(page["executions"].as_array().into_iter().flatten().cloned());
        match page["cursor"].as_str() {
            Some(next) if found.len() < args.limit as usize => cursor = Some(next.to_owned()),
            _ => return Ok(found),
        }
    }
}

/// Those that are not as they were shown last; the oldest first, as lines of a log. What has left the list is forgotten.
fn changes(shown: &mut HashMap<String, String>, executions: &[Value]) -> Vec<Value> {
    let mut now = HashMap::new();
    let mut changed = Vec::new();
    for execution in executions.iter().rev() {
        let id = execution["executionId"].as_str().unwrap_or_default().to_owned();
        let state = execution.to_string();
        if shown.get(&id) != Some(&state) {
            changed.push(execution.clone());
        }
        now.insert(id, state);
    }
    *shown = now;
    changed
}

fn write(executions: &[Value], json: bool, out: &mut Output) -> Result<(), Failure> {
    if json {
        for execution in executions {
            out.line(&execution.to_string())?;
        }
        return Ok(());
    }
    let now = Timestamp::now();
    let rows: Vec<Vec<Cell>> = executions.iter().map(|execution| row(execution, now)).collect();
    for line in table::lines(&HEAD, &rows, out.colours) {
        out.line(&line)?;
    }
    Ok(())
}

fn row(execution: &Value, now: Timestamp) -> Vec<Cell> {
    let status = brief(&execution["status"]);
    vec![
        brief(&execution["executionId"]).into(),
        Cell::new(&status, status_style(&status)),
        percent(&execution["progress"]).into(),
        brief(&execution["userId"]).into(),
        brief(&execution["workflowId"]).into(),
        brief(&execution["startedAt"]).into(),
        between(&execution["startedAt"], &execution["endedAt"], now).into(),
    ]
}

/// Shows the state of an execution.
///
/// # Errors
/// There is no such execution, or nobody there.
pub async fn show(args: &ExecutionArgs, line: &LineSettings, out: &mut Output) -> Result<Exit, Failure> {
    Room::execution(&args.id).map_err(|invalid| Failure::usage(invalid.to_string()))?;
    let text = Gateways::new(line)?.get(&["executions", &args.id], &[]).await?;
    if args.json {
        out.line(&text)?;
    } else {
        for line in state(&parse(&text)?, out.colours, Timestamp::now()) {
            out.line(&line)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// A snapshot in lines.
fn state(snapshot: &Value, colours: bool, now: Timestamp) -> Vec<String> {
    let status = brief(&snapshot["status"]);
    let mut lines = vec![format!(
        "{}  {}",
        paint(&harmless(&brief(&snapshot["executionId"]), false), BOLD, colours),
        paint(&harmless(&status, false), status_style(&status), colours)
    )];
    for (name, value) in [
        ("progress", percent(&snapshot["progress"])),
        ("current node", brief(&snapshot["currentNode"])),
        ("workflow", brief(&snapshot["workflowId"])),
        ("owner", brief(&snapshot["userId"])),
        ("started", brief(&snapshot["startedAt"])),
        ("ended", brief(&snapshot["endedAt"])),
        ("took", between(&snapshot["startedAt"], &snapshot["endedAt"], now)),
        ("error", brief(&snapshot["error"])),
        ("result", brief(&snapshot["result"])),
        ("offset", brief(&snapshot["offset"])),
    ] {
        if value != "-" {
            lines.push(format!("  {}{}", paint(&format!("{name:<14}"), DIM, colours), harmless(&value, false)));
        }
    }
    let nodes: Vec<Vec<Cell>> =
        snapshot["nodes"].as_object().into_iter().flatten().map(|(id, node)| node_row(id, node, now)).collect();
    if !nodes.is_empty() {
        lines.push(String::new());
        lines.extend(table::lines(&["NODE", "STATUS", "DONE", "TOOK", "OUTPUT"], &nodes, colours));
    }
    for asked in snapshot["pendingInput"].as_array().into_iter().flatten() {
        let (id, request) = (brief(&snapshot["executionId"]), brief(&asked["requestId"]));
        lines.push(String::new());
        lines.push(format!("{} {}", paint("waits for an answer:", NAME, colours), harmless(&brief(&asked["prompt"]), false)));
        lines.push(format!("  weft answer {} {} <value>", harmless(&id, false), harmless(&request, false)));
    }
    lines
}

fn node_row(id: &str, node: &Value, now: Timestamp) -> Vec<Cell> {
    let status = brief(&node["status"]);
    let said = if node["error"].is_null() { &node["output"] } else { &node["error"] };
    vec![
        id.into(),
        Cell::new(&status, status_style(&status)),
        percent(&node["progress"]).into(),
        between(&node["startedAt"], &node["completedAt"], now).into(),
        crate::show::event::short(said).into(),
    ]
}

fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::new(Exit::Refused, format!("the gateway's answer is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-01-31T12:00:10Z".parse().expect("a time")
    }

    #[test]
    fn a_state_tells_all_that_is_known_and_nothing_else() {
        let snapshot = json!({
            "executionId": "e", "workflowId": "w", "userId": null, "status": "running", "progress": 40, "currentNode": "build",
            "error": null, "result": null, "startedAt": "2026-01-31T12:00:00.000Z", "endedAt": null,
            "nodes": {
                "build": {"status": "running", "progress": 12.4, "output": null, "error": null, "startedAt": "2026-01-31T12:00:08Z"},
                "fetch": {"status": "failed", "progress": null, "output": null, "error": "exit 1", "startedAt": null},
            },
            "pendingInput": [{"requestId": "r", "prompt": "Go on?"}], "offset": "5f0c.120.9a0b1c2d",
        });
        let expected = "\
e  running
  progress      40%
  current node  build
  workflow      w
  started       2026-01-31T12:00:00.000Z
  took          10.0s
  offset        5f0c.120.9a0b1c2d

NODE   STATUS   DONE  TOOK  OUTPUT
build  running  12%   2.0s  -
fetch  failed   -     -     exit 1

waits for an answer: Go on?
  weft answer e r <value>";
        assert_eq!(state(&snapshot, false, now()).join("\n"), expected);
        assert_eq!(state(&json!({"executionId": "e", "status": "pending"}), false, now()), ["e  pending"]);
    }

    #[test]
    fn in_a_pipe_only_changes_are_written() {
        let execution = |id: &str, status: &str| json!({"executionId": id, "status": status});
        let mut shown = HashMap::new();
        let ids = |changed: Vec<Value>| changed.iter().map(|one| brief(&one["executionId"])).collect::<Vec<_>>();
        assert_eq!(ids(changes(&mut shown, &[execution("b", "running"), execution("a", "running")])), ["a", "b"]);
        assert_eq!(ids(changes(&mut shown, &[execution("b", "running"), execution("a", "failed")])), ["a"]);
        assert_eq!(ids(changes(&mut shown, &[execution("c", "running"), execution("b", "running")])), ["c"]);
        assert_eq!(shown.len(), 2, "what has left the list is forgotten");
    }
}
