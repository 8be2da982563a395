//! Wherever a request may carry a token: no header, query or `auth` panics, a place where none may be holds none, what is found
//! was there, and no log shows it.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use libfuzzer_sys::fuzz_target;
use weft_guard::bearer::{Places, Purpose, in_auth, redacted, redacted_url};

const PURPOSES: [Purpose; 4] = [Purpose::Upgrade, Purpose::EventStream, Purpose::SocketIo, Purpose::Request];
const NAMES: [HeaderName; 4] = [header::AUTHORIZATION, header::SEC_WEBSOCKET_PROTOCOL, header::COOKIE, header::ORIGIN];

fuzz_target!(|bytes: &[u8]| {
    let (choice, rest) = bytes.split_first().unwrap_or((&0, &[]));
    // A line each: the first is the query, the others are headers, named by their first byte.
    let mut lines = rest.split(|byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Some((name, value)) = line.split_first()
            && let Ok(value) = HeaderValue::from_bytes(value)
        {
            headers.append(NAMES[usize::from(*name) % NAMES.len()].clone(), value);
        }
    }
    let purpose = PURPOSES[usize::from(*choice) % PURPOSES.len()];
    let method = if choice & 4 == 0 { Method::GET } else { Method::POST };
    let places = Places { query: choice & 8 == 0, cookie: Some("weft".into()), origins: vec!["https://app.example".into()] };
    if let Ok(Some(token)) = places.token(purpose, &method, &headers, Some(&query)) {
        let token = token.expose();
        let holds = |value: &HeaderValue| value.as_bytes().windows(token.len()).any(|some| some == token.as_bytes());
        let in_query = places.query && purpose != Purpose::Request && query.contains(token);
        assert!(in_query || headers.values().any(holds), "{token:?} came from nowhere");
        if !in_query && headers.get(header::AUTHORIZATION).is_none() && purpose != Purpose::Upgrade {
            assert!(
                method == Method::GET && headers.get(header::ORIGIN).is_some(),
                "a cookie of another page, or to change things"
            );
        }
    }
    for shown in [redacted(&query), redacted_url(&format!("/?{query}"))] {
        assert!(!shown.contains("eyJ"), "{shown} shows a token");
        let pairs = shown.trim_start_matches("/?").split('&').filter_map(|pair| pair.split_once('='));
        for (name, value) in pairs.filter(|(name, _)| matches!(*name, "token" | "access_token")) {
            assert!(value == "***", "{name} is shown: {value}");
        }
    }
    if let Some(token) = in_auth(rest) {
        assert!(!token.expose().is_empty());
    }
});
