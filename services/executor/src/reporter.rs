//! What the executor tells: the one file that touches the publisher.
//!
//! Every event waits for room in the publisher's retry buffer, so a flood of output slows its process down instead
//! of being lost. The publisher says what it had to give up; here only what it refused at once is told.

use crate::workflow::{Node, Step};
use serde_json::{Value, json};
use tracing::error;
use weft_publisher::{EventDraft, Publisher, Run};

pub use weft_publisher::data::Level;

/// Tells about one execution. Cheap to clone.
#[derive(Clone)]
pub struct Report {
    publisher: Publisher,
    run: Run,
}

impl Report {
    /// A report on one execution of a workflow; `user` owns it.
    #[must_use]
    pub fn new(publisher: &Publisher, execution_id: &str, workflow: &str, user: Option<&str>) -> Self {
        let mut run = publisher.run(execution_id).workflow(workflow);
        if let Some(user) = user {
            run = run.user(user);
        }
        Self { publisher: publisher.clone(), run }
    }

    async fn send(&self, kind: &str, draft: EventDraft) {
        if let Err(refused) = self.publisher.enqueue_wait(draft).await {
            metrics::counter!(crate::metrics::EVENTS_REFUSED).increment(1);
            error!(execution = self.run.execution_id(), kind, %refused, "an event was not published");
        }
    }

    /// An `execution:*` event.
    pub async fn execution(&self, name: &str, data: Value) {
        let kind = format!("execution:{name}");
        self.send(&kind, self.run.draft(&kind).data(data)).await;
    }

    /// What happens to a node: `started`, `progress`, `completed` or `failed`. A node that streams tokens is a step
    /// of a multi-agent workflow, where the agent stands for the node.
    pub async fn node(&self, node: &Node, name: &str, data: Value) {
        if let Step::Tokens(_) = node.step {
            return self.agent(&node.id, name, data).await;
        }
        let kind = format!("node:{name}");
        self.send(&kind, self.run.draft(&kind).node(&node.id).data(data)).await;
    }

    /// An `agent:*` event.
    pub async fn agent(&self, agent: &str, name: &str, data: Value) {
        let kind = format!("agent:{name}");
        self.send(&kind, self.run.draft(&kind).agent(agent).data(data)).await;
    }

    /// A `user_input:*` event of a node.
    pub async fn user_input(&self, node: &Node, name: &str, data: Value) {
        let kind = format!("user_input:{name}");
        self.send(&kind, self.run.draft(&kind).node(&node.id).data(data)).await;
    }

    /// A line of a node's log.
    pub async fn log(&self, node: &Node, level: Level, message: &str, metadata: Value) {
        let data = json!({"level": level, "message": message, "stepName": node.name,
            "stepType": node.step.word(), "metadata": metadata});
        self.send("log", self.run.draft("log").node(&node.id).data(data)).await;
    }
}
