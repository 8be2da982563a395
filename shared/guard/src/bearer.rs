//! Where a request carries its token (wire contract, section 11). The first place that has one counts.
//!
//! Pure: what is allowed where follows from the settings and from what is asked for, and is decided here alone.

use crate::{Refused, Token, object};
use http::{HeaderMap, Method, header};
use serde::Deserialize;
use std::borrow::Cow;

/// The subprotocol under which browsers can send a token: `weft.token.<token>`. Never echoed.
pub const SUBPROTOCOL: &str = "weft.token.";

/// What is asked for: it decides which places count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A WebSocket upgrade.
    Upgrade,
    /// An event stream.
    EventStream,
    /// Socket.IO, by polling; its upgrades are [`Purpose::Upgrade`].
    SocketIo,
    /// Anything else.
    Request,
}

/// Places beside the `Authorization` header.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Whether upgrades, event streams and Socket.IO may bring it in the query.
    pub query: bool,
    /// The cookie that may hold it.
    pub cookie: Option<String>,
    /// Origins whose pages' cookies count, compared exactly.
    pub origins: Vec<String>,
}

impl Places {
    /// The token of a request, if it has one.
    ///
    /// # Errors
    /// One place holds two: which of them counts could be told differently by a proxy in front.
    pub fn token(
        &self,
        purpose: Purpose,
        method: &Method,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Option<Token>, Refused> {
        if let Some(token) = authorization(headers)? {
            return Ok(Some(token));
        }
        if purpose == Purpose::Upgrade
            && let Some(token) = subprotocol(headers)?
        {
            return Ok(Some(token));
        }
        if self.query
            && purpose != Purpose::Request
            && let Some(token) = in_query(query.unwrap_or_default())?
        {
            return Ok(Some(token));
        }
        match &self.cookie {
            Some(name) if self.trusts_cookies(method, headers) => in_cookie(headers, name),
            _ => Ok(None),
        }
    }

    /// Cookies come along with requests that any page makes. So they count only where the page is one of ours, and where
    /// nothing is changed.
    fn trusts_cookies(&self, method: &Method, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let is_ours = match (origins.next(), origins.next()) {
            (Some(origin), None) => origin.to_str().is_ok_and(|origin| self.origins.iter().any(|listed| listed == origin)),
            (None, _) => self.is_of_own_page(headers),
            _ => false,
        };
        method == Method::GET && is_ours
    }

    /// A browser names no origin when a page asks its own host for something. It then says so in a header that no page can set,
    /// and the origin is the host that is asked, which must be listed as any other.
    fn is_of_own_page(&self, headers: &HeaderMap) -> bool {
        let only = |name: &str| {
            let mut all = headers.get_all(name).iter();
            all.next().and_then(|value| value.to_str().ok()).filter(|_| all.next().is_none())
        };
        let is_listed = |host: &str| {
            let hosts = self.origins.iter().filter_map(|listed| Some(listed.split_once("://")?.1));
            hosts.into_iter().any(|listed| listed.eq_ignore_ascii_case(host))
        };
        only("sec-fetch-site") == Some("same-origin") && only("host").is_some_and(is_listed)
    }
}

/// The only one of what a place holds.
fn only(mut tokens: impl Iterator<Item = Token>) -> Result<Option<Token>, Refused> {
    let first = tokens.next();
    if tokens.next().is_some() { Err(Refused::Malformed) } else { Ok(first) }
}

fn authorization(headers: &HeaderMap) -> Result<Option<Token>, Refused> {
    let values = headers.get_all(header::AUTHORIZATION).iter();
    only(values.filter_map(|value| {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") { Token::new(token) } else { None }
    }))
}

fn subprotocol(headers: &HeaderMap) -> Result<Option<Token>, Refused> {
    let all = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    only(offered.filter_map(|one| one.trim().strip_prefix(SUBPROTOCOL)).filter_map(Token::new))
}

/// `token=…` or `access_token=…`. A JWT needs no escape in a query, so that none is undone.
fn in_query(query: &str) -> Result<Option<Token>, Refused> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    only(pairs.filter(|(name, _)| matches!(*name, "token" | "access_token")).filter_map(|(_, value)| Token::new(value)))
}

fn in_cookie(headers: &HeaderMap, name: &str) -> Result<Option<Token>, Refused> {
    let all = headers.get_all(header::COOKIE);
    let pairs = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    only(pairs.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('=').and_then(Token::new)))
}

