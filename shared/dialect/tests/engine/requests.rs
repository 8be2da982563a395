//! Queries, and refusals in Engine.IO's own words.

use proptest::prelude::*;
use weft_dialect::engine::{Method, Query, Refusal, Request, Transport};

fn admitted(query: &str, method: Method, upgrade: bool) -> Result<String, Refusal> {
    Query::parse(query)?.admit(method, upgrade).map(|request| match request {
        Request::Open(Transport::Polling) => "open polling".to_owned(),
        Request::Open(Transport::WebSocket) => "open websocket".to_owned(),
        Request::Poll(sid) => format!("poll {sid}"),
        Request::Post(sid) => format!("post {sid}"),
        Request::Upgrade(sid) => format!("upgrade {sid}"),
    })
}

#[test]
fn a_request_is_admitted_or_refused_with_its_code() {
    use Method::{Get, Other, Post};
    use Refusal::{BadHandshakeMethod, BadRequest, UnknownTransport, UnsupportedVersion};
    for (query, method, upgrade, expected) in [
        ("EIO=4&transport=polling", Get, false, Ok("open polling")),
        ("EIO=4&transport=polling&t=abc&b64=1", Get, false, Ok("open polling")),
        ("EIO=4&transport=websocket", Get, true, Ok("open websocket")),
        ("EIO=4&transport=polling&sid=", Get, false, Ok("open polling")),
        ("EIO=4&transport=polling&sid=a-b_c", Get, false, Ok("poll a-b_c")),
        ("EIO=4&transport=polling&sid=a%2eb%3A%40", Post, false, Ok("post a.b:@")),
        ("EIO=4&transport=websocket&sid=x", Get, true, Ok("upgrade x")),
        ("transport=polling", Get, false, Err(UnsupportedVersion)),
        ("EIO=abc&transport=polling", Get, false, Err(UnsupportedVersion)),
        ("EIO=3&transport=websocket", Get, true, Err(UnsupportedVersion)),
        ("EIO=4", Get, false, Err(UnknownTransport)),
        ("", Get, false, Err(UnknownTransport)),
        ("EIO=4&transport=abc", Get, false, Err(UnknownTransport)),
        ("EIO=4&transport=webtransport", Get, true, Err(UnknownTransport)),
        ("EIO=4&transport=polling", Post, false, Err(BadHandshakeMethod)),
        ("EIO=4&transport=polling", Other, false, Err(BadHandshakeMethod)),
        ("EIO=4&transport=websocket", Get, false, Err(BadRequest)),
        ("EIO=4&transport=polling", Get, true, Err(BadRequest)),
        ("EIO=4&transport=websocket&sid=x", Get, false, Err(BadRequest)),
        ("EIO=4&transport=websocket&sid=x", Post, true, Err(BadRequest)),
        ("EIO=4&transport=polling&sid=x", Other, false, Err(BadRequest)),
        // An upgrade in another version than its session has, or in none (CVE-2026-102599).
        ("EIO=3&transport=websocket&sid=x", Get, true, Err(BadRequest)),
        ("transport=websocket&sid=x", Get, true, Err(BadRequest)),
        ("EIO=4&transport=polling&transport=websocket", Get, false, Err(BadRequest)),
        ("EIO=4&transport=polling&sid=a&sid=b", Get, false, Err(BadRequest)),
        ("EIO=4&transport=polling&sid=%", Get, false, Err(BadRequest)),
        ("EIO=4&transport=polling&sid=%f", Get, false, Err(BadRequest)),
        ("EIO=4&transport=polling&sid=%+1", Get, false, Err(BadRequest)),
        ("EIO=4&transport=polling&sid=%ff", Get, false, Err(BadRequest)),
    ] {
        assert_eq!(admitted(query, method, upgrade), expected.map(str::to_owned), "{query} {method:?} {upgrade}");
    }
    assert_eq!(Query::parse(&"x".repeat(30_000)), Err(BadRequest));
}

#[test]
fn refusals_are_engine_ios_own() {
    for (refusal, http, body) in [
        (Refusal::UnknownTransport, 400, r#"{"code":0,"message":"Transport unknown"}"#),
        (Refusal::UnknownSid, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
        (Refusal::BadHandshakeMethod, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
        (Refusal::BadRequest, 400, r#"{"code":3,"message":"Bad request"}"#),
        (Refusal::Forbidden, 403, r#"{"code":4,"message":"Forbidden"}"#),
        (Refusal::UnsupportedVersion, 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
    ] {
        assert_eq!((refusal.http(), refusal.body().as_str()), (http, body));
    }
}

#[test]
fn the_token_is_read_and_recovery_is_for_clients_that_bear_it() {
    let token = Query::parse("token=a%20b+c%c3%a9&EIO=4").expect("legal").token;
    assert_eq!(token.as_deref(), Some("a b c\u{e9}"));
    for (query, bears) in [
        // As engine.io-client writes it, with a query of the page's own before it.
        ("EIO=4&transport=websocket", true),
        ("token=x&EIO=4&transport=polling&t=m8x1k2", true),
        ("EIO=4&transport=polling&t=m8x1k2&sid=s", true),
        ("recovery=0&EIO=4&transport=websocket", false),
        ("recovery=1&EIO=4&transport=websocket", true),
        // As python-engineio does.
        ("transport=websocket&EIO=4&t=1769860800.25", false),
        ("token=x&transport=polling&EIO=4", false),
        ("transport=polling", false),
    ] {
        assert_eq!(Query::parse(query).expect(query).bears_recovery(), bears, "{query}");
    }
}

proptest! {
    #[test]
    fn no_query_panics(text in any::<String>(), query in "((EIO|transport|sid|token|recovery|t)=(4|polling|websocket|%[0-9a-f+%]{0,3}|\\+|x){0,3}&?){0,6}") {
        for query in [text, query] {
            if let Ok(query) = Query::parse(&query) {
                for method in [Method::Get, Method::Post, Method::Other] {
                    for upgrade in [false, true] {
                        let _ = query.admit(method, upgrade);
                    }
                }
            }
        }
    }
}
