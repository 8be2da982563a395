//! What an executor measures: all that is documented, and as many series after a day as at its beginning.

mod rig;

use rig::{SOON, client, directory};
use serde_json::json;
use std::collections::BTreeSet;
use weft_testkit::{
    process::{Process, ProcessOptions},
    servers::{NatsServer, NatsVersion},
};

/// Each outcome once, in as many ways as there are nodes.
const WORKFLOWS: [&str; 3] = [
    "name: well\nnodes:\n  - {id: wait, sleep: 10ms}\n  - {id: say, command: echo hello}\n",
    "name: badly\nnodes:\n  - {id: break, command: exit 1}\n",
    "name: late\nnodes:\n  - {id: wait, sleep: 30s, timeout: 50ms}\n",
];

/// The metrics of these sections of the document.
fn documented(sections: &[&str]) -> BTreeSet<String> {
    let (mut names, mut is_asked) = (BTreeSet::new(), false);
    for line in include_str!("../../../docs/METRICS.md").lines() {
        if let Some(title) = line.strip_prefix("## ") {
            is_asked = sections.contains(&title);
        } else if let (true, Some(row)) = (is_asked, line.strip_prefix("| `")) {
            names.extend(row.split('`').next().map(str::to_owned));
        }
    }
    names
}

/// Every series, and the metrics that they are of.
async fn measured(executor: &Process) -> (BTreeSet<String>, BTreeSet<String>) {
    let text = executor.metrics().await.expect("metrics");
    let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
    let names = text.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split_once(' ')?.0.to_owned()));
    (series.collect(), names.collect())
}

async fn ask(executor: &Process, path: &str) -> u16 {
    let request = client().post(format!("{}{path}", executor.url())).json(&json!({}));
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_series_is_there_from_the_start_and_none_comes_later() {
    let nats = NatsServer::start(NatsVersion::Current).await.expect("NATS");
    let workflows = directory(&WORKFLOWS);
    let executor = Process::start(ProcessOptions::executor(&nats.url(), &workflows)).await.expect("an executor");
    let (at_first, names) = measured(&executor).await;
    let mut documented = documented(&["Publisher", "Bus", "Executor", "Every process"]);
    assert!(documented.remove("weft_bus_memory_bytes"), "of the bus inside one gateway");
    assert_eq!(names, documented);
    for (path, status) in [
        ("/workflows/well/execute", 202),
        ("/workflows/badly/execute", 202),
        ("/workflows/late/execute", 202),
        ("/workflows/none/execute", 404),
        ("/executions/none/cancel", 404),
        ("/nowhere", 404),
        ("/health", 405),
    ] {
        assert_eq!(ask(&executor, path).await, status, "{path}");
    }
    let of = async |outcome: &str| {
        let series = format!("weft_executor_executions_total{{outcome=\"{outcome}\"}}");
        executor.metric(&series).await.expect("metrics") as u64
    };
    let ended = async || of("completed").await == 1 && of("failed").await == 2;
    let end = tokio::time::Instant::now() + SOON;
    while !ended().await {
        assert!(tokio::time::Instant::now() < end, "{}", executor.log_tail());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for (series, value) in [
        ("weft_executor_nodes_total{kind=\"command\",outcome=\"completed\"}", 1),
        ("weft_executor_nodes_total{kind=\"command\",outcome=\"failed\"}", 1),
        ("weft_executor_nodes_total{kind=\"sleep\",outcome=\"timeout\"}", 1),
        ("weft_executor_http_requests_total{status=\"405\"}", 1),
        ("weft_executor_executions_max", 32),
    ] {
        assert_eq!(executor.metric(series).await.expect("metrics") as u64, value, "{series}");
    }
    let (later, _) = measured(&executor).await;
    assert_eq!(later.difference(&at_first).collect::<Vec<_>>(), Vec::<&String>::new());
    std::fs::remove_dir_all(workflows).expect("removed");
}
