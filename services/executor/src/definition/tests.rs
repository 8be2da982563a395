use super::*;
use crate::workflow::Step;
use serde_json::json;

/// A workflow with these lines as its nodes.
fn with_nodes(nodes: &str) -> String {
    format!("name: w\ninputs:\n  url: {{}}\nnodes:\n{nodes}")
}

fn flaw(text: &str) -> String {
    parse_yaml("w.yaml", text).expect_err(text).to_string()
}

#[test]
fn a_full_workflow_is_read() {
    let text = r#"
name: full
description: Everything at once
inputs:
  url: {description: where to, required: true}
  count: {type: number, default: 3}
env: {MODE: test}
timeout: 10m
nodes:
  - id: build
    name: Build it
    command: [cargo, build]
    env: {COUNT: "{{inputs.count}}"}
    retries: {attempts: 2, delay: 500ms}
    timeout: 90s
  - id: shell
    command: "echo {{.Go}} templates are not ours"
  - id: look
    depends_on: [build]
    tool_of: writer
    http: {method: POST, url: "{{inputs.url}}/x", headers: {Accept: text/plain}, body: "b", expect: {status: [200, 201], contains: ok}}
  - id: wait
    sleep: 2s
  - id: ask
    depends_on: [look]
    prompt: {text: "Is {{nodes.look.output.status}} of {{nodes.build.output}} fine?", type: boolean, timeout: 1h}
  - id: writer
    depends_on: [ask, wait]
    tokens: {agent_name: Writer, text: "{{nodes.ask.output}} in {{execution.id}}", delay: 0ms}
"#;
    let workflow = parse_yaml("full.yaml", text).expect("valid");
    let words: Vec<_> = workflow.nodes.iter().map(|node| node.step.word()).collect();
    assert_eq!(words, ["command", "command", "http", "sleep", "prompt", "tokens"]);
    assert_eq!(workflow.timeout, Duration::from_secs(600));
    let build = &workflow.nodes[0];
    assert_eq!((build.name.as_str(), build.retries.attempts, build.timeout), ("Build it", 2, Some(Duration::from_secs(90))));
    assert!(matches!(&workflow.nodes[1].step, Step::Command(argv) if argv[..2] == ["/bin/sh", "-c"]));
    assert_eq!(workflow.nodes[4].timeout, None, "a prompt has its own");
    assert_eq!(workflow.nodes[5].depends_on, [4, 3]);
    assert_eq!(workflow.leaves(), [1, 5]);
}

