//! The processes of a run, and the trouble they are put through.

use super::{
    ChaosPlan,
    brokers::Broker,
    clients::{Clients, RUNNER},
};
use crate::{
    Fault, Result, http,
    process::{Process, ProcessOptions},
};
use rand::{Rng, rngs::StdRng};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// For everything that is asked of the fleet while its members come and go.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Longer than any workflow that takes part.
const EXECUTIONS_WITHIN: Duration = Duration::from_secs(120);

pub(super) struct Fleet {
    broker: Broker,
    gateways: Vec<Process>,
    executor: Option<Process>,
    /// The executions that the executor was asked to run.
    pub(super) executions: Vec<String>,
    pub(super) kills: u32,
    pub(super) broker_restarts: u32,
}

impl Fleet {
    pub(super) async fn start(plan: &ChaosPlan) -> Result<Self> {
        let broker = Broker::start(plan.bus).await?;
        let mut gateways = Vec::new();
        for index in 0..plan.gateways {
            let options = ProcessOptions::gateway(&broker.url())
                .env("WEFT_INSTANCE", &format!("gateway-{index}"))
                // The whole run must be readable in the end.
                .env("WEFT_RETENTION_EVENTS", "1000000")
                .env("WEFT_BUS_REPLICAS", &broker.replicas().to_string());
            let options = plan.gateway_env.iter().fold(options, |options, (name, value)| options.env(name, value));
            gateways.push(Process::start(options).await?);
        }
        let executor = match &plan.executor {
            Some(executor) => Some(Process::start(executor_options(&broker, executor)).await?),
            None => None,
        };
        Ok(Self { broker, gateways, executor, executions: Vec::new(), kills: 0, broker_restarts: 0 })
    }

    /// `host:port` of each gateway.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.gateways.iter().map(Process::address).collect()
    }

    pub(super) fn urls(&self) -> Vec<String> {
        self.gateways.iter().map(Process::url).collect()
    }

    /// Kills gateway after gateway, in turn so that every client meets it, each back before the next goes.
    pub(super) async fn trouble(&mut self, plan: &ChaosPlan, clients: &Clients) -> Result<()> {
        let mut rng = plan.seed.rng("trouble");
        let end = Instant::now() + plan.duration;
        while self.kills < plan.kills || Instant::now() < end {
            for _ in 0..plan.executor.as_ref().map_or(0, |executor| executor.at_once) {
                self.run_next(plan, clients).await?;
            }
            let rest = plan.kill_interval.mul_f64(rng.random_range(0.6..1.4));
            tokio::time::sleep(rest).await;
            if plan.restart_broker && self.broker_restarts == 0 && self.kills * 2 >= plan.kills {
                self.broker_restarts += 1;
                self.broker.bounce().await?;
            }
            if plan.kills > 0 {
                self.kill_next(&mut rng).await?;
            }
        }
        Ok(())
    }

    async fn kill_next(&mut self, rng: &mut StdRng) -> Result<()> {
        let index = self.kills as usize % self.gateways.len();
        let gateway = &mut self.gateways[index];
        if !gateway.is_running() {
            return Err(Fault::Ended { what: format!("gateway {index}"), detail: format!("by itself\n{}", gateway.log_tail()) });
        }
        if let Some(executor) = &mut self.executor
            && !executor.is_running()
        {
            return Err(Fault::Ended { what: "the executor".into(), detail: format!("by itself\n{}", executor.log_tail()) });
        }
        let gateway = &mut self.gateways[index];
        gateway.kill();
        self.kills += 1;
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..800))).await;
        gateway.restart().await
    }

    /// Has the executor run its next workflow, and some clients follow it from its start.
    async fn run_next(&mut self, plan: &ChaosPlan, clients: &Clients) -> Result<()> {
        let Some(executor) = &plan.executor else { return Ok(()) };
        let index = self.executions.len();
        let name = &executor.names[index % executor.names.len()];
        let id = format!("run-{index}");
        let body = serde_json::json!({"executionId": id, "userId": RUNNER});
        let began = Instant::now();
        loop {
            // A repeat whose first attempt was taken after all is answered with a conflict.
            let url = format!("{}/api/workflows/{name}/execute", self.gateways[index % self.gateways.len()].url());
            match http::client().post(&url).json(&body).send().await {
                Ok(answer) if matches!(answer.status().as_u16(), 202 | 409) => break,
                Ok(answer) if began.elapsed() >= ANSWER_WITHIN => {
                    let status = answer.status();
                    return Err(Fault::said(url, format!("{status} {}", answer.text().await.unwrap_or_default())));
                }
                Err(error) if began.elapsed() >= ANSWER_WITHIN => return Err(Fault::said(url, error)),
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        clients.follow(&format!("execution:{id}"), index * 3);
        self.executions.push(id);
        Ok(())
    }

    /// Waits until everything that the executor runs has ended.
    pub(super) async fn await_executions(&self) -> Result<()> {
        let until = Instant::now() + EXECUTIONS_WITHIN;
        for id in &self.executions {
            loop {
                let state = http::get_json(&format!("{}/api/executions/{id}", self.gateways[0].url())).await;
                let status = state.as_ref().ok().and_then(|state| state["status"].as_str());
                if matches!(status, Some("completed" | "failed" | "cancelled")) {
                    break;
                }
                if Instant::now() >= until {
                    return Err(Fault::late(format!("the end of execution {id}"), EXECUTIONS_WITHIN, format!("; {state:?}")));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// The ids of everything that is stored of a room, in stored order.
    pub(super) async fn read_back(&self, room: &str) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        let mut after = "0".to_owned();
        loop {
            let url = format!("{}/api/rooms/{room}/events?limit=1000&after={after}", self.gateways[0].url());
            let page = http::get_json(&url).await?;
            let events = page["events"].as_array().ok_or_else(|| Fault::said(&url, &page))?;
            for event in events {
                ids.push(event["id"].as_str().ok_or_else(|| Fault::said(&url, event))?.to_owned());
            }
            match (&page["complete"], &page["next"]) {
                (Value::Bool(true), _) => return Ok(ids),
                (_, Value::String(next)) if *next != after => after.clone_from(next),
                _ => return Err(Fault::said(url, page)),
            }
        }
    }
}

fn executor_options(broker: &Broker, executor: &super::ExecutorPlan) -> ProcessOptions {
    ProcessOptions::executor(&broker.url(), &executor.workflows).env("WEFT_BUS_REPLICAS", &broker.replicas().to_string())
}
