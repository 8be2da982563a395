//! Gateways that ask for tokens.

mod rig;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use rig::{Running, numbered, run, run_with, weft};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use weft_testkit::process::{Process, ProcessOptions};

const SECRET: &str = "a secret of these tests, longer than thirty-two bytes";

/// A token for so many seconds, as whoever issues them would sign it.
fn token(subject: &str, secs: u64, claims: Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut all = json!({"sub": subject, "iat": now, "exp": now + secs, "jti": uuid::Uuid::new_v4().to_string()});
    all.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
    let part = |value: &Value| BASE64.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(&all));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let mark = BASE64.encode(ring::hmac::sign(&key, text.as_bytes()));
    format!("{text}.{mark}")
}

/// A file that goes with the test.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("weft-cli-{}", uuid::Uuid::new_v4())));
        file.write(text);
        file
    }

    /// As whatever renews a token does it: at no moment is there half a token.
    fn write(&self, text: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, &self.0).expect("renamed");
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// One that bears few messages of a client, so that one who keeps talking is noticed.
async fn gateway() -> (Process, File) {
    let secret = File::new(SECRET);
    let options = ProcessOptions::gateway("memory:")
        .env("WEFT_AUTH", "jwt")
        .env("WEFT_JWT_SECRET_FILE", &secret.name())
        .env("WEFT_MESSAGES_PER_CONNECTION", "1");
    (Process::start(options).await.expect("a gateway"), secret)
}

async fn publish(gateway: &Process, n: u64) {
    let mut command = weft(&[&gateway.url()], &["publish"]);
    command.env("WEFT_TOKEN", token("service", 60, json!({"scope": "events:publish"})));
    let event: Value = serde_json::from_str(&numbered("e", n)).expect("JSON");
    let mut event = event.as_object().expect("an object").clone();
    event.insert("userId".into(), "ada".into());
    let left = run_with(command, Value::Object(event).to_string().as_bytes()).await;
    assert_eq!(left.code, 0, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_ever_newer_tokens_keeps_the_following_and_no_line_is_lost() {
    let (gateway, _secret) = gateway().await;
    let file = Arc::new(File::new(&token("ada", 4, json!({}))));
    let written = file.clone();
    let renewing = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            written.write(&token("ada", 4, json!({})));
        }
    });
    let flags = ["tail", "execution:e", "--from", "start", "--json", "--token-file", &file.name()];
    publish(&gateway, 0).await;
    // What is not known yet waits, and that is another matter.
    rig::until("it is known", async || {
        let mut command = weft(&[&gateway.url()], &["execution", "e"]);
        command.env("WEFT_TOKEN", token("ada", 60, json!({})));
        run(command).await.code == 0
    })
    .await;
    let mut tail = Running::start(weft(&[&gateway.url()], &flags));
    for n in 0..12 {
        if n > 0 {
            publish(&gateway, n).await;
        }
        assert_eq!(tail.json().await["data"]["n"], n, "each once, in order");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    renewing.abort();
}

#[tokio::test]
async fn one_that_does_not_change_is_shown_once_and_refused_when_it_has_expired() {
    let (gateway, _secret) = gateway().await;
    let file = File::new(&token("ada", 6, json!({})));
    let left = run(weft(&[&gateway.url()], &["tail", "execution:e", "--from", "start", "--token-file", &file.name()])).await;
    assert!(left.code == 77 && left.err.contains("unauthenticated"), "{left:?}");
    assert!(!left.err.contains("1008"), "it was not closed for talking too much: {left:?}");
}
