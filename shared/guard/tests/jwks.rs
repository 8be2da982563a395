//! Keys that rotate, and providers that are away, slow or hostile, over real HTTP.

mod provider;

use provider::{Answer, Provider};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use weft_guard::{
    Refused, Rules, Token,
    jwks::{Jwks, Times},
};

struct Signer {
    key: Ed25519KeyPair,
    kid: &'static str,
}

impl Signer {
    fn new(kid: &'static str, seed: u8) -> Self {
        Self { key: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key"), kid }
    }

    fn jwk(&self) -> String {
        let x = encoded(self.key.public_key().as_ref());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{}","x":"{x}"}}"#, self.kid)
    }

    fn token(&self) -> Token {
        let header = encoded(format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, self.kid));
        let message = format!("{header}.{}", encoded(format!(r#"{{"sub":"u","exp":{}}}"#, now() + 600)));
        let signature = encoded(self.key.sign(message.as_bytes()));
        Token::new(&format!("{message}.{signature}")).expect("a token")
    }
}

fn encoded(text: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn published(signers: &[&Signer]) -> Answer {
    let keys: Vec<String> = signers.iter().map(|signer| signer.jwk()).collect();
    Answer::Body(format!(r#"{{"keys":[{}]}}"#, keys.join(",")))
}

fn times(pause_ms: u64, stale_ms: u64) -> Times {
    let millis = Duration::from_millis;
    Times { pause: millis(pause_ms), every: Duration::from_secs(3600), stale: millis(stale_ms) }
}

const LONG: u64 = 3_600_000;

/// As the guard does: verify, and where the key is unknown look again once.
async fn verify(jwks: &Arc<Jwks>, token: &Token) -> Result<(), Refused> {
    let keys = jwks.keys()?;
    match keys.verify(token, &Rules::default(), now()) {
        Err(Refused::UnknownKey) if jwks.look_again(&keys).await => {
            jwks.keys()?.verify(token, &Rules::default(), now()).map(|_| ())
        }
        decided => decided.map(|_| ()),
    }
}

async fn opened(url: &str, times: Times) -> Arc<Jwks> {
    let jwks = Arc::new(Jwks::new(url, false, times).expect("a URL"));
    let keeping = jwks.clone();
    tokio::spawn(async move { keeping.keep().await });
    for _ in 0..1000 {
        if jwks.keys().is_ok() {
            return jwks;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the keys were not fetched in 10 s");
}

#[tokio::test]
async fn keys_rotate_without_a_restart_and_old_ones_go() {
    let (one, two) = (Signer::new("one", 1), Signer::new("two", 2));
    let (provider, url) = Provider::start(published(&[&one])).await;
    let jwks = opened(&url, times(0, LONG)).await;
    assert_eq!(verify(&jwks, &one.token()).await, Ok(()));
    assert_eq!(provider.asked(), 1);
    provider.answers(published(&[&one, &two]));
    assert_eq!(verify(&jwks, &two.token()).await, Ok(()), "a new key is found by its first token");
    assert_eq!((verify(&jwks, &one.token()).await, provider.asked()), (Ok(()), 2), "both serve while they overlap");
    provider.answers(published(&[&two]));
    assert_eq!(verify(&jwks, &Signer::new("three", 3).token()).await, Err(Refused::UnknownKey));
    assert_eq!(verify(&jwks, &one.token()).await, Err(Refused::UnknownKey), "a key that was taken away serves no more");
}

#[tokio::test]
async fn made_up_key_ids_cause_one_fetch_and_good_clients_do_not_notice() {
    let one = Signer::new("one", 1);
    let (provider, url) = Provider::start(published(&[&one])).await;
    let jwks = opened(&url, times(LONG, LONG)).await;
    let hostile = Signer::new("made-up", 9).token();
    for _ in 0..500 {
        assert_eq!(verify(&jwks, &hostile).await, Err(Refused::UnknownKey));
        assert_eq!(verify(&jwks, &one.token()).await, Ok(()));
    }
    assert_eq!(provider.asked(), 1, "the pause holds");
}

#[tokio::test]
async fn who_asks_at_once_waits_for_one_fetch() {
    let (one, two) = (Signer::new("one", 1), Signer::new("two", 2));
    let (provider, url) = Provider::start(published(&[&one])).await;
    let jwks = opened(&url, times(200, LONG)).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let Answer::Body(keys) = published(&[&one, &two]) else { unreachable!("a body") };
    provider.answers(Answer::Late(Duration::from_millis(100), keys));
    let token = two.token();
    let all = futures_util::future::join_all((0..200).map(|_| verify(&jwks, &token))).await;
    assert!(all.iter().all(Result::is_ok), "whoever waits gets the keys");
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn who_asks_and_leaves_keeps_no_key_away_from_others() {
    let (one, two) = (Signer::new("one", 1), Signer::new("two", 2));
    let (provider, url) = Provider::start(published(&[&one])).await;
    let jwks = opened(&url, times(200, LONG)).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    let Answer::Body(keys) = published(&[&one, &two]) else { unreachable!("a body") };
    provider.answers(Answer::Late(Duration::from_millis(200), keys));
    let hostile = Signer::new("made-up", 9).token();
    let gone = tokio::time::timeout(Duration::from_millis(50), verify(&jwks, &hostile)).await;
    assert!(gone.is_err(), "it left while the fetch was under way");
    let newer = async {
        while verify(&jwks, &two.token()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), newer).await.expect("the fetch goes on without who asked for it");
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn the_last_keys_outlive_an_outage_for_a_while() {
    let one = Signer::new("one", 1);
    let (provider, url) = Provider::start(published(&[&one])).await;
    let jwks = opened(&url, times(0, 600)).await;
    provider.answers(Answer::Status(503));
    assert_eq!(verify(&jwks, &Signer::new("two", 2).token()).await, Err(Refused::UnknownKey));
    assert_eq!(verify(&jwks, &one.token()).await, Ok(()), "the last keys serve");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(verify(&jwks, &one.token()).await, Err(Refused::Stale), "but not for ever");
}

#[tokio::test]
async fn answers_that_are_no_keys_change_nothing() {
    let one = Signer::new("one", 1);
    let (provider, url) = Provider::start(published(&[&one])).await;
    let (elsewhere, other_url) = Provider::start(published(&[&Signer::new("two", 2)])).await;
    let jwks = opened(&url, times(0, LONG)).await;
    let hostile = Signer::new("two", 2).token();
    let body = |text: &str| Answer::Body(text.to_owned());
    let bad = [
        body(""),
        body("{}"),
        body("<html>"),
        body("{\"keys\":[]}"),
        body("{\"keys\":{}}"),
        body("null"),
        Answer::Status(404),
        Answer::Status(204),
        Answer::Redirect(other_url),
        Answer::Flood,
    ];
    for answer in bad {
        provider.answers(answer);
        assert_eq!(verify(&jwks, &hostile).await, Err(Refused::UnknownKey));
        assert_eq!(verify(&jwks, &one.token()).await, Ok(()));
    }
    assert_eq!((provider.asked(), elsewhere.asked()), (11, 0), "a redirect is not followed");
    provider.answers(Answer::Drip);
    let slow = tokio::time::timeout(Duration::from_secs(30), verify(&jwks, &hostile)).await;
    assert_eq!(slow.expect("a fetch has an end"), Err(Refused::UnknownKey));
}
