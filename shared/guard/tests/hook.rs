//! The authorization hook over real HTTP: what it says, and that silence, noise and slowness let nobody in.

mod provider;

use provider::{Answer, Provider};
use std::{sync::Arc, time::Duration};
use weft_event::Room;
use weft_guard::{
    Identity,
    access::Scopes,
    hook::{Decision, Hook, Times},
};

fn identity(subject: &str) -> Identity {
    Identity {
        subject: subject.into(),
        tenant: Some("acme".into()),
        rooms: Box::default(),
        publish: None,
        scopes: Scopes::default(),
        token_id: Some("t1".into()),
        issued_at: None,
        expires_at: u64::MAX,
    }
}

fn room(name: &str) -> Room {
    Room::parse(name).and_then(|room| room.in_tenant(Some("acme"))).expect(name)
}

fn hook(url: &str, timeout_ms: u64, remembered_ms: u64) -> Arc<Hook> {
    let times = Times { timeout: Duration::from_millis(timeout_ms), remembered: Duration::from_millis(remembered_ms) };
    Arc::new(Hook::new(url, false, times).expect("a URL"))
}

fn says(text: &str) -> Answer {
    Answer::Body(text.to_owned())
}

#[tokio::test]
async fn it_is_asked_who_and_where_and_its_word_counts() {
    let (provider, url) = Provider::start(says(r#"{"decision":"allow"}"#)).await;
    let hook = hook(&url, 10_000, 0);
    for (answer, expected) in [("allow", Decision::Allow), ("deny", Decision::Deny), ("abide", Decision::Abide)] {
        provider.answers(says(&format!(r#"{{"decision":"{answer}","more":[1]}}"#)));
        assert_eq!(hook.ask(&identity("u"), &room("execution:e")).await, Ok(expected));
    }
    let asked = provider.bodies.lock().expect("no panic")[0].clone();
    let expected = r#"{"subject":"u","tenant":"acme","tokenId":"t1","room":"execution:e","action":"follow"}"#;
    assert_eq!(String::from_utf8_lossy(&asked), expected);
}

#[tokio::test]
async fn whatever_is_no_answer_lets_nobody_in() {
    let (provider, url) = Provider::start(Answer::Status(500)).await;
    let (elsewhere, other_url) = Provider::start(says(r#"{"decision":"allow"}"#)).await;
    let hook = hook(&url, 700, 60_000);
    let late = Answer::Late(Duration::from_secs(60), r#"{"decision":"allow"}"#.into());
    let bad = [
        Answer::Status(500),
        Answer::Status(403),
        Answer::Status(204),
        Answer::Redirect(other_url),
        Answer::Drip,
        Answer::Flood,
        late,
        says(""),
        says("allow"),
        says("true"),
        says("{}"),
        says(r#"{"decision":true}"#),
        says(r#"{"decision":"ALLOW"}"#),
        says(r#"{"decision":"yes"}"#),
        says(r#"{"decision":"deny","decision":"allow"}"#),
        says(r#"["allow"]"#),
        says(r#"{"decision":"allow"}x"#),
    ];
    let count = bad.len();
    for answer in bad {
        provider.answers(answer);
        let asked = tokio::time::timeout(Duration::from_secs(30), hook.ask(&identity("u"), &room("execution:e"))).await;
        asked.expect("a question has an end").expect_err("no answer");
    }
    assert_eq!((provider.asked(), elsewhere.asked()), (count, 0), "no redirect is followed, and no failure remembered");
    provider.answers(says(r#"{"decision":"allow"}"#));
    assert_eq!(hook.ask(&identity("u"), &room("execution:e")).await, Ok(Decision::Allow), "back");
    let nobody = Hook::new("http://127.0.0.1:9/", false, Times { timeout: Duration::from_secs(5), remembered: Duration::ZERO });
    let refused = nobody.expect("a URL").ask(&identity("u"), &room("execution:e")).await.expect_err("nobody there");
    assert!(!refused.to_string().contains("127.0.0.1:9/"), "the URL may hold a secret: {refused}");
}

#[tokio::test]
async fn an_answer_is_remembered_for_its_question_and_for_a_while() {
    let (provider, url) = Provider::start(says(r#"{"decision":"allow"}"#)).await;
    let hook = hook(&url, 10_000, 400);
    for _ in 0..10 {
        assert_eq!(hook.ask(&identity("u"), &room("execution:e")).await, Ok(Decision::Allow));
    }
    assert_eq!(provider.asked(), 1);
    provider.answers(says(r#"{"decision":"deny"}"#));
    let elsewhere = Identity { tenant: None, ..identity("u") };
    let other_token = Identity { token_id: None, ..identity("u") };
    for (who, name) in
        [(identity("v"), "execution:e"), (identity("u"), "execution:f"), (elsewhere, "execution:e"), (other_token, "execution:e")]
    {
        assert_eq!(hook.ask(&who, &room(name)).await, Ok(Decision::Deny), "{who:?} {name}");
    }
    assert_eq!(provider.asked(), 5);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(hook.ask(&identity("u"), &room("execution:e")).await, Ok(Decision::Deny), "not for ever");
}

#[tokio::test]
async fn so_many_are_asked_at_once() {
    let (provider, url) = Provider::start(Answer::Late(Duration::from_millis(50), r#"{"decision":"allow"}"#.into())).await;
    let hook = hook(&url, 60_000, 60_000);
    let asked = (0..300).map(|n| {
        let hook = hook.clone();
        tokio::spawn(async move { hook.ask(&identity(&format!("u{n}")), &room("execution:e")).await })
    });
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.expect("no panic"), Ok(Decision::Allow));
    }
    assert_eq!(provider.asked(), 300);
    assert!((2..=64).contains(&provider.most_at_once()), "{}", provider.most_at_once());
}
