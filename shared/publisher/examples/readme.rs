//! The program of the README, which is this file from here on: `cargo run -p weft-publisher --example readme`.
use std::{env, error::Error};
use weft_publisher::{EventDraft, Publisher, PublisherConfig, data};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let gateway = env::var("WEFT_GATEWAY_URL").unwrap_or_else(|_| "http://127.0.0.1:3001".into());
    let token = env::var("WEFT_TOKEN").ok(); // where the gateway asks for one
    let publisher = Publisher::over_http(&gateway, token, PublisherConfig::default())?;

    let run = publisher.run("exec-1").workflow("nightly-build").user("ada");
    run.execution_started(data::ExecutionStarted::default())?;
    run.node_started("compile", data::NodeStarted::default())?;
    run.log(data::Log::info("42 files"))?;
    run.node_completed("compile", data::NodeCompleted::default())?;

    // Any other event; `publish` waits until it is stored in every room it reaches.
    publisher.publish(EventDraft::new("billing:charged").execution("exec-1").field("cents", 5)).await?;

    run.execution_completed(data::ExecutionCompleted::default())?;
    publisher.close().await?; // all stored, or how many were not
    Ok(())
}
