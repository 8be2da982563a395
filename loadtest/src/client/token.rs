//! Tokens for clients of a gateway that asks for them: HS256, signed here, one user a client.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use std::time::UNIX_EPOCH;

/// No run lasts longer, and gateways take none that are valid for more than a day.
const LIFE_SECS: u64 = 12 * 3600;

/// A token for client `number` that may follow rooms with this prefix.
pub(crate) fn sign(key: &str, number: u32, room_prefix: &str) -> String {
    signed(key, json!({"sub": format!("load-{number}"), "rooms": [format!("{room_prefix}*")]}))
}

/// A token to publish with.
pub(crate) fn sign_publisher(key: &str) -> String {
    signed(key, json!({"sub": "load", "scope": "events:publish"}))
}

fn signed(key: &str, mut claims: Value) -> String {
    // A clock before 1970 makes a token that is refused, as it should be.
    let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    (claims["iat"], claims["exp"]) = (now.into(), (now + LIFE_SECS).into());
    let claims = claims.to_string();
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_as_rfc_7515_says() {
        // Its example A.1 has line breaks in the header, so only the form and the key's part in it are checked here.
        let (one, two) = (sign("key", 7, "execution:"), sign("other key", 7, "execution:"));
        let parts: Vec<_> = one.split('.').collect();
        let claims = URL_SAFE_NO_PAD.decode(parts[1]).expect("base64");
        let claims: serde_json::Value = serde_json::from_slice(&claims).expect("json");
        assert_eq!((parts.len(), &claims["sub"], &claims["rooms"][0]), (3, &json!("load-7"), &json!("execution:*")));
        assert_eq!(claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat), Some(LIFE_SECS));
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).expect("base64").len(), 32);
        assert!(one.rsplit_once('.').map(|(_, tag)| tag) != two.rsplit_once('.').map(|(_, tag)| tag));
    }
}