#[test]
fn every_flaw_names_file_field_and_rule() {
    let step = "sleep: 1s";
    for (text, expected) in [
        ("nodes: 5".into(), "w.yaml: nodes: invalid type"),
        ("name: w\nnodes: []".into(), "w.yaml: nodes: must be 1 to 200 nodes"),
        ("name: 'a b'\nnodes: [{id: a, sleep: 1s}]".into(), "w.yaml: name: must be 1 to 64"),
        ("name: w\ncolour: red\nnodes: []".into(), "unknown field `colour`"),
        ("name: w\nname: v\nnodes: []".into(), "duplicate"),
        ("name: w\ntimeout: soon\nnodes: []".into(), "w.yaml: timeout: 'soon' must be a time such as"),
        ("name: w\ntimeout: 0s\nnodes: [{id: a, sleep: 1s}]".into(), "w.yaml: timeout: must be more"),
        ("name: w\nenv: {A: '1', A: '2'}\nnodes: [{id: a, sleep: 1s}]".into(), "duplicate"),
        ("name: w\nenv: {1A: x}\nnodes: [{id: a, sleep: 1s}]".into(), "w.yaml: env.1A: a variable's name"),
        ("name: w\nenv: {WEFT_X: x}\nnodes: [{id: a, sleep: 1s}]".into(), "w.yaml: env.WEFT_X: names that begin"),
        ("name: w\nenv: {X: '{{nodes.a.output}}'}\nnodes: [{id: a, sleep: 1s}]".into(), "w.yaml: env.X: uses nodes.a.output"),
        (
            "name: w\ninputs: {n: {type: number, default: x}}\nnodes: [{id: a, sleep: 1s}]".into(),
            "inputs.n.default: must be a number",
        ),
        ("name: w\ninputs: {n: {type: colour}}\nnodes: [{id: a, sleep: 1s}]".into(), "w.yaml: inputs.n.type: unknown variant"),
        (with_nodes(&format!("  - {{id: a, {step}, wait: 1s}}")), "w.yaml: nodes[0].wait: unknown field `wait`"),
        (with_nodes(&format!("  - {{id: a.b, {step}}}")), "w.yaml: nodes[0].id: must be 1 to 64"),
        (
            with_nodes(&format!("  - {{id: a, {step}}}\n  - {{id: a, {step}}}")),
            "w.yaml: nodes[1].id: 'a' is also the id of nodes[0]",
        ),
        (with_nodes(&format!("  - {{id: a, depends_on: [b], {step}}}")), "w.yaml: nodes.a.depends_on: there is no node 'b'"),
        (with_nodes(&format!("  - {{id: a, depends_on: [a], {step}}}")), "w.yaml: nodes.a.depends_on: forms a cycle: a -> a"),
        (
            with_nodes(&format!(
                "  - {{id: a, depends_on: [c], {step}}}\n  - {{id: b, depends_on: [d], {step}}}\n  - {{id: c, depends_on: [b], {step}}}\n  - {{id: d, depends_on: [c], {step}}}"
            )),
            "w.yaml: nodes.a.depends_on: forms a cycle: c -> b -> d -> c",
        ),
        (
            with_nodes(&format!("  - {{id: b, {step}}}\n  - {{id: a, depends_on: [b, b], {step}}}")),
            "w.yaml: nodes.a.depends_on: names 'b' twice",
        ),
        (with_nodes("  - {id: a}"), "w.yaml: nodes.a: must have exactly one of command"),
        (with_nodes("  - {id: a, sleep: 1s, command: [x]}"), "w.yaml: nodes.a: must have exactly one of command"),
        (with_nodes("  - {id: a, sleep: 1s, retries: {attempts: 99}}"), "w.yaml: nodes.a.retries.attempts: must be at most 10"),
        (with_nodes("  - {id: a, sleep: 1s, env: {A: x}}"), "w.yaml: nodes.a.env: only commands"),
        (with_nodes("  - {id: a, sleep: 5}"), "w.yaml: nodes[0].sleep:"),
        (with_nodes("  - {id: a, command: []}"), "w.yaml: nodes.a.command: must name a program"),
        (with_nodes("  - {id: a, command: ' '}"), "w.yaml: nodes.a.command: must name a program"),
        (with_nodes("  - {id: a, command: [sleep, 5]}"), "w.yaml: nodes.a.command: must be a list of texts"),
        (
            with_nodes("  - {id: a, command: 'curl {{ inputs.url }}'}"),
            "w.yaml: nodes.a.command: nothing is substituted into a command",
        ),
        (
            with_nodes("  - {id: a, command: [curl, '{{inputs.url}}']}"),
            "w.yaml: nodes.a.command: nothing is substituted into a command",
        ),
        (with_nodes("  - {id: a, http: {url: 'ftp://x'}}"), "w.yaml: nodes.a.http.url: must begin with http://"),
        (with_nodes("  - {id: a, http: {url: 'http://x', method: BREW}}"), "w.yaml: nodes.a.http.method: must be one of"),
        (with_nodes("  - {id: a, http: {url: 'http://x', headers: {'a b': c}}}"), "w.yaml: nodes.a.http.headers.a b: is no name"),
        (
            with_nodes("  - {id: a, http: {url: 'http://x', expect: {status: fine}}}"),
            "w.yaml: nodes.a.http.expect.status: must be",
        ),
        (with_nodes("  - {id: a, http: {uri: 'http://x'}}"), "unknown field `uri`"),
        (with_nodes("  - {id: a, http: {url: '{{inputs.host}}'}}"), "w.yaml: nodes.a.http.url: uses inputs.host, which"),
        (
            with_nodes("  - {id: a, tokens: {text: '{{nodes.b.output}}'}}"),
            "w.yaml: nodes.a.tokens.text: uses nodes.b.output, but there is no",
        ),
        (
            with_nodes("  - {id: b, sleep: 1s}\n  - {id: a, tokens: {text: '{{nodes.b.output}}'}}"),
            "w.yaml: nodes.a.tokens.text: uses nodes.b.output without depending on 'b'",
        ),
        (with_nodes("  - {id: a, tokens: {text: '{{oops'}}"), "w.yaml: nodes.a.tokens.text: has {{ without }}"),
        (with_nodes("  - {id: a, tool_of: x, sleep: 1s}"), "w.yaml: nodes.a.tool_of: there is no tokens node 'x'"),
        (with_nodes("  - {id: a, timeout: 1s, prompt: {text: t}}"), "w.yaml: nodes.a.timeout: a prompt has its own"),
        (
            with_nodes("  - {id: a, prompt: {text: t, type: number, choices: [x]}}"),
            "w.yaml: nodes.a.prompt.choices: needs type: text",
        ),
        (
            with_nodes("  - {id: a, prompt: {text: t, type: number, min: 5, max: 1}}"),
            "w.yaml: nodes.a.prompt.max: must not be less",
        ),
    ] {
        let told = flaw(&text);
        assert!(told.contains(expected), "{text}\n  expected {expected}\n  was told {told}");
        assert!(told.starts_with("w.yaml: "), "{told}");
    }
}

