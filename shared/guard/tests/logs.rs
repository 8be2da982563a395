//! What is written to logs, at the most talkative level: no token, no secret of a URL, one line for each event.

mod provider;

use clap::Parser;
use provider::{Answer, Provider};
use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};
use weft_bus::{Bus, BusConfig};
use weft_guard::{Guard, GuardSettings, Token, control};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    guard: GuardSettings,
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const SECRET: &str = "the-shared-secret-that-nobody-sees-0123456789";
const TOKEN: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6Im1hZGUtdXAifQ.eyJzdWIiOiJ1In0.bWFkZS11cC1zaWduYXR1cmU";

#[tokio::test]
async fn no_secret_and_no_second_line() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).expect("the only one of this process");

    let (_provider, url) = Provider::start(Answer::Status(500)).await;
    let jwks = format!("{url}?key=url-secret-of-the-key-set");
    let hook = format!("{}?key=url-secret-of-the-hook", url.replace("http://", "http://user:url-password@"));
    let flags = ["test", "--auth", "jwt", "--jwt-secret", SECRET, "--jwks-url", &jwks, "--authorize-url", &hook];
    let settings = Cli::try_parse_from(flags).expect("settings").guard;
    settings.check([127, 0, 0, 1].into()).expect("good settings");
    tracing::info!(token = ?Token::new(TOKEN), "a marker that shows that logs are captured");
    let bus = Bus::connect(BusConfig::parse("memory:").expect("a bus")).await.expect("connected");
    let guard = Guard::open(&settings, true).expect("opened");
    tokio::select! {
        () = guard.keep(&bus) => unreachable!("it keeps on"),
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    let token = Token::new(TOKEN).expect("a token");
    let refused = guard.admit(&token).await.expect_err("made up");
    tracing::info!(%token, ?token, %refused, "refused");
    control::audit([192, 0, 2, 1].into(), "revoke", "u\r\n2026-01-01 INFO forged\u{1b}[2J\u{202e}", "done");

    let text = String::from_utf8(captured.0.lock().expect("no panic").clone()).expect("UTF-8");
    assert!(text.contains("logs are captured") && text.contains("Token(***)"), "{text}");
    assert!(text.contains("the JWKS could not be fetched"), "{text}");
    let signature = TOKEN.rsplit('.').next().expect("three parts");
    for secret in [TOKEN, signature, SECRET, "url-secret", "url-password"] {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    assert!(text.lines().all(|line| !line.starts_with("2026-01-01")), "a forged line");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}') && !text.contains('\r'), "what a terminal would obey");
}
