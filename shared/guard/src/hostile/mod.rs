//! Tokens that somebody has made up, each with its answer; and the proof that every check is needed for some of them.

mod rig;
mod tables;

use crate::{
    Identity, Refused, Rules,
    check::{Check, without_here},
    keys::{Key, KeySet},
};
use rig::{NOW, Rig, pem_pair};
use tables::Case;

fn rules() -> Rules {
    Rules {
        issuers: vec!["me".into()],
        audiences: vec!["weft".into(), "other".into()],
        life_secs_max: Some(1000),
        ..Rules::default()
    }
}

/// Which cases were answered otherwise, and whether somebody came in that should not.
fn wrong(cases: &[Case]) -> Vec<(String, Result<Identity, Refused>)> {
    let answers = cases.iter().map(|case| (case, case.keys.verify(&case.token, &rules(), NOW)));
    let wrong = answers.filter(|(case, answer)| answer.as_ref().map(|_| ()).map_err(|refused| *refused) != case.expected);
    wrong.map(|(case, answer)| (case.name.clone(), answer)).collect()
}

#[test]
fn hostile_tokens_are_refused_each_for_its_reason() {
    let rig = Rig::new();
    let cases = tables::all(&rig);
    let hostile = cases.iter().filter(|case| case.expected.is_err()).count();
    assert!(hostile >= 60, "{hostile}");
    assert_eq!(wrong(&cases), vec![]);
}

#[test]
fn without_any_one_check_somebody_comes_in() {
    let rig = Rig::new();
    let cases = tables::all(&rig);
    for check in [
        Check::Length,
        Check::Algorithm,
        Check::Header,
        Check::KeyId,
        Check::Signature,
        Check::Expiry,
        Check::NotBefore,
        Check::IssuedAt,
        Check::Life,
        Check::Issuer,
        Check::Audience,
        Check::Subject,
        Check::Tenant,
    ] {
        let wrong = without_here(check, || wrong(&cases));
        assert!(wrong.iter().any(|(_, answer)| answer.is_ok()), "nobody notices that {check:?} is missing");
    }
}

#[test]
fn every_algorithm_is_accepted_with_a_key_of_its_own_only() {
    let rig = Rig::new();
    let header = |alg: &str| format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
    let signed = [
        ("HS256", rig.hmac(&header("HS256"), &rig.claims()), rig.secret.clone()),
        ("RS256", rig.rsa(&header("RS256"), &rig.claims()), rig.rsa_public.clone()),
        ("ES256", rig.ec(&header("ES256"), &rig.claims()), rig.ec_public.clone()),
        ("EdDSA", rig.ed(&header("EdDSA"), &rig.claims()), rig.ed_public.clone()),
    ];
    for (name, token, key) in &signed {
        let verify = |keys: &KeySet| keys.verify(token, &rules(), NOW).map(|identity| identity.subject.into_string());
        assert_eq!(verify(&KeySet::new(vec![key.clone()])), Ok("u".into()), "{name}");
        assert_eq!(verify(&rig.files), Ok("u".into()), "{name} among all");
        for (other, _, key) in signed.iter().filter(|(other, ..)| other != name) {
            assert_eq!(verify(&KeySet::new(vec![key.clone()])), Err(Refused::Algorithm), "{name} with the key of {other}");
        }
    }
}

/// Signatures that others have made: RFC 7515, appendices A.1 and A.3, and RFC 8037, appendix A.4, whose payload is no JSON.
#[test]
fn the_signatures_of_the_standards_are_accepted() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let secret = URL_SAFE_NO_PAD.decode(secret).expect("base64");
    let ec = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let ed = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let hs_header = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
    let ec_signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let ed_rest = "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    for (keys, token, expected) in [
        (
            KeySet::new(vec![Key::secret(&secret).expect("a key")]),
            format!("{hs_header}.{claims}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            Refused::Expired,
        ),
        (
            KeySet::of_jwks(ec.as_bytes()).expect("a key"),
            format!("eyJhbGciOiJFUzI1NiJ9.{claims}.{ec_signature}"),
            Refused::Expired,
        ),
        (KeySet::of_jwks(ed.as_bytes()).expect("a key"), format!("eyJhbGciOiJFZERTQSJ9.{ed_rest}"), Refused::Claims),
    ] {
        let token = crate::Token::new(&token).expect("not empty");
        // Years after they were made they have expired; the signature is looked at first.
        let refused = keys.verify(&token, &Rules::default(), 1_800_000_000).expect_err("expired, or no claims");
        assert_eq!(refused, expected, "{}", token.expose());
    }
}

