//! Keys from elsewhere: a key set that rotates and whose server is away while clients come and go, public keys in a file,
//! and the hook that has its own word.

use crate::{
    auth_rig::{self, Ws, ask, asking, log, now, publish, service},
    auth_watch::{Watched, keep_token_secret},
    provider::{Answer, Provider},
    support::{Broker, Kind, until},
};
use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use parking_lot::Mutex;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Between two fetches that unknown keys ask for (`shared/guard/src/jwks.rs`).
const PAUSE: Duration = Duration::from_secs(10);

/// Whoever issues tokens.
enum Signer {
    Ed25519(Ed25519KeyPair, &'static str),
    P256(EcdsaKeyPair, &'static str),
}

impl Signer {
    fn ed25519(kid: &'static str) -> Self {
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&rand::random::<[u8; 32]>()).expect("a key"), kid)
    }

    fn p256(kid: &'static str) -> Self {
        let random = ring::rand::SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).expect("a key");
        Self::P256(key, kid)
    }

    fn jwk(&self) -> Value {
        match self {
            Self::Ed25519(key, kid) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": BASE64.encode(key.public_key())})
            }
            Self::P256(key, kid) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "x": BASE64.encode(x), "y": BASE64.encode(y)})
            }
        }
    }

    /// `SubjectPublicKeyInfo`, in PEM.
    fn pem(&self) -> String {
        let (head, key): (&[u8], &[u8]) = match self {
            Self::Ed25519(key, _) => {
                (&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00], key.public_key().as_ref())
            }
            Self::P256(key, _) => (
                &[
                    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
                ],
                key.public_key().as_ref(),
            ),
        };
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode([head, key].concat()))
    }

    fn token(&self, claims: Value) -> String {
        let (alg, kid) = match self {
            Self::Ed25519(_, kid) => ("EdDSA", kid),
            Self::P256(_, kid) => ("ES256", kid),
        };
        let mut all = json!({"iat": now() - 5, "exp": now() + 600});
        all.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
        let head = json!({"alg": alg, "kid": kid, "typ": "JWT"});
        let message = format!("{}.{}", BASE64.encode(head.to_string()), BASE64.encode(all.to_string()));
        let signature = match self {
            Self::Ed25519(key, _) => BASE64.encode(key.sign(message.as_bytes())),
            Self::P256(key, _) => BASE64.encode(key.sign(&ring::rand::SystemRandom::new(), message.as_bytes()).expect("signed")),
        };
        let token = format!("{message}.{signature}");
        keep_token_secret(&token);
        token
    }

    fn of(&self, subject: &str) -> String {
        self.token(json!({"sub": subject}))
    }
}

fn published(signers: &[&Signer]) -> Answer {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    Answer::Body(json!({ "keys": keys }).to_string())
}

/// Clients that come all the time with tokens of whoever signs now, and some with keys that nobody has.
struct Load {
    signer: Arc<Mutex<Arc<Signer>>>,
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    refused: Arc<Mutex<Vec<String>>>,
    tasks: tokio::task::JoinSet<()>,
}

