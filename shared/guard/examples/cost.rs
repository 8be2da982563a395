//! What a token costs: `cargo run --release -p weft-guard --example cost`.
#![allow(clippy::print_stdout)]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use std::{hint::black_box, sync::Arc, time::Instant};
use weft_guard::{
    Revocation, Revoked, Rules, Token, access,
    keys::{Key, KeySet},
    verified::Verified,
};

const NOW: u64 = 1_000_000;
const ROUNDS: u32 = 50_000;

fn main() {
    let claims = format!(
        r#"{{"iss":"https://idp.example/","aud":["weft","other"],"sub":"user-4711","tenant":"acme","exp":{},"iat":{NOW},"jti":"0f5c7c5e-3a53-4cf4-a4d8-6f3f4d2f9a10","scope":"openid profile executions:act","rooms":["execution:team-a-*","kb:docs"]}}"#,
        NOW + 600
    );
    let secret = [7; 32];
    let hs = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key");
    let ed = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
    let point = ec.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    let jwks = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}},{{"kty":"OKP","crv":"Ed25519","x":"{}"}}]}}"#,
        URL_SAFE_NO_PAD.encode(ed.public_key())
    );
    let published = KeySet::of_jwks(jwks.as_bytes()).expect("two keys");
    let shared = KeySet::new(vec![Key::secret(&secret).expect("a key")]);
    let rules = Rules {
        issuers: vec!["https://idp.example/".into()],
        audiences: vec!["weft".into()],
        life_secs_max: Some(86_400),
        ..Rules::default()
    };
    let signed = |alg: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#));
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(&claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
        Token::new(&format!("{message}.{signature}")).expect("a token")
    };
    let tokens = [
        ("HS256", &shared, signed("HS256", &|message| hmac::sign(&hs, message).as_ref().to_vec())),
        ("ES256", &published, signed("ES256", &|message| ec.sign(&random, message).expect("signed").as_ref().to_vec())),
        ("EdDSA", &published, signed("EdDSA", &|message| ed.sign(message).as_ref().to_vec())),
    ];
    for (name, keys, token) in &tokens {
        time(&format!("{name}, {} bytes, verified and read", token.expose().len()), || {
            black_box(keys.verify(black_box(token), &rules, NOW)).expect("accepted");
        });
    }
    let verified = Verified::default();
    let (now_in_force, token) = (Arc::new(KeySet::default()), &tokens[2].2);
    let mark = Verified::mark(token).expect("short");
    verified.put(mark, Arc::new(published.verify(token, &rules, NOW).expect("accepted")), now_in_force.clone(), NOW);
    time("the same EdDSA token again", || {
        let mark = Verified::mark(black_box(token)).expect("short");
        black_box(verified.get(&mark, NOW, |keys| Arc::ptr_eq(keys, &now_in_force))).expect("known");
    });
    let identity = shared.verify(&tokens[0].2, &rules, NOW).expect("accepted");
    let revoked = Revoked::never();
    for n in 0..10_000_u64 {
        revoked.add(&Revocation { tenant: Some("acme".into()), subject: Some(format!("u{n}").into()), token: None, at: NOW });
    }
    time("asked among 10,000 revocations", || assert!(!black_box(revoked.covers(black_box(&identity)))));
    time("a room named, put into its tenant and asked for by a pattern", || {
        let room = identity.room(black_box("execution:team-a-17")).expect("a room");
        assert_eq!(black_box(access::follow(&identity, &room)), access::Access::Yes);
    });
    time("a room that only its owner may follow", || {
        let room = identity.room(black_box("execution:other")).expect("a room");
        assert!(matches!(black_box(access::follow(&identity, &room)), access::Access::IfOwner(_)));
    });
}

/// The best of five runs, in nanoseconds for one.
fn time(what: &str, mut once: impl FnMut()) {
    let run = |once: &mut dyn FnMut()| {
        let began = Instant::now();
        (0..ROUNDS).for_each(|_| once());
        began.elapsed().as_nanos() / u128::from(ROUNDS)
    };
    let best = (0..5).map(|_| run(&mut once)).min().unwrap_or_default();
    println!("{best:>8} ns  {what}");
}
