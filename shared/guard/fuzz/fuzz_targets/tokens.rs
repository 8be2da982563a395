//! No token panics, none is accepted that no key has signed, and what claims say is held to whoever reads them. Keys and key
//! sets of providers are read as well.
#![no_main]

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use weft_guard::{
    Identity, Rules, Token,
    jws::Parts,
    keys::{Key, KeySet},
};

const NOW: u64 = 1_800_000_000;

static KEYS: LazyLock<KeySet> = LazyLock::new(|| KeySet::new(vec![Key::secret(&[7; 32]).expect("long enough")]));

fuzz_target!(|bytes: &[u8]| {
    // As a token in one piece, and as the parts of one, so that what lies behind the base64 is reached too.
    let text = String::from_utf8_lossy(bytes);
    verify(&text);
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut part = || BASE64.encode(parts.next().unwrap_or_default());
    verify(&format!("{}.{}.{}", part(), part(), part()));

    if let Ok(identity) = Identity::from_claims(bytes, &Rules::default(), NOW) {
        assert!(identity.expires_at > NOW, "an expired token");
        assert!(!identity.subject.is_empty() && identity.subject.len() <= 128, "{:?} is nobody's id", identity.subject);
    }
    let _ = (KeySet::of_jwks(bytes), Key::public_pem(&text));
});

fn verify(text: &str) {
    let Some(token) = Token::new(text) else { return };
    assert_eq!(format!("{token:?} {token}"), "Token(***) ***", "what a log would show");
    let parts = Parts::of(&token);
    let verdict = KEYS.verify(&token, &Rules::default(), NOW);
    assert!(verdict.is_err(), "nobody has signed {text:?}");
    if let Ok(parts) = parts {
        assert!(token.expose().starts_with(parts.message) && parts.message.ends_with(parts.claims));
    }
}
