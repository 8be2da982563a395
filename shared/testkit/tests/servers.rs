//! The brokers that tests start are real, keep their data over a SIGKILL, and leave nothing behind.

use std::{path::Path, time::Duration};
use weft_testkit::servers::{
    NatsCluster, NatsOptions, NatsServer, NatsVersion, RedisCluster, RedisOptions, RedisSentinel, RedisServer,
};

#[tokio::test]
async fn redis_keeps_its_data_over_a_sigkill() {
    let mut redis = RedisServer::start().await.expect("redis");
    let (pid, port) = (redis.pid(), redis.port());
    redis.raw().await.expect("connect").say(&["SET", "key", "value"]).await.expect("set");
    redis.kill();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(redis.raw().await.is_err(), "a killed server answers nobody");
    redis.restart().await.expect("restart");
    assert_eq!(redis.port(), port);
    let value = redis.raw().await.expect("connect").say(&["GET", "key"]).await.expect("get");
    assert_eq!(value.to_string(), "value");
}

#[tokio::test]
async fn a_paused_redis_says_nothing_and_a_dropped_one_is_gone() {
    let options = RedisOptions { password: Some("secret".into()), ..RedisOptions::default() };
    let mut redis = RedisServer::start_with(options).await.expect("redis");
    let mut raw = redis.raw().await.expect("connect");
    redis.pause().expect("pause");
    let silent = tokio::time::timeout(Duration::from_millis(200), raw.say(&["PING"])).await;
    assert!(silent.is_err(), "a stopped process answered");
    redis.resume().expect("resume");
    let directory = redis.directory().to_owned();
    let pid = redis.pid();
    drop(redis);
    assert!(!directory.exists() && !Path::new(&format!("/proc/{pid}")).exists());
}

async fn nats_keeps_a_stream(version: NatsVersion) {
    let mut nats = NatsServer::start(version).await.expect("nats");
    let timeout = Duration::from_secs(10);
    let mut raw = nats.raw().await.expect("connect");
    let stream = br#"{"name":"S","subjects":["s.*"],"storage":"file"}"#;
    raw.request("$JS.API.STREAM.CREATE.S", stream, timeout).await.expect("create");
    raw.request("s.1", b"one", timeout).await.expect("stored");
    nats.kill();
    nats.restart().await.expect("restart");
    let mut raw = nats.raw().await.expect("connect");
    let info = raw.request("$JS.API.STREAM.INFO.S", b"", timeout).await.expect("info");
    let info: serde_json::Value = serde_json::from_slice(&info).expect("json");
    assert_eq!(info["state"]["messages"], 1, "{info}");
    nats.wipe().expect("wipe");
    nats.restart().await.expect("restart");
    let mut raw = nats.raw().await.expect("connect");
    let info = raw.request("$JS.API.STREAM.INFO.S", b"", timeout).await.expect("info");
    assert!(String::from_utf8_lossy(&info).contains("stream not found"));
}

#[tokio::test]
async fn debians_nats_keeps_its_data_over_a_sigkill() {
    nats_keeps_a_stream(NatsVersion::Debian).await;
}

#[tokio::test]
async fn the_current_nats_keeps_its_data_over_a_sigkill() {
    nats_keeps_a_stream(NatsVersion::Current).await;
}

#[tokio::test]
async fn a_nats_without_jetstream_says_so() {
    let options = NatsOptions { jetstream: false, ..NatsOptions::new(NatsVersion::Current) };
    let nats = NatsServer::start_with(options).await.expect("nats");
    let mut raw = nats.raw().await.expect("connect");
    raw.publish("anything", b"{}").await.expect("publish");
    raw.flush().await.expect("flush");
    assert_ne!(raw.info()["jetstream"], true);
    let refused = raw.request("$JS.API.INFO", b"", Duration::from_secs(10)).await;
    assert!(refused.is_err(), "no responders is an error");
}

#[tokio::test]
#[ignore = "several processes for seconds: make test-full"]
async fn a_redis_cluster_forms() {
    let cluster = RedisCluster::start().await.expect("cluster");
    assert_eq!(cluster.url().matches("127.0.0.1").count(), 3);
}

#[tokio::test]
#[ignore = "several processes for seconds: make test-full"]
async fn sentinels_promote_a_replica() {
    let mut group = RedisSentinel::start().await.expect("sentinel");
    let before = group.primary_port().await.expect("primary");
    let primary = group.servers.iter_mut().find(|server| server.port() == before).expect("one of ours");
    primary.kill();
    let promoted = async {
        loop {
            match group.primary_port().await {
                Ok(port) if port != before => return port,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), promoted).await.expect("a new primary");
}

#[tokio::test]
#[ignore = "several processes for seconds: make test-full"]
async fn a_nats_cluster_elects_another_leader() {
    let mut cluster = NatsCluster::start().await.expect("cluster");
    let stream = br#"{"name":"S","subjects":["s.*"],"storage":"file","num_replicas":3}"#;
    let mut raw = cluster.nodes[0].raw().await.expect("connect");
    raw.request("$JS.API.STREAM.CREATE.S", stream, Duration::from_secs(20)).await.expect("create");
    let leader = cluster.leader("S").await.expect("info").expect("a leader");
    cluster.nodes[leader].kill();
    let elected = async {
        loop {
            match cluster.leader("S").await {
                Ok(Some(other)) if other != leader => return,
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), elected).await.expect("another leader");
}
