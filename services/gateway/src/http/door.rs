//! Whose pages may come in: the gateway's own, and those of the origins that are listed.
//!
//! A gateway without authentication serves loopback. Any web page that a person opens could still send requests
//! there, or reach it by a name that resolves to loopback; the checks of `Origin` and `Host` are what stops that.
//! Where tokens are asked for, and none comes by itself as a cookie does, a page has no more than the token it was given:
//! that of the same host, the console for one, comes in without being listed.

use super::answer::Refusal;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use weft_dialect::told;

/// What the door lets through.
#[derive(Debug, Default)]
pub struct Door {
    /// Origins beside those of loopback, compared exactly. Their pages may send cookies along.
    pub origins: Vec<String>,
    /// Whether `Host` must name loopback.
    pub loopback_only: bool,
    /// Whether pages of the very host that is asked come in.
    pub same_host: bool,
}

impl Door {
    fn refusal(&self, headers: &HeaderMap) -> Option<Refusal> {
        // One that is there twice is none that may come in: which of them a proxy in front has looked at, nobody knows.
        let text = |name: HeaderName| {
            let mut all = headers.get_all(name).iter();
            let first = all.next().map(|value: &HeaderValue| value.to_str().unwrap_or("\u{fffd}"));
            if all.next().is_some() { Some("\u{fffd}") } else { first }
        };
        if let Some(origin) = text(header::ORIGIN)
            && !self.admits(origin, text(header::HOST))
        {
            return Some(Refusal::new(told::FORBIDDEN, "this Origin is not allowed").field("Origin"));
        }
        if self.loopback_only && !text(header::HOST).is_some_and(is_loopback_host) {
            return Some(Refusal::new(told::FORBIDDEN, "without authentication the Host must be loopback").field("Host"));
        }
        None
    }

    fn admits(&self, origin: &str, host: Option<&str>) -> bool {
        let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let is_own =
            self.same_host && of.is_some_and(|of| host.is_some_and(|host| !host.is_empty() && of.eq_ignore_ascii_case(host)));
        is_own || (self.loopback_only && of.is_some_and(is_loopback_host)) || self.is_listed(origin)
    }

    fn is_listed(&self, origin: &str) -> bool {
        self.origins.iter().any(|listed| listed == origin)
    }

    /// Lets a page of this origin, which was admitted, read the answer. One that is listed may have sent its cookies along
    /// (`withCredentials`); of one that is admitted for its host alone nobody has said that it may use its visitors' names.
    fn open_to(&self, origin: HeaderValue, headers: &mut HeaderMap) {
        if origin.to_str().is_ok_and(|origin| self.is_listed(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT"));
        headers
            .insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type, last-event-id"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
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
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match door.refusal(request.headers()) {
        Some(refusal) => refusal.into_response(),
        None => {
            let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
            if let Some(origin) = origin {
                door.open_to(origin, response.headers_mut());
            }
            response
        }
    };
    // Also where there is no origin: no cache may give one page what another, or none, was answered.
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_listed_origins_come_in() {
        let door = Door { origins: vec!["https://app.example".into()], loopback_only: true, same_host: false };
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

    #[test]
    fn cookies_may_come_along_from_listed_origins_alone() {
        let door = Door { origins: vec!["https://app.example".into()], loopback_only: true, same_host: true };
        for (origin, may) in [("https://app.example", true), ("http://localhost:5173", false), ("https://weft.example", false)] {
            let mut headers = HeaderMap::new();
            door.open_to(HeaderValue::from_static(origin), &mut headers);
            assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], origin);
            assert_eq!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), may, "{origin}");
        }
    }

    #[test]
    fn where_tokens_are_shown_its_own_pages_come_in_unlisted() {
        let own = Door { same_host: true, ..Door::default() };
        let admitted = |door: &Door, origin: &str, host: &str| door.admits(origin, Some(host));
        for origin in ["https://weft.example", "http://weft.example", "https://WEFT.example"] {
            assert!(admitted(&own, origin, "weft.example"), "{origin}");
            assert!(!admitted(&Door::default(), origin, "weft.example"), "{origin}");
        }
        assert!(admitted(&own, "http://127.0.0.1:3001", "127.0.0.1:3001"));
        for (origin, host) in [
            ("https://evil.example", "weft.example"),
            ("https://weft.example:8443", "weft.example"),
            ("https://weft.example.evil.example", "weft.example"),
            ("null", "null"),
            ("weft.example", "weft.example"),
            ("https://", ""),
        ] {
            assert!(!admitted(&own, origin, host), "{origin} {host}");
        }
    }
}
