//! Who may come in: this process runs commands, so it is no open door.
//!
//! `Host` must be loopback or listed, or a page elsewhere could reach us under a name of its own that resolves to
//! us. `Origin` must be absent, loopback or listed, or any page that the user of this machine looks at could send
//! requests here. Where a token is set, every request carries it.

use crate::refusal::{Code, Refusal};
use axum::http::{HeaderMap, HeaderName, Uri, header};
use std::net::IpAddr;

/// Who may come in.
#[derive(Clone, Debug, Default)]
pub struct Door {
    token: Option<String>,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Door {
    /// A door that opens to this token, if any, for loopback and these hosts, from loopback and these origins.
    #[must_use]
    pub fn new(token: Option<String>, hosts: &[String], origins: &[String]) -> Self {
        let lower = |list: &[String]| {
            list.iter().map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).collect()
        };
        Self { token, hosts: lower(hosts), origins: lower(origins) }
    }

    /// Checks the head of a request.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        self.check_host(uri, headers)?;
        self.check_origin(headers)?;
        self.check_token(headers)
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let refused = |why: &str| Err(Refusal { field: Some("Host".into()), ..Refusal::new(Code::Forbidden, why) });
        // A request line with a whole URL overrides the header, so it must pass as well.
        let in_line = uri.authority().map(|authority| authority.as_str());
        match (only(headers, &header::HOST), in_line) {
            (Err(()), _) => refused("Host: must be given once"),
            (Ok(None), None) => refused("Host: must be given"),
            (Ok(in_head), in_line) => {
                if in_head.into_iter().chain(in_line).all(|host| self.admits_host(host)) {
                    Ok(())
                } else {
                    refused("Host: must be loopback or listed in WEFT_EXECUTOR_HOSTS")
                }
            }
        }
    }

    fn admits_host(&self, host: &str) -> bool {
        host_of(host).is_some_and(|name| is_loopback(&name) || self.hosts.contains(&name))
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let refused = || {
            Err(Refusal {
                field: Some("Origin".into()),
                ..Refusal::new(Code::Forbidden, "Origin: must be absent, loopback or listed in WEFT_EXECUTOR_ORIGINS")
            })
        };
        let origin = match only(headers, &header::ORIGIN) {
            Err(()) => return refused(),
            Ok(None) => return Ok(()),
            Ok(Some(origin)) => origin.to_ascii_lowercase(),
        };
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let is_local = host.and_then(host_of).is_some_and(|name| is_loopback(&name));
        if is_local || self.origins.contains(&origin) { Ok(()) } else { refused() }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = only(headers, &header::AUTHORIZATION).ok().flatten().and_then(|value| {
            let (scheme, given) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| given.trim())
        });
        match given {
            Some(given) if is_same(given.as_bytes(), token.as_bytes()) => Ok(()),
            Some(_) => Err(Refusal::new(Code::Unauthenticated, "the token is wrong")),
            None => Err(Refusal::new(Code::Unauthenticated, "Authorization: Bearer <token> is required")),
        }
    }
}

/// The one value of a header; an error where there are several, or where it is not text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match (first, values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// The name in `name`, `name:port`, `[v6]` or `[v6]:port`, in lower case.
fn host_of(text: &str) -> Option<String> {
    let (name, rest) = if text.starts_with('[') {
        text.split_at(text.find(']')? + 1)
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    let is_port = |rest: &str| {
        rest.is_empty()
            || rest.strip_prefix(':').is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    (!name.is_empty() && is_port(rest)).then(|| name.to_ascii_lowercase())
}

/// Whether a host name or address, IPv6 in brackets, is this machine's own.
pub(crate) fn is_loopback(name: &str) -> bool {
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Compares without telling by its time where the first difference is. The length is no secret.
fn is_same(given: &[u8], expected: &[u8]) -> bool {
    let difference = given.iter().zip(expected).fold(0, |difference, (a, b)| std::hint::black_box(difference | (a ^ b)));
    given.len() == expected.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const TOKEN: &str = "0123456789abcdef";

    fn head(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("value"))).collect()
    }

    fn outcome(door: &Door, uri: &str, fields: &[(&'static str, &str)]) -> Option<Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("value"));
        }
        door.check(&uri.parse().expect("uri"), &headers).err().map(|refusal| refusal.code)
    }

    #[test]
    fn hosts() {
        let door = Door::new(None, &["Runner.Example".into()], &[]);
        for host in [
            "localhost",
            "localhost:3002",
            "127.0.0.1:3002",
            "127.9.9.9",
            "[::1]:3002",
            "[::1]",
            "app.localhost",
            "RUNNER.example:80",
        ] {
            assert_eq!(outcome(&door, "/", &[("host", host)]), None, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]",
            "localhost:x",
            "localhost:",
            "::1",
            "0.0.0.0",
            "x@localhost",
        ] {
            assert_eq!(outcome(&door, "/", &[("host", host)]), Some(Code::Forbidden), "{host}");
        }
        assert_eq!(outcome(&door, "/", &[]), Some(Code::Forbidden));
        assert_eq!(outcome(&door, "/", &[("host", "localhost"), ("host", "localhost")]), Some(Code::Forbidden));
        assert_eq!(outcome(&door, "http://evil.example/", &[("host", "localhost")]), Some(Code::Forbidden));
        assert_eq!(outcome(&door, "http://localhost/", &[("host", "evil.example")]), Some(Code::Forbidden));
    }

    #[test]
    fn origins() {
        let door = Door::new(None, &[], &["https://app.example".into()]);
        for origin in ["http://localhost:3001", "http://127.0.0.1", "https://[::1]:8443", "https://app.example"] {
            assert_eq!(outcome(&door, "/", &[("host", "localhost"), ("origin", origin)]), None, "{origin}");
        }
        for origin in [
            "null",
            "https://evil.example",
            "http://localhost.evil.example",
            "https://app.example:444",
            "http://app.example",
            "file://localhost",
            "",
        ] {
            assert_eq!(outcome(&door, "/", &[("host", "localhost"), ("origin", origin)]), Some(Code::Forbidden), "{origin}");
        }
    }

    #[test]
    fn tokens() {
        let door = Door::new(Some(TOKEN.into()), &[], &[]);
        let with = |value: &str| {
            door.check(&"/".parse().expect("uri"), &head(&[("host", "localhost"), ("authorization", value)])).is_ok()
        };
        assert!(with(&format!("Bearer {TOKEN}")) && with(&format!("bearer {TOKEN}")));
        for value in [
            "",
            "Bearer",
            "Bearer ",
            TOKEN,
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
        ] {
            assert!(!with(value), "{value}");
        }
        assert_eq!(outcome(&door, "/", &[("host", "localhost")]), Some(Code::Unauthenticated));
    }
}
