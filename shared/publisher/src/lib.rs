//! What an executor uses to publish events: rooms, validation, retry, helpers by event type.
//!
//! An [`EventDraft`] becomes a valid event, [`Publisher::enqueue`] puts it into a bounded retry buffer and answers a
//! [`Pending`], and one *lane* a room sends it on, in the order of enqueueing, until the bus (or a gateway's
//! `POST /api/events`) has said that it is stored. What could not be kept is reported, never dropped in silence.
//!
//! ```no_run
//! use weft_publisher::{EventDraft, Publisher, PublisherConfig, data};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let publisher = Publisher::over_http("http://127.0.0.1:3001", None, PublisherConfig::default())?;
//! let run = publisher.run("exec-1").workflow("nightly-build").user("ada");
//! run.execution_started(data::ExecutionStarted::default())?;
//! run.node_started("compile", data::NodeStarted::default())?;
//! run.log(data::Log { node_id: Some("compile".into()), ..data::Log::info("42 files") })?;
//! run.execution_completed(data::ExecutionCompleted { duration: Some(1.5), ..Default::default() })?;
//!
//! // Anything else, and waiting until it is stored in every room it reaches:
//! let draft = EventDraft::new("billing:charged").execution("exec-1").field("cents", 5);
//! println!("stored as {}", publisher.publish(draft).await?.id);
//! publisher.close().await?;
//! # Ok(()) }
//! ```
//!
//! Reading order: [`draft`] and [`data`] (what is published), [`publisher`] and [`run`] (the handles), `item`,
//! `lane` and `sink` (how an event gets stored), [`heads`] (the duty to keep an execution's durable record),
//! [`store`] (storing without a retry buffer, for an HTTP ingress).

pub mod data;
pub mod draft;
pub mod error;
pub mod heads;
mod http;
mod item;
mod lane;
mod ledger;
mod meters;
mod pace;
pub mod publisher;
pub mod run;
mod sink;
pub mod store;
pub mod trace;

pub use draft::EventDraft;
pub use error::{HttpTargetError, PublishError, Unfinished};
pub use heads::{HeadConfig, HeadKeeper};
pub use item::{Pending, Stored};
pub use ledger::Losses;
pub use publisher::{Publisher, PublisherConfig};
pub use run::Run;
pub use store::{StoreEventError, store_all};
