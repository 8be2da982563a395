//! The tables.

use super::rig::{NOW, Rig, SECRET, encoded};
use crate::{Refused, Token, keys::KeySet};

/// A token and its answer.
pub struct Case {
    pub name: String,
    pub keys: KeySet,
    pub token: Token,
    pub expected: Result<(), Refused>,
}

const HS256: &str = r#"{"alg":"HS256"}"#;

pub fn all(rig: &Rig) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut push = |name: String, token: Token, expected| {
        cases.push(Case { name, keys: rig.files.clone(), token, expected });
    };
    for (header, expected) in headers() {
        push(format!("header {header}"), rig.hmac(&header, &rig.claims()), expected);
    }
    for (claims, expected) in claims() {
        push(format!("claims {claims:.200}"), rig.hmac(HS256, &claims), expected);
    }
    for (name, text, expected) in texts(rig) {
        push(name.to_owned(), Token::new(&text).expect("not empty"), Err(expected));
    }
    for (name, token, expected) in confusions(rig) {
        push(name.to_owned(), token, Err(expected));
    }
    for (header, expected) in [
        (r#"{"alg":"EdDSA","kid":"one"}"#, Ok(())),
        (r#"{"alg":"EdDSA"}"#, Ok(())),
        (r#"{"alg":"EdDSA","kid":"two"}"#, Err(Refused::Signature)),
        (r#"{"alg":"EdDSA","kid":"three"}"#, Err(Refused::UnknownKey)),
        (r#"{"alg":"EdDSA","kid":"ONE"}"#, Err(Refused::UnknownKey)),
        (r#"{"alg":"EdDSA","kid":""}"#, Err(Refused::UnknownKey)),
        (r#"{"alg":"EdDSA","kid":"../../../dev/null"}"#, Err(Refused::UnknownKey)),
        (r#"{"alg":"EdDSA","kid":"' OR 1=1 --"}"#, Err(Refused::UnknownKey)),
        (r#"{"alg":"EdDSA","kid":"one\u0000"}"#, Err(Refused::UnknownKey)),
        (r#"{"alg":"EdDSA","kid":"http://evil.example/jwks"}"#, Err(Refused::UnknownKey)),
        (r#"{"alg":"EdDSA","kid":"one","kid":"two"}"#, Err(Refused::Algorithm)),
        // Another family may have been published since; a secret never is.
        (r#"{"alg":"RS256","kid":"one"}"#, Err(Refused::UnknownKey)),
        (r#"{"alg":"HS256","kid":"one"}"#, Err(Refused::Algorithm)),
    ] {
        let (keys, token) = (rig.published.clone(), rig.ed(header, &rig.claims()));
        cases.push(Case { name: format!("published, header {header}"), keys, token, expected });
    }
    cases
}

/// Headers of tokens that are signed with our secret, as HS256 is.
fn headers() -> Vec<(String, Result<(), Refused>)> {
    let refused = [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":"nOnE"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS256 "}"#,
        r#"{"alg":"HS256\u0000"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":{"HS256":1}}"#,
        r#"{"alg":256}"#,
        r#"{}"#,
        r#"{"ALG":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"none","\u0061lg":"HS256"}"#,
        r#"{"alg":"HS384"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"PS256"}"#,
        r#"{"alg":"ES384"}"#,
        r#"{"alg":"RSA-OAEP","enc":"A128GCM"}"#,
        r#"{"alg":"HS256","typ":"JWE"}"#,
        r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
        r#"{"alg":"HS256","typ":"logout+jwt"}"#,
        r#"{"alg":"HS256","typ":1}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","b64":false}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
        r#"{"alg":"HS256","enc":"A128GCM"}"#,
        r#"{"alg":"HS256","cty":"JWT"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":null}"#,
        r#"{"alg":"HS256","kid":["a"]}"#,
        r#"["HS256"]"#,
        r#""HS256""#,
        "null",
        "HS256",
        r#"{"alg":"HS256"}{"alg":"HS256"}"#,
        r#"{"alg":"HS256""#,
    ];
    let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(257));
    // What is not looked at may be anything; it is passed over without recursion.
    let deep = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let accepted = [
        r#"{"alg":"HS256","typ":"jwt"}"#,
        r#"{"alg":"HS256","typ":"at+JWT"}"#,
        r#"{"alg":"HS256","typ":"application/at+jwt"}"#,
        r#" {"alg" : "HS256"} "#,
        // Those that only point elsewhere are not looked at.
        r#"{"alg":"HS256","jku":"http://evil.example","x5u":"http://evil.example"}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
    ];
    let refused = refused.into_iter().map(str::to_owned).chain([long]).map(|header| (header, Err(Refused::Algorithm)));
    let accepted = accepted.into_iter().map(str::to_owned).chain([deep]).map(|header| (header, Ok(())));
    // Asymmetric ones have keys here, which did not make this signature.
    let others = ["RS256", "ES256", "EdDSA"].map(|alg| (format!(r#"{{"alg":"{alg}"}}"#), Err(Refused::Signature)));
    refused.chain(accepted).chain(others).collect()
}

/// Claims under a signature that fits: with one claim in place of the good one, or beside them.
fn claims() -> Vec<(String, Result<(), Refused>)> {
    let good = [("sub", r#""u""#), ("exp", "1000060"), ("iat", "1000000"), ("iss", r#""me""#), ("aud", r#""weft""#)];
    let with = |name: &str, value: &str| {
        let others = good.iter().filter(|(other, _)| *other != name).map(|(name, value)| format!(r#""{name}":{value},"#));
        format!(r#"{{{}"{name}":{value}}}"#, others.collect::<String>())
    };
    let without = |name: &str| {
        let others = good.iter().filter(|(other, _)| *other != name).map(|(name, value)| format!(r#""{name}":{value}"#));
        format!("{{{}}}", others.collect::<Vec<_>>().join(","))
    };
    let long = format!(r#""{}""#, "x".repeat(129));
    let many = format!("[{}]", vec![r#""user:u""#; 257].join(","));
    let deep = format!("{}1{}", "[".repeat(1500), "]".repeat(1500));
    let claims = Err(Refused::Claims);
    let mut cases: Vec<(String, Result<(), Refused>)> = [
        ("exp", "1000001", Ok(())),
        ("exp", "1000001.9", Ok(())),
        ("exp", "1000000", Err(Refused::Expired)),
        ("exp", "1000000.9", Err(Refused::Expired)),
        ("exp", "999999", Err(Refused::Expired)),
        ("exp", "0", Err(Refused::Expired)),
        ("exp", "1001000", Ok(())),
        ("exp", "1001001", claims),
        ("exp", "1000060000", claims),
        ("exp", "9999999999999999", claims),
        ("exp", "18446744073709551615", claims),
        ("exp", "18446744073709551616", claims),
        ("exp", "1e300", claims),
        ("exp", "1e999", claims),
        ("exp", "-1", claims),
        ("exp", "-0.5", claims),
        ("exp", "null", claims),
        ("exp", "true", claims),
        ("exp", r#""1000060""#, claims),
        ("exp", "[1000060]", claims),
        ("exp", r#"{"$gt":0}"#, claims),
        ("exp", "NaN", claims),
        ("exp", "Infinity", claims),
        ("exp", "0x7fffffff", claims),
        ("nbf", "1000010", Ok(())),
        ("nbf", "1000011", Err(Refused::NotYet)),
        ("nbf", r#""0""#, claims),
        ("nbf", "null", claims),
        ("nbf", "[0]", claims),
        ("iat", "1000010", Ok(())),
        ("iat", "1000011", Err(Refused::NotYet)),
        ("iat", "999059", claims),
        ("iat", r#""1000000""#, claims),
        ("iat", "null", claims),
        ("iss", r#""you""#, claims),
        ("iss", r#""ME""#, claims),
        ("iss", r#""me ""#, claims),
        ("iss", r#""me\u0000""#, claims),
        ("iss", r#""""#, claims),
        ("iss", "null", claims),
        ("iss", r#"["me"]"#, claims),
        ("iss", r#"{"me":1}"#, claims),
        ("aud", r#"["other"]"#, Ok(())),
        ("aud", r#""WEFT""#, claims),
        ("aud", r#""weft2""#, claims),
        ("aud", r#""x weft""#, claims),
        ("aud", "[]", claims),
        ("aud", r#"[["weft"]]"#, claims),
        ("aud", r#"["weft",1]"#, claims),
        ("aud", "null", claims),
        ("aud", r#"{"weft":1}"#, claims),
        ("sub", "null", claims),
        ("sub", "7", claims),
        ("sub", r#"["u"]"#, claims),
        ("sub", r#""""#, claims),
        ("sub", r#""a b""#, claims),
        ("sub", r#""a\r\nb""#, claims),
        ("sub", r#""a\u0000""#, claims),
        ("sub", r#""a\u001b[2J""#, claims),
        ("sub", r#""\u202eu""#, claims),
        ("sub", r#""ü""#, claims),
        ("sub", r#""*""#, claims),
        ("sub", r#"">""#, claims),
        ("sub", r#""acme/u""#, claims),
        ("sub", r#""\ud800""#, claims),
        ("sub", &long, claims),
        ("tenant", r#""acme""#, Ok(())),
        ("tenant", r#""a/b""#, claims),
        ("tenant", r#""a.b""#, claims),
        ("tenant", r#""""#, claims),
        ("tenant", r#""*""#, claims),
        ("tenant", "null", claims),
        ("tenant", "1", claims),
        ("tenant", r#"["acme"]"#, claims),
        ("rooms", r#""execution:*""#, claims),
        ("rooms", "[1]", claims),
        ("rooms", "null", claims),
        ("rooms", &many, claims),
        ("publish", "{}", claims),
        ("publish", "null", claims),
        ("scope", r#"["admin"]"#, claims),
        ("scope", "null", claims),
        ("jti", "1", claims),
        ("jti", r#""""#, claims),
        ("unknown", &deep, Ok(())),
        ("unknown", "[1e999,[{}]]", Ok(())),
        ("unknown", "[1,]", claims),
    ]
    .into_iter()
    .map(|(name, value, expected)| (with(name, value), expected))
    .collect();
    cases.extend(good.iter().map(|(name, _)| (without(name), claims)));
    let twice = |more: &str| format!("{}{more}}}", with("x", "1").trim_end_matches('}'));
    for more in [
        r#","sub":"admin""#,
        r#","s\u0075b":"admin""#,
        r#","exp":9999999"#,
        r#","iss":"me""#,
        r#","aud":"weft""#,
        r#","tenant":"a","tenant":"b""#,
        r#","scope":"","scope":"admin""#,
    ] {
        cases.push((twice(more), claims));
    }
    // In the order of our fields, which is nobody's business.
    cases.push((r#"[1000060,1000000,0,"me","weft","u","t","acme",[],[],"admin"]"#.into(), claims));
    cases.extend(["", "null", "[]", "\"u\"", "{", "{}", "{}{}"].map(|text| (text.to_owned(), claims)));
    cases.push((with("x", "1") + "x", claims));
    cases
}

/// Texts that are no tokens, or no longer the one that was signed.
fn texts(rig: &Rig) -> Vec<(&'static str, String, Refused)> {
    use Refused::{Algorithm, Malformed, Signature};
    let good = rig.hmac(HS256, &rig.claims()).expose().to_owned();
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (header, claims) = message.split_once('.').expect("three parts");
    let admin = encoded(rig.claims().replace(r#""u""#, r#""admin""#));
    // The last character of 32 bytes holds four bits that are used and two that are not.
    let last = signature.chars().last().expect("a character");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).expect("base64url") + 1).expect("its last two bits are zero");
    let padded = format!("{},\"x\":\"{}\"}}", rig.claims().trim_end_matches('}'), "x".repeat(8 * 1024));
    vec![
        ("no signature", format!("{message}."), Signature),
        ("two parts", message.to_owned(), Malformed),
        ("four parts", format!("{good}."), Malformed),
        ("five parts, as of an encrypted token", format!("{good}.x.x"), Malformed),
        ("another's claims", format!("{header}.{admin}.{signature}"), Signature),
        ("no algorithm and no signature", format!("{}.{claims}.", encoded(r#"{"alg":"none"}"#)), Algorithm),
        ("no algorithm and the signature", format!("{}.{claims}.{signature}", encoded(r#"{"alg":"none"}"#)), Algorithm),
        ("unused bits", format!("{message}.{}{next}", &signature[..signature.len() - 1]), Malformed),
        ("padding", format!("{message}.{signature}="), Malformed),
        ("padding of the claims", format!("{header}.{claims}=.{signature}"), Signature),
        ("the other alphabet", format!("{message}.+/{}", &signature[2..]), Malformed),
        ("white space within", format!("{message}.{} {}", &signature[..9], &signature[9..]), Malformed),
        ("a line break within", format!("{header}\r\n.{claims}.{signature}"), Malformed),
        ("cut", format!("{message}.{}", &signature[..40]), Signature),
        ("longer", format!("{good}AAAA"), Signature),
        ("twice", format!("{good}{signature}"), Malformed),
        ("nothing but dots", "..".into(), Malformed),
        ("many dots", ".".repeat(8000), Malformed),
        ("no base64", "a.b.c".into(), Malformed),
        ("zero bytes", "\u{0}.\u{0}.\u{0}".into(), Malformed),
        ("not ASCII", "ü.ü.ü".into(), Malformed),
        ("not UTF-8 in the header", format!("{}.{claims}.{signature}", encoded([0xff, 0xfe])), Algorithm),
        ("long and nothing", "x".repeat(10_000), Malformed),
        ("long, and signed", rig.hmac(HS256, &padded).expose().to_owned(), Malformed),
        (
            "not UTF-8 in the claims",
            rig.hmac_with(SECRET, HS256, [b"{\"sub\":\"".as_slice(), &[0xff], b"\"}"].concat()).expose().to_owned(),
            Refused::Claims,
        ),
    ]
}

/// Tokens that are signed with the wrong thing.
fn confusions(rig: &Rig) -> Vec<(&'static str, Token, Refused)> {
    use Refused::Signature;
    let claims = rig.claims();
    let hmac_with = |secret: &[u8]| rig.hmac_with(secret, HS256, &claims);
    vec![
        // Everybody has the public key.
        ("the public key as a secret", hmac_with(rig.rsa_public_pem.as_bytes()), Signature),
        ("the public key as a secret, trimmed", hmac_with(rig.rsa_public_pem.trim().as_bytes()), Signature),
        ("an empty secret", hmac_with(b""), Signature),
        ("the secret and a line break", hmac_with(&[SECRET, b"\n"].concat()), Signature),
        ("half of the secret", hmac_with(&SECRET[..16]), Signature),
        ("a common secret", hmac_with(b"secret"), Signature),
        ("RSA's signature as HMAC", rig.rsa(HS256, &claims), Signature),
        ("Ed25519's signature as HMAC", rig.ed(HS256, &claims), Signature),
        ("HMAC as RSA's signature", rig.hmac(r#"{"alg":"RS256"}"#, &claims), Signature),
        ("HMAC as P-256's signature", rig.hmac(r#"{"alg":"ES256"}"#, &claims), Signature),
        ("P-256's signature as Ed25519's", rig.ec(r#"{"alg":"EdDSA"}"#, &claims), Signature),
        // r = s = 0 was accepted by more than one implementation.
        ("a signature of zeros", zeros(rig, r#"{"alg":"ES256"}"#, 64), Signature),
        ("a signature of zeros", zeros(rig, r#"{"alg":"EdDSA"}"#, 64), Signature),
        ("a signature of zeros", zeros(rig, r#"{"alg":"RS256"}"#, 256), Signature),
        ("a signature of nothing", zeros(rig, r#"{"alg":"ES256"}"#, 0), Signature),
    ]
}

fn zeros(rig: &Rig, header: &str, bytes: usize) -> Token {
    let text = format!("{}.{}.{}", encoded(header), encoded(rig.claims()), encoded(vec![0; bytes]));
    assert!(text.len() < 2000 && NOW > 0);
    Token::new(&text).expect("not empty")
}
