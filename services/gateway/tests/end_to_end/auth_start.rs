//! Who may begin an execution under an id of its own choice, and what a refusal tells of the executions that there are.

use crate::{
    auth_rig::{self, ask, log, of, publish, token},
    auth_watch::Watched,
    support::{Broker, DURABLE, Kind, SOON},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc};
use tokio::task::JoinHandle;
use weft_testkit::process::Process;

/// An executor by HTTP that accepts every order whose id it has not seen, as a real one does.
pub struct Runner {
    orders: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Runner {
    /// Of this tenant; these ids are taken.
    pub async fn start(gateway: &Process, tenant: Option<&str>, taken: &[&str]) -> Self {
        let mut claims = json!({"sub": "runner", "scope": "executions:run"});
        if let Some(tenant) = tenant {
            claims["tenant"] = tenant.into();
        }
        let bearer = token(claims);
        let url = format!("{}/api/commands?executor=runner", gateway.url());
        let request = weft_testkit::http::client().get(url).bearer_auth(&bearer).timeout(SOON * 4);
        let stream = request.send().await.expect("a stream");
        assert_eq!(stream.status().as_u16(), 200);
        let registered = json!({"executions": [], "workflows": [{"name": "demo"}]});
        let (status, answer) = ask(gateway, "PUT", "/api/commands/runner", Some(&bearer), Some(registered)).await;
        assert_eq!(status, 204, "{answer}");
        let orders = Arc::<Mutex<Vec<Value>>>::default();
        let taken: HashSet<String> = taken.iter().map(|id| (*id).to_owned()).collect();
        let task = tokio::spawn(serve(gateway.url(), bearer, stream, taken, orders.clone()));
        Self { orders, task }
    }

    /// What it was asked since the last time.
    pub fn orders(&self) -> Vec<Value> {
        std::mem::take(&mut *self.orders.lock())
    }
}

async fn serve(
    gateway: String,
    bearer: String,
    mut stream: reqwest::Response,
    mut taken: HashSet<String>,
    orders: Arc<Mutex<Vec<Value>>>,
) {
    let mut text = String::new();
    while let Ok(Some(some)) = stream.chunk().await {
        text.push_str(&String::from_utf8_lossy(&some));
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
            let command: Value = serde_json::from_str(data).expect("JSON");
            let id = command["body"]["executionId"].as_str().expect("an id").to_owned();
            let reply = match taken.insert(id.clone()) {
                true => json!({"outcome": "accepted", "body": {"executionId": id}}),
                false => json!({"outcome": "rejected", "code": "exists", "message": "there is an execution with this id"}),
            };
            let path = format!("/api/commands/{}/reply", command["ref"].as_str().expect("a ref"));
            orders.lock().push(command);
            let (status, answer) = auth_rig::ask_at(&gateway, "POST", &path, Some(&bearer), Some(reply)).await;
            assert_eq!(status, 204, "{answer}");
        }
    }
}

/// Every way to begin an execution under an id.
fn ways(id: &str) -> [(String, Option<Value>); 3] {
    let nodes = json!([{"id": "a", "sleep": "1s"}]);
    [
        ("/api/workflows/demo/execute".to_owned(), Some(json!({"executionId": id, "inputs": {}}))),
        ("/api/workflows".to_owned(), Some(json!({"executionId": id, "nodes": nodes}))),
        (format!("/executions/{id}/start-streaming"), None),
    ]
}