impl Load {
    fn on(gateways: &[Arc<Watched>], signer: Arc<Signer>) -> Self {
        let (signer, is_over) = (Arc::new(Mutex::new(signer)), Arc::default());
        let mut load = Self { signer, is_over, served: Arc::default(), refused: Arc::default(), tasks: Default::default() };
        for number in 0..8 {
            let gateway = gateways[number % gateways.len()].clone();
            let (signer, is_over) = (load.signer.clone(), load.is_over.clone());
            let (served, refused) = (load.served.clone(), load.refused.clone());
            load.tasks.spawn(async move {
                let subject = format!("user-{number}");
                while !is_over.load(Ordering::Relaxed) {
                    // A new token each time: none is known from before.
                    let signer = signer.lock().clone();
                    let token = signer.token(json!({"sub": subject, "jti": uuid::Uuid::new_v4().to_string()}));
                    match come(&gateway, &subject, &token).await {
                        Ok(()) => _ = served.fetch_add(1, Ordering::Relaxed),
                        Err(told) => refused.lock().push(told),
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        for gateway in gateways {
            let (gateway, is_over) = (gateway.clone(), load.is_over.clone());
            load.tasks.spawn(async move {
                let stranger = Signer::ed25519("made-up");
                while !is_over.load(Ordering::Relaxed) {
                    let (status, _) = ask(&gateway, "GET", "/api/executions", Some(&stranger.of("mallory")), None).await;
                    assert_eq!(status, 401);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        load
    }

    fn signs(&self, signer: Arc<Signer>) {
        *self.signer.lock() = signer;
    }

    /// Ends it; how many were served.
    async fn end(mut self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("nobody who is nobody came in");
        }
        assert_eq!(*self.refused.lock(), Vec::<String>::new(), "good clients that were refused");
        self.served.load(Ordering::Relaxed)
    }
}

/// One visit: a WebSocket that follows its own room, and a request.
async fn come(gateway: &Watched, subject: &str, token: &str) -> Result<(), String> {
    let mut socket = Ws::bearing(gateway, "/api/ws", token).await;
    socket.say(json!({"type": "subscribe", "room": format!("user:{subject}")})).await;
    loop {
        match socket.next().await {
            Ok(text) if text.contains("subscribed") => break,
            Ok(text) if text.contains("error") => return Err(text),
            Ok(_) => {}
            Err(code) => return Err(format!("closed {code:?}")),
        }
    }
    match ask(gateway, "GET", "/api/executions", Some(token), None).await {
        (200, _) => Ok(()),
        (status, body) => Err(format!("{status} {body}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_their_server_is_away_and_no_good_client_notices() {
    let broker = Broker::start(Kind::JetStream).await;
    let (one, two) = (Arc::new(Signer::ed25519("one")), Arc::new(Signer::p256("two")));
    let (provider, url) = Provider::start(published(&[&one])).await;
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(Arc::new(asking(&broker, &[("WEFT_JWKS_URL", &url)]).await));
    }
    assert_eq!(provider.asked(), 3, "once each, before it is ready");
    let (began, load) = (Instant::now(), Load::on(&gateways, one.clone()));
    let mark = async |served: usize| {
        let served = load.served.load(Ordering::Relaxed) + served;
        until("clients are served", async || load.served.load(Ordering::Relaxed) >= served).await;
    };
    mark(50).await;
    // The next key is published before it signs, as issuers do, and for so long as keys are not looked for again.
    provider.answers(published(&[&one, &two]));
    tokio::time::sleep(PAUSE + Duration::from_secs(1)).await;
    load.signs(two.clone());
    mark(50).await;
    provider.answers(published(&[&two]));
    tokio::time::sleep(PAUSE + Duration::from_secs(1)).await;
    mark(50).await;
    for gateway in &gateways {
        let (status, _) = ask(gateway, "GET", "/api/executions", Some(&one.of("ada")), None).await;
        assert_eq!(status, 401, "what was taken away admits nobody new");
    }
    for outage in [Answer::Status(503), Answer::Body("<html>".into()), Answer::Drip] {
        provider.answers(outage);
        mark(100).await;
    }
    tokio::time::sleep(PAUSE).await;
    mark(50).await;
    let elapsed = began.elapsed();
    let served = load.end().await;
    // At the start, and then one in ten seconds for each gateway, however many unknown keys are shown.
    let bound = gateways.len() * (2 + (elapsed.as_secs_f64() / PAUSE.as_secs_f64()) as usize);
    eprintln!(
        "{served} good visits, none refused, in {elapsed:?}; the key set was fetched {} times of at most {bound}",
        provider.asked()
    );
    assert!(provider.asked() <= bound, "{} fetches in {elapsed:?}", provider.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_in_a_file_change_without_a_restart() {
    let broker = Broker::start(Kind::Memory).await;
    let (one, two) = (Signer::ed25519("one"), Signer::p256("two"));
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.pem", uuid::Uuid::new_v4().simple()));
    std::fs::write(&file, one.pem()).expect("written");
    let env = [
        ("WEFT_JWT_PUBLIC_KEY_FILE", file.to_str().expect("a path")),
        ("WEFT_JWT_ISSUER", "https://issuer.example"),
        ("WEFT_JWT_AUDIENCE", "weft"),
    ];
    let gateway = asking(&broker, &env).await;
    let good = json!({"sub": "ada", "iss": "https://issuer.example", "aud": ["other", "weft"]});
    let status = async |token: String| ask(&gateway, "GET", "/api/executions", Some(&token), None).await.0;
    assert_eq!(status(one.token(good.clone())).await, 200);
    assert_eq!(status(two.token(good.clone())).await, 401);
    for (claim, value) in
        [("iss", json!("https://other.example")), ("iss", Value::Null), ("aud", json!("other")), ("aud", json!([]))]
    {
        let mut bad = good.clone();
        bad[claim] = value;
        assert_eq!(status(one.token(bad.clone())).await, 401, "{bad}");
    }
    // Its public key is no secret: who signs with it as one is nobody.
    let confused = auth_rig::signed(
        &json!({"alg": "HS256"}),
        &{
            let mut claims = good.clone();
            claims["exp"] = (now() + 60).into();
            claims
        },
        &one.pem(),
    );
    assert_eq!(status(confused).await, 401);
    std::fs::write(&file, format!("{}{}", one.pem(), two.pem())).expect("written");
    until("both count", async || status(two.token(good.clone())).await == 200).await;
    assert_eq!(status(one.token(good.clone())).await, 200);
    std::fs::write(&file, two.pem()).expect("written");
    until("the old one is gone", async || status(one.token(good.clone())).await == 401).await;
    std::fs::write(&file, "nothing that is a key").expect("written");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(status(two.token(good.clone())).await, 200, "the last one counts on");
    let mut socket = Ws::bearing(&gateway, "/api/ws", &two.token(good)).await;
    socket.hear("connected").await;
    let _ = std::fs::remove_file(&file);
}

/// What becomes of a subscribe.
async fn outcome(gateway: &Watched, subject: &str, room: &str) -> String {
    let mut socket = Ws::bearing(gateway, "/api/ws", &auth_rig::of(subject)).await;
    socket.hear("connected").await;
    socket.say(json!({"type": "subscribe", "room": room, "offset": "0"})).await;
    let text = socket.next().await.expect("an answer");
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["code"].as_str().or(answer["type"].as_str()).expect("a word").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hook_has_its_word_on_every_way_in() {
    let broker = Broker::start(Kind::Memory).await;
    let says = |decision: &str| Answer::Body(json!({ "decision": decision }).to_string());
    let (provider, url) = Provider::start(says("abide")).await;
    let env = [
        ("WEFT_AUTHORIZE_URL", url.as_str()),
        ("WEFT_AUTHORIZE_CACHE_SECS", "0"),
        ("WEFT_AUTHORIZE_TIMEOUT_MS", "500"),
        ("WEFT_PENDING_TIMEOUT", "1"),
    ];
    let gateway = auth_rig::gateway(&broker, &env).await;
    publish(&gateway, None, log("e", Some("ada"), "hers")).await;
    let rest = async |subject: &str| ask(&gateway, "GET", "/api/executions/e/events", Some(&auth_rig::of(subject)), None).await.0;
    for (answer, of_ada, of_bob) in [
        (says("abide"), ("subscribed", 200), ("forbidden", 404)),
        (says("allow"), ("subscribed", 200), ("subscribed", 200)),
        // As if it did not exist.
        (says("deny"), ("forbidden", 404), ("forbidden", 404)),
        (Answer::Status(500), ("unavailable", 503), ("unavailable", 503)),
        (Answer::Drip, ("unavailable", 503), ("unavailable", 503)),
    ] {
        provider.answers(answer);
        for (subject, (word, status)) in [("ada", of_ada), ("bob", of_bob)] {
            assert_eq!(
                (outcome(&gateway, subject, "execution:e").await.as_str(), rest(subject).await),
                (word, status),
                "{subject}"
            );
        }
    }
    // It was asked with whose question it is, and by no way in is it passed over.
    provider.answers(says("deny"));
    let asked = provider.asked();
    for path in ["/api/ws/executions/e", "/ws/executions/e/logs"] {
        assert_eq!(Ws::bearing(&gateway, path, &auth_rig::of("ada")).await.closes().await, Some(4403), "{path}");
    }
    let (mut socket, answer) = Ws::socketio(&gateway, &json!({"token": auth_rig::of("ada")})).await;
    assert!(answer.starts_with("40{"), "{answer}");
    socket.text(r#"420["subscribe","execution:e"]"#.into()).await;
    let ack = socket.hear("430[").await;
    assert!(ack.contains("forbidden"), "{ack}");
    let stream = format!("{}/api/executions/e/events", gateway.url());
    let stream = weft_testkit::http::client().get(stream).header("accept", "text/event-stream").bearer_auth(auth_rig::of("ada"));
    assert_eq!(stream.send().await.expect("an answer").status().as_u16(), 404);
    assert!(provider.asked() >= asked + 4, "{} of {asked}", provider.asked());
    let question: Value = serde_json::from_slice(provider.bodies.lock().expect("no panic").last().expect("one")).expect("JSON");
    assert_eq!((&question["subject"], &question["room"]), (&json!("ada"), &json!("execution:e")), "{question}");
    // What is published needs no leave of it.
    let (status, _) = ask(&gateway, "POST", "/api/events", Some(&service(None)), Some(log("e", Some("ada"), "x"))).await;
    assert_eq!(status, 202);
}
