use super::*;
use proptest::prelude::*;

fn fold(snapshot: &mut Snapshot, event: &str) {
    snapshot.apply(&Envelope::parse(event.as_bytes()).expect(event), Some("2026-01-01T00:00:00.000Z"));
}

fn folded(events: &[&str]) -> serde_json::Value {
    let mut snapshot = Snapshot::new("e");
    for event in events {
        fold(&mut snapshot, event);
    }
    serde_json::from_str(&snapshot.to_json(Some("o"))).expect("json")
}

#[test]
fn a_run_folds_into_its_state() {
    let state = folded(&[
        r#"{"type":"execution:started","executionId":"e","workflowId":"w","userId":"u","timestamp":"2026-01-01T00:00:01.000Z"}"#,
        r#"{"type":"node:started","executionId":"e","nodeId":"n1"}"#,
        r#"{"type":"execution:progress","executionId":"e","data":{"progress":40,"currentNode":"n1"}}"#,
        r#"{"type":"user_input:required","executionId":"e","data":{"requestId":"r","prompt":"?"}}"#,
        r#"{"type":"node:completed","executionId":"e","nodeId":"n1","data":{"output":{"n":1.0}}}"#,
    ]);
    assert_eq!(state["status"], "running");
    assert_eq!(state["nodes"]["n1"]["status"], "completed");
    assert_eq!(state["nodes"]["n1"]["output"]["n"].to_string(), "1.0");
    assert_eq!(state["pendingInput"][0]["prompt"], "?");
    assert_eq!((&state["progress"], &state["userId"], &state["offset"]), (&40.into(), &"u".into(), &"o".into()));
}

#[test]
fn a_checked_event_folds_like_its_envelope() {
    for event in [
        r#"{"type":"agent:token","executionId":"e","agentId":"a"}"#,
        r#"{"type":"agent:token","executionId":"e","agentId":"a","userId":"u"}"#,
        r#"{"type":"agent:token","executionId":"e","agentId":"a","workflowId":"w"}"#,
        r#"{"type":"agent:token","executionId":"e","agentId":"a","\u0077orkflowId":"w"}"#,
        r#"{"type":"log","executionId":"e","data":{"workflowId":"not its own"}}"#,
        r#"{"type":"execution:started","executionId":"e"}"#,
        r#"{"type":"execution:started","executionId":"e","timestamp":"2026-01-02T00:00:00.000Z"}"#,
        r#"{"type":"agent:started","executionId":"e","agentId":"a"}"#,
    ] {
        let prepared = crate::prepare(event.as_bytes().into(), None, &crate::Limits::default()).expect(event);
        let (mut one, mut other) = (Snapshot::new("e"), Snapshot::new("e"));
        fold(&mut one, event);
        other.apply_prepared(&prepared, || Some("2026-01-01T00:00:00.000Z".to_owned()));
        assert_eq!(one.to_json(None), other.to_json(None), "{event}");
    }
}

#[test]
fn a_terminal_state_never_goes_back() {
    for end in ["completed", "failed", "cancelled"] {
        let terminal = format!(r#"{{"type":"execution:{end}","executionId":"e","data":{{"result":1,"error":"x"}}}}"#);
        let state = folded(&[
            r#"{"type":"execution:started","executionId":"e"}"#,
            &terminal,
            r#"{"type":"execution:updated","executionId":"e","data":{"status":"running","progress":1}}"#,
            r#"{"type":"execution:started","executionId":"e"}"#,
            r#"{"type":"execution:completed","executionId":"e","data":{"result":2}}"#,
            r#"{"type":"user_input:required","executionId":"e","data":{"requestId":"r"}}"#,
        ]);
        assert_eq!(state["status"], end);
        assert_ne!(state["result"], 2);
        assert_eq!(state["progress"], serde_json::Value::Null);
        assert_eq!(state["pendingInput"].as_array().map(Vec::len), Some(0));
    }
}

#[test]
fn its_size_is_bounded() {
    let mut snapshot = Snapshot::new("e");
    for node in 0..NODES_MAX + 10 {
        fold(&mut snapshot, &format!(r#"{{"type":"node:started","executionId":"e","nodeId":"n{node}"}}"#));
        let output = "x".repeat(1000);
        fold(
            &mut snapshot,
            &format!(r#"{{"type":"node:completed","executionId":"e","nodeId":"n{node}","data":{{"output":"{output}"}}}}"#),
        );
    }
    assert_eq!(snapshot.nodes_omitted, 10);
    assert!(snapshot.to_json(None).contains(r#"{"truncated":true,"bytes":1002}"#));
    // Whatever its nodes left, what it ended with is told.
    let end = |bytes: usize| {
        let result = "x".repeat(bytes - 2);
        format!(r#"{{"type":"execution:completed","executionId":"e","data":{{"result":"{result}"}}}}"#)
    };
    let mut larger = snapshot.clone();
    fold(&mut snapshot, &end(VALUE_BYTES_MAX));
    assert_eq!(snapshot.result.as_ref().map(|result| result.get().len()), Some(VALUE_BYTES_MAX));
    assert!(snapshot.to_json(None).len() < 900_000, "{}", snapshot.to_json(None).len());
    fold(&mut larger, &end(VALUE_BYTES_MAX + 1));
    assert_eq!(larger.result.expect("something").get(), format!(r#"{{"truncated":true,"bytes":{}}}"#, VALUE_BYTES_MAX + 1));
}

fn any_event() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "execution:started",
        "execution:updated",
        "execution:progress",
        "execution:completed",
        "execution:failed",
        "execution:cancelled",
        "node:started",
        "node:progress",
        "node:completed",
        "node:failed",
        "agent:started",
        "agent:token",
        "agent:completed",
        "log",
        "user_input:required",
        "user_input:provided",
        "user_input:timeout",
    ]);
    (kind, 0..3u8, 0..100u8, prop::sample::select(vec!["running", "failed", "pending"])).prop_map(|(kind, who, progress, status)| {
        format!(
            r#"{{"type":"{kind}","executionId":"e","nodeId":"n{who}","agentId":"a{who}","data":{{"requestId":"r{who}","progress":{progress},"status":"{status}","output":{{"x":{progress}}},"error":"e{who}"}}}}"#
        )
    })
}

proptest! {
    /// A late joiner's snapshot and tail give what an early follower has folded.
    #[test]
    fn snapshot_and_tail_equal_the_whole(events in prop::collection::vec(any_event(), 0..60), cut in 0..60usize) {
        let mut early = Snapshot::new("e");
        let mut kept = Snapshot::new("e");
        let cut = cut.min(events.len());
        events.iter().for_each(|event| fold(&mut early, event));
        events[..cut].iter().for_each(|event| fold(&mut kept, event));
        let stored = serde_json::to_string(&kept).expect("serializes");
        let mut late: Snapshot = serde_json::from_str(&stored).expect("reads back");
        events[cut..].iter().for_each(|event| fold(&mut late, event));
        prop_assert_eq!(early.to_json(None), late.to_json(None));
    }
}
