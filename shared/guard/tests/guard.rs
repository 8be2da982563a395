//! The guard as a gateway uses it: settings, tokens, the in-process bus, and every kind of room in two tenants.

mod provider;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use clap::Parser;
use provider::{Answer, Provider};
use ring::hmac;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weft_bus::{Bus, BusConfig, Expect, Journal};
use weft_event::{Head, Room};
use weft_guard::{Caller, Guard, GuardSettings, Refused, Revocation, Token, Verdict, journal};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    guard: GuardSettings,
}

fn guard(flags: &[&str]) -> Guard {
    let always = ["test", "--auth", "jwt", "--jwt-secret", SECRET];
    let cli = Cli::try_parse_from(always.iter().chain(flags)).expect("settings");
    cli.guard.check([127, 0, 0, 1].into()).expect("good settings");
    Guard::open(&cli.guard, true).expect("opened")
}

async fn memory() -> Bus {
    Bus::connect(BusConfig::parse("memory:").expect("a bus")).await.expect("connected")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn token(claims: &str) -> Token {
    let times = format!(r#""exp":{},"iat":{}"#, now() + 600, now());
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(format!("{{{times},{claims}}}")));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    Token::new(&format!("{message}.{signature}")).expect("a token")
}

fn claims(tenant: &str, subject: &str, more: &str) -> String {
    format!(r#""tenant":"{tenant}","sub":"{subject}"{more}"#)
}

/// Reads the journal as the guard's own loop does, until it has been read once.
async fn until_ready(guard: &Guard, bus: &Bus) {
    tokio::select! {
        () = guard.keep(bus) => unreachable!("it keeps on"),
        () = async { while !guard.is_ready() { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("not ready after 20 s"),
    }
}

async fn admitted(guard: &Guard, claims: &str) -> Caller {
    guard.admit(&token(claims)).await.expect("admitted")
}

/// Two tenants that use the same ids for everything: `mine` and `k1` are of user `u`, `theirs` and `k2` of `v`, in both.
async fn two_tenants(bus: &Bus) {
    for tenant in ["acme", "bolt"] {
        for (id, owner) in [("mine", Some("u")), ("theirs", Some("v")), ("nobodys", None)] {
            let id = format!("{tenant}-{id}");
            bus.store_head(&Head::new(Some(tenant), &id, owner, 1), Expect::Absent).await.expect("stored");
        }
        for (id, owner) in [("k1", "u"), ("k2", "v")] {
            let room = Room::kb(&format!("{tenant}-{id}")).and_then(|room| room.in_tenant(Some(tenant))).expect("a room");
            bus.claim(&room, Some(owner)).await.expect("claimed");
        }
    }
}

/// Every kind of room, by its owner's eyes in its own tenant.
fn rooms(tenant: &str) -> Vec<(String, bool)> {
    let rooms = [
        ("execution:T-mine", true),
        ("execution:T-theirs", false),
        ("execution:T-nobodys", false),
        ("execution:T-unseen", false),
        ("agent:a:T-mine", true),
        ("agent:a:T-theirs", false),
        ("agent:a:T-unseen", false),
        ("user:u", true),
        ("user:v", false),
        ("kb:T-k1", true),
        ("kb:T-k2", false),
        ("kb:T-unseen", false),
    ];
    rooms.map(|(name, is_mine)| (name.replace('T', tenant), is_mine)).to_vec()
}

#[tokio::test]
async fn two_tenants_and_every_kind_of_room() {
    let bus = memory().await;
    two_tenants(&bus).await;
    let guard = guard(&[]);
    until_ready(&guard, &bus).await;
    let (mut leaks, mut delivered, mut asked) = (Vec::new(), 0, 0);
    for (home, away) in [("acme", "bolt"), ("bolt", "acme")] {
        for (more, is_admin) in [("", false), (r#","scope":"admin""#, true)] {
            let caller = admitted(&guard, &claims(home, "u", more)).await;
            for (name, is_mine) in rooms(home) {
                let verdict = guard.follow(&bus, &caller, &caller.room(&name).expect("a room")).await.expect("answered");
                asked += 1;
                delivered += usize::from(verdict == Verdict::Yes);
                if (verdict == Verdict::Yes) != (is_mine || is_admin) {
                    leaks.push(format!("{home} {more} {name}: {verdict:?}"));
                }
            }
            // As a gateway that forgot to say whose tenant a room is of.
            for (name, _) in rooms(away) {
                for tenant in [Some(away), None] {
                    let room = Room::parse(&name).and_then(|room| room.in_tenant(tenant)).expect("a room");
                    asked += 1;
                    if guard.follow(&bus, &caller, &room).await.expect("answered") != Verdict::No {
                        leaks.push(format!("{home} {more} {tenant:?} {name}"));
                    }
                }
                // Under its own tenant's name there is no such thing, and only what is of every tenant is its own.
                let room = caller.room(&name).expect("a room");
                let may = guard.follow(&bus, &caller, &room).await.expect("answered") == Verdict::Yes;
                asked += 1;
                if may != (is_admin || name == "user:u") {
                    leaks.push(format!("{home} {more} {name} at home"));
                }
            }
        }
    }
    assert_eq!(leaks, Vec::<String>::new());
    assert_eq!((asked, delivered), (192, 32));
}

#[tokio::test]
async fn unknown_and_foreign_look_the_same() {
    let bus = memory().await;
    two_tenants(&bus).await;
    let guard = guard(&[]);
    until_ready(&guard, &bus).await;
    let caller = admitted(&guard, &claims("acme", "u", "")).await;
    for name in
        ["execution:acme-theirs", "execution:acme-nobodys", "execution:acme-unseen", "agent:a:acme-unseen", "kb:acme-k2", "kb:x"]
    {
        let room = caller.room(name).expect("a room");
        assert_eq!(guard.follow(&bus, &caller, &room).await.expect("answered"), Verdict::Pending, "{name}");
        assert_eq!(guard.follow_at_once(&caller, &room), None, "{name}");
    }
    let unseen = caller.room("execution:new").expect("a room");
    assert_eq!(guard.follow(&bus, &caller, &unseen).await.expect("answered"), Verdict::Pending);
    bus.store_head(&Head::new(Some("acme"), "new", Some("u"), 1), Expect::Absent).await.expect("stored");
    assert_eq!(guard.follow(&bus, &caller, &unseen).await.expect("answered"), Verdict::Yes, "as soon as it is known");
}

#[tokio::test]
async fn who_may_act_and_publish() {
    let bus = memory().await;
    two_tenants(&bus).await;
    let guard = guard(&[]);
    until_ready(&guard, &bus).await;
    let covered = r#","rooms":["execution:*"]"#;
    for (tenant, more, id, may_act) in [
        ("acme", "", "acme-mine", true),
        ("acme", "", "acme-theirs", false),
        ("acme", "", "acme-unseen", false),
        ("acme", covered, "acme-theirs", false),
        ("acme", r#","rooms":["execution:*"],"scope":"executions:act""#, "acme-theirs", true),
        ("acme", r#","scope":"executions:act""#, "acme-theirs", false),
        ("acme", r#","scope":"admin""#, "acme-theirs", true),
        ("bolt", "", "acme-mine", false),
    ] {
        let caller = admitted(&guard, &claims(tenant, "u", more)).await;
        let room = caller.room(&format!("execution:{id}")).expect("a room");
        assert_eq!(guard.act(&bus, &caller, &room).await.expect("answered"), may_act, "{tenant} {more} {id}");
        let elsewhere = Room::execution(id).expect("a room");
        assert!(!guard.act(&bus, &caller, &elsewhere).await.expect("answered"), "not outside its tenant");
    }
    let service = admitted(&guard, &claims("acme", "s", r#","scope":"events:publish""#)).await;
    let room = service.room("execution:x").expect("a room");
    assert!(
        guard.publish(&service, &room, Some("anybody")) && !guard.publish(&service, &room.in_tenant(None).expect("a room"), None)
    );
}

#[tokio::test]
async fn a_renewal_changes_nobody() {
    let bus = memory().await;
    let guard = guard(&["--anonymous-rooms", "execution:demo-*"]);
    until_ready(&guard, &bus).await;
    let caller = admitted(&guard, &claims("acme", "u", "")).await;
    for (claims, expected) in [
        (claims("acme", "u", r#","scope":"admin""#), Ok(())),
        (claims("acme", "v", ""), Err(Refused::OtherSubject)),
        (claims("bolt", "u", ""), Err(Refused::OtherSubject)),
        (r#""sub":"u""#.to_owned(), Err(Refused::OtherSubject)),
    ] {
        assert_eq!(guard.renew(&caller, &token(&claims)).await.map(|_| ()), expected, "{claims}");
    }
    let left = caller.time_left().expect("a token ends");
    assert!((590..=600).contains(&left.as_secs()), "{left:?}");
    let guest = guard.stranger().expect("there is something public");
    assert!(guest.time_left().is_none());
    let verdict = async |name: &str| guard.follow(&bus, &guest, &guest.room(name).expect("a room")).await.expect("answered");
    assert_eq!((verdict("execution:demo-1").await, verdict("execution:e").await), (Verdict::Yes, Verdict::No));
    assert!(matches!(guard.renew(&guest, &token(r#""sub":"u""#)).await, Ok(Caller::User(_))));
}

#[tokio::test]
async fn a_revoked_user_stays_outside_wherever_it_comes() {
    let bus = memory().await;
    let first = guard(&[]);
    let taken = token(&claims("acme", "u", r#","jti":"t1""#));
    assert_eq!(first.admit(&taken).await.map(|_| ()), Err(Refused::Stale), "before the journal is read nobody comes in");
    until_ready(&first, &bus).await;
    let caller = first.admit(&taken).await.expect("admitted");
    let mut changes = first.revoked().changes();
    let asked = Revocation::asked(br#"{"tenant":"acme","subject":"u"}"#, now()).expect("legal");
    journal::revoke(first.revoked(), &bus, &asked).await.expect("stored");
    assert!(changes.has_changed().expect("alive") && first.is_revoked(&caller));
    changes.mark_unchanged();
    let later = guard(&[]);
    until_ready(&later, &bus).await;
    for guard in [&first, &later] {
        assert_eq!(guard.admit(&taken).await.map(|_| ()), Err(Refused::Revoked));
        assert!(guard.admit(&token(&claims("bolt", "u", ""))).await.is_ok(), "the same name in another tenant");
        assert!(guard.admit(&token(&claims("acme", "v", ""))).await.is_ok());
    }
    bus.write_line(Journal::Revocations, Bytes::from_static(b"{}")).await.expect("stored");
    until_ready(&guard(&[]), &bus).await;
}

#[tokio::test]
async fn the_hook_adds_and_takes_away_but_never_crosses_tenants() {
    let bus = memory().await;
    two_tenants(&bus).await;
    let (provider, url) = Provider::start(Answer::Status(500)).await;
    let guard = guard(&["--authorize-url", &url, "--authorize-cache-secs", "0"]);
    until_ready(&guard, &bus).await;
    let caller = admitted(&guard, &claims("acme", "u", "")).await;
    for (decision, mine, theirs) in [
        ("allow", Verdict::Yes, Verdict::Yes),
        ("deny", Verdict::Pending, Verdict::Pending),
        ("abide", Verdict::Yes, Verdict::Pending),
    ] {
        provider.answers(Answer::Body(format!(r#"{{"decision":"{decision}"}}"#)));
        for (name, expected) in [("execution:acme-mine", mine), ("execution:acme-theirs", theirs), ("user:v", Verdict::No)] {
            let verdict = guard.follow(&bus, &caller, &caller.room(name).expect("a room")).await.expect("answered");
            assert_eq!(verdict, expected, "{decision} {name}");
        }
        let foreign = Room::execution("bolt-mine").and_then(|room| room.in_tenant(Some("bolt"))).expect("a room");
        assert_eq!(guard.follow(&bus, &caller, &foreign).await.expect("answered"), Verdict::No);
    }
    provider.answers(Answer::Status(503));
    let mine = caller.room("execution:acme-mine").expect("a room");
    guard.follow(&bus, &caller, &mine).await.expect_err("without its word nobody follows");
    assert_eq!(guard.follow_at_once(&caller, &mine), None, "it cannot be passed by");
}

#[tokio::test]
async fn a_key_that_is_taken_away_admits_nobody_though_its_tokens_were_known() {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    let pair = |seed: u8| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
    let jwks = |seed: u8| {
        let x = URL_SAFE_NO_PAD.encode(pair(seed).public_key());
        Answer::Body(format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k{seed}","x":"{x}"}}]}}"#))
    };
    let token = |seed: u8| {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","kid":"k{seed}"}}"#));
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"u","exp":{},"iat":{}}}"#, now() + 600, now()));
        let signature = URL_SAFE_NO_PAD.encode(pair(seed).sign(format!("{header}.{claims}").as_bytes()));
        Token::new(&format!("{header}.{claims}.{signature}")).expect("a token")
    };
    let (provider, url) = Provider::start(jwks(1)).await;
    let (bus, guard) = (memory().await, guard(&["--jwks-url", &url]));
    until_ready(&guard, &bus).await;
    let known = token(1);
    let (first, again) = (guard.admit(&known).await.expect("admitted"), guard.admit(&known).await.expect("admitted"));
    let same = first.identity().zip(again.identity()).is_some_and(|(first, again)| std::ptr::eq(first, again));
    assert!(same, "found, not verified anew");
    let asked = Revocation::asked(br#"{"subject":"u"}"#, now() - 1).expect("legal");
    journal::revoke(guard.revoked(), &bus, &asked).await.expect("stored");
    assert!(guard.admit(&known).await.is_ok(), "issued after the revocation");
    journal::revoke(guard.revoked(), &bus, &Revocation { at: now() + 1, ..asked }).await.expect("stored");
    assert_eq!(guard.admit(&known).await.map(|_| ()), Err(Refused::Revoked), "known or not");
    provider.answers(jwks(2));
    let is_gone = async || guard.admit(&known).await.map(|_| ()) == Err(Refused::UnknownKey);
    tokio::select! {
        // The loop fetches when it begins.
        () = guard.keep(&bus) => unreachable!("it keeps on"),
        () = async { while !is_gone().await { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the old key serves on after 20 s"),
    }
}

/// A gateway spawns the guard's loop, and asks from tasks that move between threads.
#[tokio::test]
async fn it_can_be_spawned() {
    let (bus, guard) = (memory().await, std::sync::Arc::new(guard(&[])));
    let keeping = tokio::spawn({
        let (guard, bus) = (guard.clone(), bus.clone());
        async move { guard.keep(&bus).await }
    });
    let ready = async {
        while !guard.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ready).await.expect("ready");
    let asked = tokio::spawn({
        let (guard, bus) = (guard.clone(), bus.clone());
        async move {
            let caller = guard.admit(&token(r#""sub":"u""#)).await.expect("admitted");
            let renewed = guard.renew(&caller, &token(r#""sub":"u""#)).await.expect("renewed");
            let room = renewed.room("execution:e").expect("a room");
            (
                guard.follow(&bus, &renewed, &room).await.expect("answered"),
                guard.act(&bus, &renewed, &room).await.expect("answered"),
            )
        }
    });
    assert_eq!(asked.await.expect("no panic"), (Verdict::Pending, false));
    keeping.abort();
}
