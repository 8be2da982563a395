//! An executor that is killed leaves nothing behind that runs on.

use std::{path::Path, time::Duration};
use weft_testkit::{
    http,
    process::{Process, ProcessOptions},
    servers::{NatsServer, NatsVersion},
};

/// Nothing here takes nearly as long; it only bounds a hang.
const SOON: Duration = Duration::from_secs(30);

const WORKFLOW: &str = "name: long
nodes:
  - id: wait
    command: |
      sleep 1000 & echo $! > \"$PLACE\"; wait
";

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + SOON;
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "{what}: not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_with_the_executor_that_is_killed() {
    let dir = std::env::temp_dir().join(format!("weft-killed-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&dir).expect("a directory");
    let place = dir.join("pid");
    std::fs::write(dir.join("long.yaml"), WORKFLOW.replace("$PLACE", &place.display().to_string())).expect("written");
    let server = NatsServer::start(NatsVersion::Current).await.expect("NATS");
    let mut executor = Process::start(ProcessOptions::executor(&server.url(), &dir)).await.expect("an executor");
    let asked = http::client().post(format!("{}/workflows/long/execute", executor.url())).json(&serde_json::json!({})).send();
    assert_eq!(asked.await.expect("answered").status(), 202);
    let pid = || std::fs::read_to_string(&place).unwrap_or_default().trim().to_owned();
    until("the command runs", || !pid().is_empty()).await;
    let runs = |pid: &str| Path::new("/proc").join(pid).join("cmdline").exists();
    let grandchild = pid();
    assert!(runs(&grandchild));
    executor.kill();
    until("what the command started ends", || {
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        // Gone, or ended and waiting for somebody to ask how.
        stat.is_empty() || stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
    .await;
    std::fs::remove_dir_all(dir).expect("removed");
}