#[test]
fn requests_bring_neither_commands_nor_http() {
    let definition = |node: Value| json!({"name": "w", "nodes": [node]});
    for node in [json!({"id": "a", "command": ["id"]}), json!({"id": "a", "command": "id"})] {
        let refused = parse_request(definition(node)).expect_err("refused");
        assert_eq!(refused.field, "definition.nodes.a.command");
    }
    let http = json!({"id": "a", "http": {"url": "http://169.254.169.254/"}});
    assert_eq!(parse_request(definition(http)).expect_err("refused").field, "definition.nodes.a.http");
    assert!(parse_request(definition(json!({"id": "a", "tokens": {"text": "hello"}}))).is_ok());
    assert!(parse_request(json!(5)).is_err() && parse_request(json!({"name": "w", "nodes": [], "x": 1})).is_err());
}

#[test]
fn inputs_are_bound() {
    let text =
        "name: w\ninputs: {a: {required: true}, n: {type: number, default: 2}, b: {type: boolean}}\nnodes: [{id: x, sleep: 1s}]";
    let workflow = parse_yaml("w.yaml", text).expect("valid");
    let bind = |value: Value| match value {
        Value::Object(map) => workflow.bind(map).map(Value::Object).map_err(|bad| bad.field),
        _ => unreachable!("objects only"),
    };
    assert_eq!(bind(json!({"a": "x"})), Ok(json!({"a": "x", "n": 2})));
    assert_eq!(bind(json!({"a": "x", "n": 5, "b": true})), Ok(json!({"a": "x", "n": 5, "b": true})));
    for (given, field) in [
        (json!({}), "inputs.a"),
        (json!({"a": null}), "inputs.a"),
        (json!({"a": 5}), "inputs.a"),
        (json!({"a": "x", "n": "5"}), "inputs.n"),
        (json!({"a": "x", "z": 1}), "inputs.z"),
        (json!({"a": "x".repeat(20_000)}), "inputs.a"),
    ] {
        assert_eq!(bind(given), Err(field.to_owned()));
    }
}

#[test]
fn spans() {
    for (text, ms) in [("0ms", Some(0)), ("500ms", Some(500)), ("2s", Some(2000)), ("5m", Some(300_000)), ("1h", Some(3_600_000))]
    {
        assert_eq!(parse_span(text).map(|span| span.as_millis()), ms, "{text}");
    }
    for text in ["", "5", "s", "-1s", "1.5s", "1d", "9999h", "99999999999999999999s", "1 s"] {
        assert_eq!(parse_span(text), None, "{text}");
    }
}

#[test]
fn the_workflow_in_the_readme_is_valid() {
    let readme = include_str!("../../README.md");
    let text = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a workflow");
    let workflow = parse_yaml("README.md", text).expect("valid");
    assert_eq!(workflow.nodes.len(), 5);
}
