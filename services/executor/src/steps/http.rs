//! One HTTP request, and whether its answer is the expected one.
//!
//! The method, the header names and what is expected come from the workflow's file. Where the file leaves the host
//! open to substitution, whoever starts an execution would choose which servers this process talks to; such hosts
//! must be listed.

use super::{Attempt, Failure};
use crate::{template::Template, workflow::HttpStep};
use futures_util::StreamExt as _;
use reqwest::{Url, header};
use serde_json::{Value, json};

/// Most bytes read of an answer; what is beyond is left unread.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of an answer's body in the node's output.
const BODY_BYTES_MAX: usize = 12 * 1024;

/// Hosts that a substituted URL may name, without ports.
#[derive(Clone, Debug, Default)]
pub struct HostList(Vec<String>);

impl HostList {
    /// A list of host names or addresses, IPv6 in brackets.
    #[must_use]
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        Self(hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect())
    }

    /// Whether a host is listed.
    #[must_use]
    pub fn has(&self, host: &str) -> bool {
        self.0.iter().any(|listed| listed.eq_ignore_ascii_case(host))
    }
}

pub(super) async fn run(attempt: &Attempt<'_>, step: &HttpStep) -> Result<Value, Failure> {
    let url = url_of(attempt, step)?;
    let arguments = json!({"method": step.method, "url": url.as_str()});
    tool_call(attempt, &arguments, "started", None).await;
    let answered = attempt.until(exchange(attempt, step, url)).await.and_then(|answer| answer);
    let (status, told) = match &answered {
        Ok(output) => ("completed", json!({"result": {"status": output["status"]}})),
        Err(Failure::Failed(error)) => ("failed", json!({"error": error})),
        Err(Failure::Stopped) => ("failed", json!({"error": "stopped"})),
    };
    tool_call(attempt, &arguments, status, Some(told)).await;
    answered
}

async fn tool_call(attempt: &Attempt<'_>, arguments: &Value, status: &str, further: Option<Value>) {
    let Some(agent) = &attempt.node.tool_of else { return };
    let mut data = json!({"tool": attempt.node.id, "arguments": arguments, "status": status});
    if let (Value::Object(data), Some(Value::Object(further))) = (&mut data, further) {
        data.extend(further);
    }
    attempt.report.agent(agent, "tool_call", data).await;
}

fn url_of(attempt: &Attempt<'_>, step: &HttpStep) -> Result<Url, Failure> {
    let text = attempt.render("http.url", &step.url)?;
    let url = Url::parse(&text).map_err(|error| format!("http.url: '{text}' is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Failure::Failed("http.url: must begin with http:// or https://".into()));
    }
    let host = url.host_str().unwrap_or_default();
    if !is_host_fixed(&step.url) && !attempt.tools.http_hosts.has(host) {
        return Err(Failure::Failed(format!("http.url: the host '{host}' is not listed in WEFT_EXECUTOR_HTTP_HOSTS")));
    }
    Ok(url)
}

/// Whether the file itself writes the host and what ends it, so that no value can extend or replace it.
fn is_host_fixed(url: &Template) -> bool {
    let literal = url.literal_start();
    let is_whole = url.places().next().is_none();
    let after_scheme = literal.split_once("://").map_or("", |(_, rest)| rest);
    is_whole || after_scheme.contains(['/', '?', '#'])
}

async fn exchange(attempt: &Attempt<'_>, step: &HttpStep, url: Url) -> Result<Value, Failure> {
    let method = reqwest::Method::from_bytes(step.method.as_bytes()).map_err(|error| error.to_string())?;
    let mut request = attempt.tools.http.request(method, url);
    for (name, value) in attempt.render_all("http.headers", &step.headers)? {
        let value = header::HeaderValue::from_str(&value).map_err(|_| format!("http.headers.{name}: is no legal value"))?;
        request = request.header(name, value);
    }
    if let Some(body) = &step.body {
        request = request.body(attempt.render("http.body", body)?);
    }
    let response = request.send().await.map_err(|error| format!("the request failed: {}", chain(&error.without_url())))?;
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = content_type.is_some_and(|kind| kind.starts_with("application/json"));
    let (body, whole) = read_body(response).await?;
    check(attempt, step, status.as_u16(), &body)?;
    let fits = whole && body.len() <= BODY_BYTES_MAX;
    let parsed = if is_json && fits { serde_json::from_str::<Value>(&body).ok() } else { None };
    let body = parsed.unwrap_or_else(|| Value::String(beginning(&body, BODY_BYTES_MAX).to_owned()));
    Ok(json!({"status": status.as_u16(), "body": body, "truncated": !fits}))
}

fn check(attempt: &Attempt<'_>, step: &HttpStep, status: u16, body: &str) -> Result<(), Failure> {
    let expected =
        if step.expect_status.is_empty() { (200..300).contains(&status) } else { step.expect_status.contains(&status) };
    if !expected {
        return Err(Failure::Failed(format!("the answer's status is {status}: {}", beginning(body, 200))));
    }
    if let Some(text) = &step.expect_contains {
        let text = attempt.render("http.expect.contains", text)?;
        if !body.contains(&text) {
            return Err(Failure::Failed(format!("the answer does not contain '{}'", beginning(&text, 200))));
        }
    }
    Ok(())
}

/// The body as text, and whether it is all of it.
async fn read_body(response: reqwest::Response) -> Result<(String, bool), Failure> {
    let (mut body, mut whole) = (Vec::new(), true);
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| format!("the answer broke off: {}", chain(&error.without_url())))?;
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            whole = false;
            break;
        }
    }
    Ok((String::from_utf8_lossy(&body).into_owned(), whole))
}

/// At most the first `bytes` of a text, cut between characters.
fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// An error with its causes, which is where such errors say what has happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_that_the_file_ends_is_fixed() {
        for (url, fixed) in [
            ("http://a.example/x", true),
            ("http://a.example", true),
            ("http://a.example/{{inputs.path}}", true),
            ("http://a.example?q={{inputs.q}}", true),
            ("http://a.example{{inputs.path}}", false),
            ("http://a.example:{{inputs.port}}/", false),
            ("http://{{inputs.host}}/x", false),
            ("{{inputs.url}}", false),
            ("https://{{inputs.user}}@a.example/", false),
        ] {
            assert_eq!(is_host_fixed(&Template::parse(url).expect(url)), fixed, "{url}");
        }
        let hosts = HostList::new(["LocalHost".to_owned(), "[::1]".to_owned()]);
        assert!(hosts.has("localhost") && hosts.has("[::1]") && !hosts.has("localhost.evil.example"));
        assert_eq!(beginning("a\u{fc}b", 2), "a");
    }
}