#[test]
fn what_cannot_serve_as_a_key_is_refused() {
    let (rsa, rsa_public) = pem_pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let (_, small) = pem_pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    let (_, curve) = pem_pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let (_, x25519) = pem_pair(&["-algorithm", "X25519"]);
    for (refused, told) in [
        (Key::public_pem(&rsa), "private key"),
        (Key::public_pem(&small), "2048"),
        (Key::public_pem(&curve), "no public"),
        (Key::public_pem(&x25519), "no public"),
        (Key::public_pem("-----BEGIN"), "no public"),
        (Key::secret(rsa_public.as_bytes()), "PEM"),
        (Key::secret(b"short"), "32 bytes"),
        (Key::secret(&[b' '; 64]), "32 bytes"),
    ] {
        let refused = refused.expect_err(told).to_string();
        assert!(refused.contains(told) && !refused.contains("short,"), "{refused}");
    }
    let x = "A".repeat(43);
    for (keys, usable) in [
        (format!(r#"[{{"kty":"OKP","crv":"Ed25519","x":"{x}","use":"sig","alg":"EdDSA","key_ops":["verify"]}}]"#), 1),
        (format!(r#"[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}, 1, null, {{}}, {{"kty":7}}]"#), 1),
        (format!(r#"[{{"kty":"OKP","crv":"Ed25519","x":"{x}","use":"enc"}}]"#), 0),
        (format!(r#"[{{"kty":"OKP","crv":"Ed25519","x":"{x}","key_ops":["sign"]}}]"#), 0),
        (format!(r#"[{{"kty":"OKP","crv":"Ed25519","x":"{x}","alg":"HS256"}}]"#), 0),
        (format!(r#"[{{"kty":"OKP","crv":"X25519","x":"{x}"}}]"#), 0),
        (format!(r#"[{{"kty":"OKP","crv":"Ed25519","x":"{x}AA"}}]"#), 0),
        (format!(r#"[{{"kty":"EC","crv":"P-256","x":"{x}"}}]"#), 0),
        (r#"[{"kty":"RSA","n":"AQAB","e":"AQAB"}]"#.into(), 0),
        (r#"[{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY","alg":"HS256"}]"#.into(), 0),
        (format!("[{}]", vec!["{}"; 65].join(",")), 0),
        ("{}".into(), 0),
        ("[]".into(), 0),
    ] {
        let set = KeySet::of_jwks(format!(r#"{{"keys":{keys}}}"#).as_bytes());
        assert_eq!(set.map_or(0, |set| set.len()), usable, "{keys}");
    }
}

/// Every token that differs in one character from a good one is another, of every algorithm.
#[test]
fn no_character_of_a_token_is_without_meaning() {
    let rig = Rig::new();
    let header = |alg: &str| format!(r#"{{"alg":"{alg}"}}"#);
    let mut tried = 0;
    for good in [
        rig.hmac(&header("HS256"), &rig.claims()),
        rig.rsa(&header("RS256"), &rig.claims()),
        rig.ec(&header("ES256"), &rig.claims()),
        rig.ed(&header("EdDSA"), &rig.claims()),
    ] {
        let text = good.expose();
        rig.files.verify(&good, &rules(), NOW).expect("accepted");
        for (at, character) in text.char_indices() {
            for other in ["A", "B", "_", ".", "=", " ", "", "\u{0}", "é"].iter().filter(|other| **other != character.to_string())
            {
                let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
                // White space around a token is not part of it; within, it is.
                let Some(token) = crate::Token::new(&changed).filter(|token| token.expose() == changed) else { continue };
                assert!(rig.files.verify(&token, &rules(), NOW).is_err(), "{at} {other:?}: {changed}");
                tried += 1;
            }
        }
    }
    assert!(tried > 5000, "{tried}");
}