async fn begin(gateway: &Watched, bearer: Option<&str>, (path, body): &(String, Option<Value>)) -> (u16, String) {
    ask(gateway, "POST", path, bearer, body.clone()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_ones_own_choice_tells_nothing_of_what_there_is() {
    for kind in DURABLE {
        let broker = Broker::start(kind).await;
        let gateway = auth_rig::gateway(&broker, &[]).await;
        publish(&gateway, None, json!([log("hers", Some("ada"), "x"), log("nobodys", None, "x")])).await;
        let runner = Runner::start(&gateway, None, &["hers", "nobodys"]).await;
        let reader = token(json!({"sub": "bob", "rooms": ["execution:*"]}));
        let unclaimed = token(json!({"sub": "bob", "scope": "executions:act"}));
        for bearer in [of("bob"), reader, unclaimed] {
            for way in 0..3 {
                let mut answers = Vec::new();
                for id in ["hers", "nobodys", "none"] {
                    answers.push(begin(&gateway, Some(&bearer), &ways(id)[way]).await);
                }
                assert_eq!(answers[0].0, 403, "{kind:?}: {answers:?}");
                assert!(answers.iter().all(|answer| *answer == answers[0]), "{kind:?}: {answers:?}");
            }
        }
        assert_eq!(runner.orders(), Vec::<Value>::new(), "{kind:?}: nobody was asked");
        for (path, body) in ways("hers") {
            assert_eq!(ask(&gateway, "POST", &path, None, body).await.0, 401, "{kind:?} {path}: without a token");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_act_on_an_id_may_begin_it_and_anybody_a_new_one() {
    let broker = Broker::start(Kind::Memory).await;
    let gateway = auth_rig::gateway(&broker, &[]).await;
    publish(&gateway, None, log("team-old", Some("ada"), "x")).await;
    let runner = Runner::start(&gateway, None, &["team-old"]).await;
    let actor = token(json!({"sub": "bob", "rooms": ["execution:team-*"], "scope": "executions:act"}));
    let admin = token(json!({"sub": "root", "scope": "admin"}));
    for (way, new) in ["team-1", "team-2", "team-3"].into_iter().enumerate() {
        let elsewhere = begin(&gateway, Some(&actor), &ways("other")[way]).await;
        assert_eq!(elsewhere.0, 403, "{elsewhere:?}");
        for (bearer, id, expected) in [
            (&actor, new, 202),
            (&actor, new, 409),
            (&admin, &*format!("any-{new}"), 202),
            // One's own exists, and one knows that.
            (&of("ada"), "team-old", 409),
            (&of("ada"), "team-new", 403),
        ] {
            let (status, answer) = begin(&gateway, Some(bearer), &ways(id)[way]).await;
            assert_eq!(status, expected, "{id} by {:?}: {answer}", ways(id)[way]);
        }
    }
    let asked = runner.orders();
    assert!(asked.iter().any(|order| order["subject"] == "bob" && order["body"]["executionId"] == "team-1"), "{asked:?}");
    for (path, body) in [("/api/workflows/demo/execute", json!({})), ("/api/workflows", json!({"nodes": [{"id": "a"}]}))] {
        let (status, answer) = ask(&gateway, "POST", path, Some(&of("ada")), Some(body)).await;
        assert_eq!(status, 202, "{answer}");
        let orders = runner.orders();
        assert_eq!((orders.len(), &orders[0]["subject"]), (1, &json!("ada")), "whose it then is");
    }
}

/// No tenant, and a tenant whose name looks like none, are two.
#[tokio::test(flavor = "multi_thread")]
async fn executors_without_a_tenant_are_apart_from_those_of_every_tenant() {
    let broker = Broker::start(Kind::JetStream).await;
    let gateway = auth_rig::gateway(&broker, &[]).await;
    let tenants = [None, Some("-"), Some("_")];
    let mut runners = Vec::new();
    for tenant in tenants {
        runners.push(Runner::start(&gateway, tenant, &[]).await);
    }
    let ada_of = |tenant: Option<&str>| match tenant {
        Some(tenant) => token(json!({"sub": "ada", "tenant": tenant})),
        None => of("ada"),
    };
    for (number, tenant) in tenants.into_iter().enumerate() {
        for _ in 0..4 {
            let asker = ada_of(tenant);
            let (status, answer) = ask(&gateway, "POST", "/api/workflows/demo/execute", Some(&asker), None).await;
            assert_eq!(status, 202, "{tenant:?}: {answer}");
        }
        let asked: Vec<usize> = runners.iter().map(|runner| runner.orders().len()).collect();
        let expected: Vec<usize> = (0..3).map(|other| if other == number { 4 } else { 0 }).collect();
        assert_eq!(asked, expected, "{tenant:?}: each asks its own");
    }
}
