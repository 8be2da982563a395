//! Publishes one short execution, through a gateway or straight to a broker:
//!
//! ```sh
//! cargo run -p weft-publisher --example publish -- http://127.0.0.1:3001
//! cargo run -p weft-publisher --example publish -- nats://127.0.0.1:4222
//! ```
#![allow(clippy::print_stdout)] // printing is what an example does

use std::{env, error::Error};
use weft_bus::{Bus, BusConfig};
use weft_publisher::{Publisher, PublisherConfig, data};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:3001".into());
    let config = PublisherConfig::default();
    let publisher = if url.starts_with("http") {
        Publisher::over_http(&url, env::var("WEFT_TOKEN").ok(), config)?
    } else {
        Publisher::over_bus(Bus::connect(BusConfig::parse(&url)?).await?, config)
    };

    let run = publisher.run("example").workflow("greeting").user("ada");
    run.execution_started(data::ExecutionStarted { workflow_name: Some("Greeting".into()), ..Default::default() })?;
    run.agent_streaming_start("writer", data::AgentStep::default())?;
    for (index, token) in (0u64..).zip(["Hello", ", ", "world", "!"]) {
        run.agent_token("writer", data::AgentToken { token: token.into(), index: Some(index), ..Default::default() })?;
    }
    run.agent_streaming_end("writer", data::AgentStreamingEnd { token_count: Some(4), ..Default::default() })?;
    let last = run.execution_completed(data::ExecutionCompleted { nodes_completed: Some(1), ..Default::default() })?;

    let stored = last.await?;
    println!("the last event, {}, is stored:", stored.id);
    for (room, position) in stored.positions {
        println!("  {room} {}", position.map_or("(no position told)".into(), |position| position.to_string()));
    }
    publisher.close().await?;
    println!("lost: {}", publisher.losses().borrow().total());
    Ok(())
}
