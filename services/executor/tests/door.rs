//! Hostile requests: what runs commands opens to nobody who should not come in.

mod rig;

use rig::Rig;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const WORKFLOW: &str = "name: quick\nnodes: [{id: a, command: 'true'}]";

/// Sends bytes and reads the answer: its status, and its JSON where there is one.
async fn raw(rig: &Rig, request: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(rig.base.trim_start_matches("http://")).await.expect("connect");
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(rig::SOON, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

async fn execute_with(rig: &Rig, head: &str) -> (u16, Value) {
    raw(rig, &format!("POST /workflows/quick/execute HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n{head}\r\n{{}}")).await
}

async fn count(rig: &Rig) -> usize {
    rig.get("/executions").await.1["executions"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_page_elsewhere_cannot_reach_in() {
    let rig = Rig::start(&[WORKFLOW]).await;
    for head in [
        "",
        "Host: evil.example\r\n",
        "Host: evil.example:3002\r\n",
        "Host: localhost\r\nHost: evil.example\r\n",
        "Host: localhost\r\nOrigin: https://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: https://evil.example\r\n",
    ] {
        let (status, body) = execute_with(&rig, head).await;
        assert!(matches!(status, 400 | 403), "{head}: {status}");
        assert!(status == 400 || body["error"]["code"] == "forbidden", "{head}: {body}");
    }
    assert_eq!(count(&rig).await, 0, "nothing has run");
    for head in ["Host: localhost\r\n", "Host: 127.0.0.1:3002\r\nOrigin: http://localhost:3001\r\n"] {
        assert_eq!(execute_with(&rig, head).await.0, 202, "{head}");
    }
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let token = std::env::temp_dir().join(format!("weft-token-{}", uuid::Uuid::new_v4()));
    std::fs::write(&token, "a-token-of-some-length\n").expect("written");
    let rig = Rig::start_with(&[WORKFLOW], &["--executor-token-file", &token.display().to_string()]).await;
    std::fs::remove_file(&token).expect("removed");
    for (head, status) in [
        ("Host: localhost\r\n", 401),
        ("Host: localhost\r\nAuthorization: Bearer wrong-token-of-length\r\n", 401),
        ("Host: localhost\r\nAuthorization: Basic YTpi\r\n", 401),
        ("Host: evil.example\r\nAuthorization: Bearer a-token-of-some-length\r\n", 403),
        ("Host: localhost\r\nAuthorization: Bearer a-token-of-some-length\r\n", 202),
    ] {
        assert_eq!(execute_with(&rig, head).await.0, status, "{head}");
    }
    for path in ["/workflows", "/workflows/quick", "/executions", "/executions/x", "/health", "/nowhere"] {
        let (status, body) = rig.get(path).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("unauthenticated")), "{path}");
    }
}

#[tokio::test]
async fn bodies_and_ids_are_bounded_and_strict() {
    let rig = Rig::start(&[WORKFLOW]).await;
    let path = "/workflows/quick/execute";
    for (body, field) in [
        (json!({"nodes": [{"id": "x", "command": ["id"]}]}), "nodes"),
        (json!({"command": "id"}), "command"),
        (json!({"definition": {}}), "definition"),
        (json!({"inputs": []}), "inputs"),
        (json!({"inputs": {"x": 1}}), "inputs.x"),
        (json!({"executionId": "../../etc"}), "executionId"),
        (json!({"executionId": "a b"}), "executionId"),
        (json!({"executionId": "x".repeat(129)}), "executionId"),
        (json!({"executionId": 5}), "executionId"),
        (json!({"userId": "a*"}), "userId"),
        (json!([]), "body"),
    ] {
        let (status, refused) = rig.post(path, &body).await;
        assert_eq!(
            (status, &refused["error"]["code"], &refused["error"]["field"]),
            (400, &json!("invalid"), &json!(field)),
            "{body}: {refused}"
        );
    }
    let huge = json!({"inputs": {"x": "x".repeat(300 * 1024)}});
    let (status, refused) = rig.post(path, &huge).await;
    assert_eq!((status, &refused["error"]["code"]), (413, &json!("too_large")));
    let endless =
        "POST /workflows/quick/execute HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n{";
    assert_eq!(raw(&rig, endless).await.0, 413);
    let text = rig.client.post(format!("{}{path}", rig.base)).body("{\"inputs\":{}} trailing").send().await.expect("answered");
    assert_eq!(text.status().as_u16(), 400);
    let long_head = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert_eq!(raw(&rig, &long_head).await.0, 431);
    assert_eq!(count(&rig).await, 0, "nothing has run");
}

#[tokio::test]
async fn errors_are_json_everywhere() {
    let rig = Rig::start(&[WORKFLOW]).await;
    for (path, status, code) in [
        ("/nowhere", 404, "not_found"),
        ("/workflows/none-such", 404, "unknown_workflow"),
        ("/workflows/..%2F..%2Fetc%2Fpasswd", 404, "unknown_workflow"),
        ("/workflows/%FF", 400, "invalid"),
        ("/executions/none-such", 404, "unknown_execution"),
        ("/workflows/quick/execute", 405, "method_not_allowed"),
    ] {
        let (told, body) = rig.get(path).await;
        assert_eq!((told, &body["error"]["code"]), (status, &json!(code)), "{path}: {body}");
    }
    for path in ["/workflows/none-such/execute", "/executions/none-such/cancel"] {
        assert_eq!(rig.post(path, &json!({})).await.0, 404, "{path}");
    }
    let (_, list) = rig.get("/workflows").await;
    assert_eq!(list, json!({"workflows": [{"name": "quick", "description": "", "inputs": {}}]}));
    let (_, outline) = rig.get("/workflows/quick").await;
    assert_eq!(outline["nodes"][0]["type"], "command");
    assert!(!outline.to_string().contains("true\""), "commands are not told: {outline}");
}
