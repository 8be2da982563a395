//! Who may come in while nobody authenticates: the page's own host, and the origins that are listed.
//!
//! A gateway without authentication serves loopback. Any web page that a person opens could still send requests
//! there, or reach it by a name that resolves to loopback; the checks of `Origin` and `Host` are what stops that.

use super::answer::Refusal;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use weft_dialect::told;

/// What the door lets through.
#[derive(Debug, Default)]
pub struct Door {
    /// Origins beside those of loopback, compared exactly.
    pub origins: Vec<String>,
    /// Whether `Host` must name loopback.
    pub loopback_only: bool,
}

impl Door {
    fn refusal(&self, headers: &HeaderMap) -> Option<Refusal> {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or("\u{fffd}"));
        if let Some(origin) = text(header::ORIGIN)
            && !self.admits(origin)
        {
            return Some(Refusal::new(told::FORBIDDEN, "this Origin is not allowed").field("Origin"));
        }
        if self.loopback_only && !text(header::HOST).is_some_and(is_loopback_host) {
            return Some(Refusal::new(told::FORBIDDEN, "without authentication the Host must be loopback").field("Host"));
        }
        None
    }

    fn admits(&self, origin: &str) -> bool {
        let loopback = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).is_some_and(is_loopback_host);
        (self.loopback_only && loopback) || self.origins.iter().any(|listed| listed == origin)
    }
}

/// `host[:port]`, where the host is a name or address of this machine alone.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Refuses what the door does not let through, and answers pages of other admitted origins as browsers ask (CORS).
pub async fn check(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if let Some(refusal) = door.refusal(request.headers()) {
        return refusal.into_response();
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT"));
        headers
            .insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type, last-event-id"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_listed_origins_come_in() {
        let door = Door { origins: vec!["https://app.example".into()], loopback_only: true };
        let admitted = |origin: Option<&str>, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).expect(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect(origin));
            }
            door.refusal(&headers).is_none()
        };
        for (origin, host) in [
            (None, "127.0.0.1:3001"),
            (None, "localhost"),
            (None, "[::1]:3001"),
            (Some("http://localhost:5173"), "127.0.0.1:3001"),
            (Some("https://app.example"), "127.0.0.1:3001"),
        ] {
            assert!(admitted(origin, host), "{origin:?} {host}");
        }
        for (origin, host) in [
            (None, "gateway.example"),
            (None, "127.0.0.1.example"),
            (None, "localhost.example:3001"),
            (Some("null"), "127.0.0.1"),
            (Some("https://app.example.evil.com"), "127.0.0.1"),
            (Some("http://app.example"), "127.0.0.1"),
            (Some("http://localhost.evil.com"), "127.0.0.1"),
        ] {
            assert!(!admitted(origin, host), "{origin:?} {host}");
        }
    }
}