/// The token in Socket.IO's `auth` object: `{"token": "…"}`; with or without `Bearer ` before it. Whatever else is there
/// is none of ours.
#[must_use]
pub fn in_auth(json: &[u8]) -> Option<Token> {
    #[derive(Deserialize)]
    struct Auth<'a> {
        #[serde(borrow)]
        token: Option<Cow<'a, str>>,
    }
    let auth: Auth<'_> = object::read(json)?;
    let token = auth.token?;
    let is_prefixed = token.get(..7).is_some_and(|prefix| prefix.eq_ignore_ascii_case("bearer "));
    Token::new(if is_prefixed { &token[7..] } else { &token })
}

/// A query for logs: without the values of names that hold secrets, and without anything that looks like a JWT.
#[must_use]
pub fn redacted(query: &str) -> String {
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        // Whoever wrote it before the sign of equality meant it no less secret.
        Some((name, _)) if looks_like_token(name) => "***=***".to_owned(),
        Some((name, value)) if is_secret(name) || looks_like_token(value) => format!("{name}=***"),
        None if looks_like_token(pair) => "***".to_owned(),
        _ => pair.to_owned(),
    });
    shown.collect::<Vec<_>>().join("&")
}

/// A path and query, or a whole URL, for logs.
#[must_use]
pub fn redacted_url(url: &str) -> String {
    match url.split_once('?') {
        Some((path, query)) => format!("{path}?{}", redacted(query)),
        None => url.to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = unescaped(name).to_ascii_lowercase();
    ["token", "auth", "ticket", "jwt", "secret", "password", "key", "signature"].iter().any(|secret| name.contains(secret))
}

/// A JWT's header begins with `{"`, which base64url always writes so.
fn looks_like_token(value: &str) -> bool {
    value.contains("eyJ") || unescaped(value).contains("eyJ")
}

/// Without its percent-escapes, as far as they are ASCII.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let escape = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                plain.push(escaped);
                at += 3;
            }
            None => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Purpose::{EventStream, Request, SocketIo, Upgrade};
    use http::{HeaderName, HeaderValue};

    const ORIGIN: (HeaderName, &str) = (header::ORIGIN, "https://app.example");
    const COOKIE: (HeaderName, &str) = (header::COOKIE, "other=x; weft=C");
    const OWN_PAGE: (HeaderName, &str) = (HeaderName::from_static("sec-fetch-site"), "same-origin");
    const PROTOCOL: (HeaderName, &str) = (header::SEC_WEBSOCKET_PROTOCOL, "weft.v1.json, weft.token.P");
    const BEARER: (HeaderName, &str) = (header::AUTHORIZATION, "Bearer A");

    fn found(purpose: Purpose, headers: &[(HeaderName, &str)], query: Option<&str>) -> Result<Option<String>, Refused> {
        let places = Places { query: true, cookie: Some("weft".into()), origins: vec!["https://app.example".into()] };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).expect("a header"));
        }
        let token = places.token(purpose, &Method::GET, &map, query)?;
        Ok(token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn the_first_place_counts() {
        for (purpose, headers, query, expected) in [
            (Upgrade, &[BEARER, COOKIE, PROTOCOL, ORIGIN][..], Some("token=Q"), Some("A")),
            (Upgrade, &[COOKIE, PROTOCOL, ORIGIN], Some("token=Q"), Some("P")),
            (EventStream, &[COOKIE, PROTOCOL, ORIGIN], Some("a=b&token=Q"), Some("Q")),
            (SocketIo, &[COOKIE, ORIGIN], Some("access_token=Q"), Some("Q")),
            (Request, &[COOKIE, ORIGIN], Some("token=Q"), Some("C")),
            (Request, &[PROTOCOL], Some("token=Q"), None),
            (Upgrade, &[COOKIE, ORIGIN], None, Some("C")),
            (Upgrade, &[COOKIE], None, None),
            (Upgrade, &[COOKIE, (header::ORIGIN, "https://app.example.evil")], None, None),
            (EventStream, &[COOKIE, OWN_PAGE, (header::HOST, "app.example")], None, Some("C")),
            (EventStream, &[COOKIE, OWN_PAGE, (header::HOST, "other.example")], None, None),
            (EventStream, &[COOKIE, (header::HOST, "app.example")], None, None),
            (EventStream, &[COOKIE, OWN_PAGE, (header::HOST, "app.example"), (header::HOST, "app.example")], None, None),
            (Upgrade, &[COOKIE, (header::ORIGIN, "https://APP.example")], None, None),
            (Upgrade, &[COOKIE, (header::ORIGIN, "null")], None, None),
            (Upgrade, &[COOKIE, ORIGIN, (header::ORIGIN, "https://evil.example")], None, None),
            (Request, &[(header::AUTHORIZATION, "bearer  A ")], None, Some("A")),
            (Request, &[(header::AUTHORIZATION, "Basic A")], None, None),
            (Request, &[(header::AUTHORIZATION, "Bearer ")], None, None),
            (Upgrade, &[ORIGIN, (header::COOKIE, "weftish=x; Xweft=y")], Some("tokens=1&token="), None),
            (Upgrade, &[(header::SEC_WEBSOCKET_PROTOCOL, "weft.token.")], None, None),
        ] {
            assert_eq!(found(purpose, headers, query), Ok(expected.map(str::to_owned)), "{purpose:?} {headers:?} {query:?}");
        }
    }

    #[test]
    fn two_tokens_in_one_place_are_none() {
        for (headers, query) in [
            (&[BEARER, (header::AUTHORIZATION, "Bearer B")][..], None),
            (&[(header::SEC_WEBSOCKET_PROTOCOL, "weft.token.P, weft.token.Q")], None),
            (&[], Some("token=a&token=b")),
            (&[], Some("token=a&access_token=b")),
            (&[ORIGIN, (header::COOKIE, "weft=a; weft=b")], None),
            (&[ORIGIN, (header::COOKIE, "weft=a"), (header::COOKIE, "weft=b")], None),
        ] {
            assert_eq!(found(Upgrade, headers, query), Err(Refused::Malformed), "{headers:?} {query:?}");
        }
    }

    #[test]
    fn a_cookie_changes_nothing() {
        let places = Places { query: false, cookie: Some("weft".into()), origins: vec!["https://app.example".into()] };
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static("https://app.example"));
        headers.insert(header::COOKIE, HeaderValue::from_static("weft=C"));
        let has = |method| places.token(Request, &method, &headers, None).expect("one at most").is_some();
        assert!(has(Method::GET) && !has(Method::POST) && !has(Method::PUT) && !has(Method::DELETE));
        let query = places.token(Upgrade, &Method::GET, &HeaderMap::new(), Some("token=Q"));
        assert_eq!(query, Ok(None), "the query is off");
    }

    #[test]
    fn socket_io_brings_it_in_auth() {
        for (auth, expected) in [
            (r#"{"token":"A"}"#, Some("A")),
            (r#"{"pid":"p","offset":"o","token":"A","x":[1]}"#, Some("A")),
            (r#"{"token":"Bearer A"}"#, Some("A")),
            (r#"{"token":"\u0041"}"#, Some("A")),
            (r#"{"token":" "}"#, None),
            (r#"{"token":1}"#, None),
            (r#"{"token":["A"]}"#, None),
            (r#"{"token":null}"#, None),
            (r#"{"token":"A","token":"B"}"#, None),
            ("{}", None),
            ("", None),
            ("\"A\"", None),
            (r#"["A"]"#, None),
        ] {
            assert_eq!(in_auth(auth.as_bytes()).map(|token| token.expose().to_owned()).as_deref(), expected, "{auth}");
        }
    }

    #[test]
    fn a_query_is_shown_without_its_token() {
        for (query, expected) in [
            ("EIO=4&token=abc&x=1&ACCESS_TOKEN=d&auth", "EIO=4&token=***&x=1&ACCESS_TOKEN=***&auth"),
            ("%74oken=abc", "%74oken=***"),
            ("t=eyJhbGciOiJIUzI1NiJ9.e30.x", "t=***"),
            ("t=%65yJhbGciOiJIUzI1NiJ9.e30.x", "t=***"),
            ("eyJhbGciOiJIUzI1NiJ9.e30.x", "***"),
            ("eyJhbGciOiJIUzI1NiJ9.e30.x=", "***=***"),
            ("x%4eyJhbGciOiJIUzI1NiJ9.e30.x&%65yJ.e30.x=1", "***&***=***"),
            ("token=", "token=***"),
            ("offset=1.2.3&transport=polling", "offset=1.2.3&transport=polling"),
            ("%", "%"),
            ("%4", "%4"),
            ("", ""),
        ] {
            assert_eq!(redacted(query), expected);
        }
        assert_eq!(redacted_url("/api/ws?token=abc"), "/api/ws?token=***");
        assert_eq!(redacted_url("/api/ws"), "/api/ws");
    }
}
