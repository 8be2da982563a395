//! Passwords, tokens, certificates, and what happens where rights are missing.

mod common;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};
use weft_bus::{Bus, BusConfig, BusError, ConnectError};
use weft_testkit::servers::{NatsOptions, NatsServer, NatsVersion, RedisOptions, RedisServer};

async fn connect(url: &str) -> Result<Bus, ConnectError> {
    Bus::connect(BusConfig::parse(url).expect("a bus URL")).await
}

/// Publishes to itself and hears it.
async fn assert_works(bus: &Bus) {
    let seen = Recorder::on(bus);
    let room = room(&format!("execution:{}", rand_word()));
    bus.follow(std::slice::from_ref(&room)).await.expect("follows");
    publish(bus, &room, "{\"n\":1}").await;
    seen.until_events(1).await;
    assert_eq!(read_all(bus, &room).await.len(), 1);
}

/// A directory that goes away with its certificates: one authority, a server's and a client's.
struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("weft-bus-{}-{}", std::process::id(), rand_word()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let made = Self { directory };
        let authority = made.issue(&["server", "client"]);
        for name in ["ca.pem", "clients-ca.pem"] {
            std::fs::write(made.path(name), &authority).expect("written");
        }
        made
    }

    /// Certificates of an authority of their own, which is answered.
    fn issue(&self, names: &[&str]) -> String {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A certificate whose issuer has its own name would pass for self-signed.
        params.distinguished_name.push(DnType::CommonName, format!("weft test authority {}", rand_word()));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        for name in names {
            let key = KeyPair::generate().expect("a key");
            let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let certificate =
                CertificateParams::new(hosts).and_then(|params| params.signed_by(&key, &authority)).expect("signed");
            std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("written");
            std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
        }
        authority.pem()
    }

    /// The client gets a certificate of another authority, the only one that servers take from now on.
    fn renew_client(&self) {
        std::fs::write(self.path("clients-ca.pem"), self.issue(&["client"])).expect("written");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn config(&self, url: &str) -> BusConfig {
        let mut config = BusConfig::parse(url).expect("a bus URL");
        config.tls_ca_file = Some(self.path("ca.pem"));
        config.tls_client = Some((self.path("client.pem"), self.path("client.key")));
        config
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn rand_word() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

async fn assert_tls(url: &str, certificates: &Certificates) {
    let bus = Bus::connect(certificates.config(url)).await.expect("connects");
    assert_works(&bus).await;
    let mut unknown = certificates.config(url);
    unknown.tls_ca_file = None;
    Bus::connect(unknown).await.map(|_| ()).expect_err("an authority that the system does not know");
    let mut anonymous = certificates.config(url);
    anonymous.tls_client = None;
    Bus::connect(anonymous).await.map(|_| ()).expect_err("no client certificate");
    let mut missing = certificates.config(url);
    missing.tls_ca_file = Some(Path::new("/nonexistent/ca.pem").into());
    let error = Bus::connect(missing).await.map(|_| ()).expect_err("no such file");
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_with_certificates() {
    let certificates = Certificates::new();
    let mut options = NatsOptions::new(NatsVersion::Current);
    options.config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n",
        certificates.text("server.pem"),
        certificates.text("server.key"),
        certificates.text("ca.pem")
    );
    let server = NatsServer::start_with(options).await.expect("starts");
    assert_tls(&server.url().replace("nats://", "nats+tls://"), &certificates).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_with_certificates() {
    let certificates = Certificates::new();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let arguments = [
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", certificates.text("server.pem")),
        ("--tls-key-file", certificates.text("server.key")),
        ("--tls-ca-cert-file", certificates.text("ca.pem")),
    ];
    let arguments = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    let _server = RedisServer::start_with(RedisOptions { arguments, ..RedisOptions::default() }).await.expect("starts");
    assert_tls(&format!("rediss://127.0.0.1:{port}"), &certificates).await;
}

/// Whoever comes again shows the certificate that is there by then.
async fn assert_renewed(bus: &Bus, certificates: &Certificates, mut restart: impl AsyncFnMut()) {
    assert_works(bus).await;
    certificates.renew_client();
    restart().await;
    let room = room("execution:renewed");
    eventually("it is connected again", async || bus.publish(publication(&room, "{\"n\":1}")).await).await;
    let seen = Recorder::on(bus);
    eventually("it follows", async || bus.follow(std::slice::from_ref(&room)).await).await;
    publish(bus, &room, "{\"n\":2}").await;
    seen.until_events(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed() {
    let certificates = Certificates::new();
    let mut options = NatsOptions::new(NatsVersion::Current);
    options.config = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n",
        certificates.text("server.pem"),
        certificates.text("server.key"),
        certificates.text("clients-ca.pem")
    );
    let mut nats = NatsServer::start_with(options).await.expect("starts");
    let config = certificates.config(&nats.url().replace("nats://", "nats+tls://"));
    let bus = Bus::connect(config).await.expect("connects");
    assert_renewed(&bus, &certificates, async || nats.restart().await.expect("comes back")).await;

    let certificates = Certificates::new();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let arguments = [
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", certificates.text("server.pem")),
        ("--tls-key-file", certificates.text("server.key")),
        ("--tls-ca-cert-file", certificates.text("clients-ca.pem")),
    ];
    let arguments = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    let mut redis = RedisServer::start_with(RedisOptions { arguments, ..RedisOptions::default() }).await.expect("starts");
    let bus = Bus::connect(certificates.config(&format!("rediss://127.0.0.1:{port}"))).await.expect("connects");
    assert_renewed(&bus, &certificates, async || redis.restart().await.expect("comes back")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_with_a_password_and_with_a_token() {
    let mut options = NatsOptions::new(NatsVersion::Current);
    options.config = "authorization { user: weft, password: \"p@ss/w:rd\" }\n".into();
    let server = NatsServer::start_with(options).await.expect("starts");
    let url = |credentials: &str| format!("nats://{credentials}127.0.0.1:{}", server.port());
    assert_works(&connect(&url("weft:p%40ss%2Fw%3Ard@")).await.expect("connects")).await;
    for wrong in ["", "weft:wrong@", "weft@"] {
        let error = connect(&url(wrong)).await.map(|_| ()).expect_err("refused");
        assert!(!error.to_string().contains("wrong"), "the password is told: {error}");
    }
    let mut options = NatsOptions::new(NatsVersion::Debian);
    options.config = "authorization { token: \"t0ken\" }\n".into();
    let server = NatsServer::start_with(options).await.expect("starts");
    assert_works(&connect(&format!("nats://t0ken@127.0.0.1:{}", server.port())).await.expect("connects")).await;
}

/// A token about `subject`, signed by `issuer`, as operators and accounts hand them out.
fn jwt(issuer: &nkeys::KeyPair, subject: &nkeys::KeyPair, nats: serde_json::Value) -> String {
    jwt_until(issuer, subject, nats, None)
}

fn jwt_until(issuer: &nkeys::KeyPair, subject: &nkeys::KeyPair, nats: serde_json::Value, until: Option<u64>) -> String {
    let mut claims = json!({"jti": rand_word(), "iat": 1_760_000_000, "iss": issuer.public_key(), "sub": subject.public_key(),
        "name": "weft", "nats": nats});
    if let Some(until) = until {
        claims["exp"] = until.into();
    }
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = issuer.sign(text.as_bytes()).expect("signed");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What a `.creds` file holds.
fn credentials(account: &nkeys::KeyPair) -> String {
    credentials_until(account, None)
}

/// The same, good until a moment in seconds since 1970.
fn credentials_until(account: &nkeys::KeyPair, until: Option<u64>) -> String {
    let user = nkeys::KeyPair::new_user();
    let claims = json!({"type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1});
    let (token, seed) = (jwt_until(account, &user, claims, until), user.seed().expect("a seed"));
    format!(
        "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_with_a_credentials_file() {
    let operator = nkeys::KeyPair::new_operator();
    let (system, account, stranger) =
        (nkeys::KeyPair::new_account(), nkeys::KeyPair::new_account(), nkeys::KeyPair::new_account());
    let limits = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
        "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1});
    let plain = json!({"type": "account", "version": 2, "limits": {"subs": -1, "data": -1, "payload": -1, "imports": -1,
        "exports": -1, "wildcards": true, "conn": -1, "leaf": -1}});
    let (of_system, of_account) =
        (jwt(&operator, &system, plain), jwt(&operator, &account, json!({"type": "account", "version": 2, "limits": limits})));
    let mut options = NatsOptions::new(NatsVersion::Current);
    options.config = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {of_system}, {}: {of_account} }}\n",
        jwt(&operator, &operator, json!({"type": "operator", "version": 2})),
        system.public_key(),
        system.public_key(),
        account.public_key(),
    );
    let server = NatsServer::start_with(options).await.expect("starts");
    let directory = Certificates::new();
    let with = |name: &str, text: String| {
        std::fs::write(directory.path(name), text).expect("written");
        let mut config = BusConfig::parse(&server.url()).expect("a bus URL");
        config.credentials_file = Some(directory.path(name));
        config.check().expect("can be used");
        config
    };
    assert_works(&Bus::connect(with("weft.creds", credentials(&account))).await.expect("connects")).await;
    Bus::connect(with("stranger.creds", credentials(&stranger))).await.map(|_| ()).expect_err("another account's");
    connect(&server.url()).await.map(|_| ()).expect_err("no credentials");
    // A token that ends while it is connected: the file holds the next one by then.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let short = Bus::connect(with("short.creds", credentials_until(&account, Some(now + 3)))).await.expect("connects");
    let seen = Recorder::on(&short);
    let room = room("execution:renewed");
    short.follow(std::slice::from_ref(&room)).await.expect("follows");
    with("short.creds", credentials(&account));
    tokio::time::sleep(Duration::from_secs(5)).await;
    eventually("it is connected again", async || short.publish(publication(&room, "{\"n\":1}")).await).await;
    seen.until_events(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_with_a_password() {
    let options = RedisOptions { password: Some("secret".into()), ..RedisOptions::default() };
    let server = RedisServer::start_with(options).await.expect("starts");
    assert_works(&connect(&server.url()).await.expect("connects")).await;
    assert_works(&connect(&format!("redis://:secret@127.0.0.1:{}/0", server.port())).await.expect("connects")).await;
    connect(&format!("redis://127.0.0.1:{}", server.port())).await.map(|_| ()).expect_err("no password");
    connect(&format!("redis://:wrong@127.0.0.1:{}", server.port())).await.map(|_| ()).expect_err("a wrong one");
}

/// A gateway's rights, as documented: nothing that makes or removes streams, and nothing that publishes events.
const GATEWAY: &str = r#"
    authorization { users: [
        { user: admin, password: a },
        { user: gateway, password: g, permissions: {
            publish: ["weft.canary.*", "weft.cmd.*", "weft.head.*", "weft.own.>", "weft.present.>", "weft.epoch.*",
                      "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "$JS.API.DIRECT.GET.>",
                      "$JS.API.STREAM.PURGE.WEFT_PRESENCE"],
            subscribe: ["weft.live.*", "weft.canary.*", "_INBOX.>"] } } ] }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_without_the_right_to_make_streams() {
    let mut options = NatsOptions::new(NatsVersion::Current);
    options.config = GATEWAY.into();
    let server = NatsServer::start_with(options).await.expect("starts");
    let url = |user: &str| format!("nats://{user}@127.0.0.1:{}", server.port());
    let error = connect(&url("gateway:g")).await.map(|_| ()).expect_err("there are no streams");
    assert!(error.to_string().contains("WEFT_EVENTS") && error.to_string().contains("create"), "{error}");
    let admin = connect(&url("admin:a")).await.expect("makes the streams");
    let gateway = connect(&url("gateway:g")).await.expect("finds the streams");
    let seen = Recorder::on(&gateway);
    let room = room("execution:e");
    gateway.follow(std::slice::from_ref(&room)).await.expect("follows");
    publish(&admin, &room, "{\"n\":1}").await;
    seen.until_events(1).await;
    assert_eq!(read_all(&gateway, &room).await.len(), 1);
    assert_eq!(gateway.tails(std::slice::from_ref(&room)).await.expect("tails").len(), 1);
    // Publishing and taking commands are an executor's rights.
    let (inbox, _commands) = tokio::sync::mpsc::channel(1);
    let refused = gateway.serve(&weft_bus::Address::Execution(room.clone()), inbox).await.map(|_| ());
    assert!(matches!(refused, Err(BusError::Refused(_))), "{refused:?}");
    gateway.publish(publication(&room, "{}")).await.map(|_| ()).expect_err("not a gateway's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_without_the_right_to_follow() {
    let mut options = NatsOptions::new(NatsVersion::Current);
    options.config = r#"
        authorization { users: [
            { user: narrow, password: n, permissions: {
                publish: [">"], subscribe: { allow: [">"], deny: ["weft.live.execution:secret"] } } } ] }
    "#
    .into();
    let server = NatsServer::start_with(options).await.expect("starts");
    let bus = connect(&format!("nats://narrow:n@127.0.0.1:{}", server.port())).await.expect("connects");
    let refused = bus.follow(&[room("execution:secret")]).await;
    assert!(matches!(refused, Err(BusError::Refused(_))), "{refused:?}");
    assert_works(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_without_rights() {
    let server = RedisServer::start().await.expect("starts");
    let mut raw = server.raw().await.expect("connects");
    let url = |user: &str| format!("redis://{user}:p@127.0.0.1:{}", server.port());
    raw.say(&["ACL", "SETUSER", "deaf", "on", ">p", "~*", "resetchannels", "+@all"]).await.expect("set");
    let error = connect(&url("deaf")).await.map(|_| ()).expect_err("no channels");
    assert!(error.to_string().contains("weft:canary:*"), "{error}");
    raw.say(&["ACL", "SETUSER", "narrow", "on", ">p", "~weft:*", "resetchannels", "&weft:*", "&user:*", "+@all"])
        .await
        .expect("set");
    let narrow = connect(&url("narrow")).await.expect("connects");
    // The server's error may overtake the command that is to bring it; the room is then found out by its checks alone.
    let mut refused = narrow.follow(&[room("execution:secret")]).await;
    for _ in 0..5 {
        if refused.is_err() {
            break;
        }
        narrow.unfollow(&room("execution:secret"));
        refused = narrow.follow(&[room("execution:secret")]).await;
    }
    assert!(matches!(refused, Err(BusError::Refused(_))), "{refused:?}");
    narrow.follow(&[room("user:u")]).await.expect("follows what it may");
    let refused = narrow.publish(publication(&room("execution:secret"), "{}")).await;
    assert!(matches!(refused, Err(weft_bus::PublishError::Refused(_))), "{refused:?}");
    // As documented: keys of the prefix, channels of the prefix and of the rooms.
    raw.say(&[
        "ACL",
        "SETUSER",
        "weft",
        "on",
        ">p",
        "~weft:*",
        "resetchannels",
        "&weft:*",
        "&execution:*",
        "+@all",
        "-@dangerous",
    ])
    .await
    .expect("set");
    assert_works(&connect(&url("weft")).await.expect("connects")).await;
}
