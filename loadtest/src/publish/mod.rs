//! The publishing half: the ways into each system, and the pace at which events are due.

pub(crate) mod event;
pub(crate) mod ingress;
pub(crate) mod lanes;
pub(crate) mod pace;

use crate::{error::Failure, floor, peers::way_in::WayIn};
use event::{Event, Shape};
use ingress::Ingress;
use lanes::Lanes;
use std::{sync::Arc, time::Duration};
use weft_bus::{Bus, BusConfig, Mode};
use weft_publisher::{EventDraft, Publisher, PublisherConfig};

/// What is under way may take this long to be stored.
const FLUSH_PATIENCE: Duration = Duration::from_secs(60);

/// A way in.
pub(crate) enum Publish {
    /// A gateway's `POST /api/events`.
    Ingress(Ingress),
    /// The bus itself, one stored room an event.
    Lanes(Lanes),
    /// The library that executors use, every room an event reaches.
    Library { publisher: Publisher, shape: Shape },
    /// Another system's.
    Peer(Box<WayIn>),
    /// No system at all: bytes written to sockets.
    Floor(floor::Writer),
}

impl Publish {
    /// The bus at this URL, by the library if events shall reach all of their rooms.
    pub(crate) async fn over_bus(url: &str, shape: Shape, all_rooms: bool) -> Result<Self, Failure> {
        let config = BusConfig::parse(url).map_err(|error| Failure::Options(error.to_string()))?;
        if config.mode() == Mode::Memory {
            return Err(Failure::Options("the bus in a gateway's memory is reached by its ingress only".into()));
        }
        crypto();
        let bus = Bus::connect(config).await.map_err(|error| Failure::Broker(error.to_string()))?;
        if !all_rooms {
            return Ok(Self::Lanes(Lanes::new(&bus, shape)));
        }
        let publisher = Publisher::over_bus(bus, PublisherConfig::default());
        Ok(Self::Library { publisher, shape })
    }

    /// Hands events over, in order; where the way in is narrower than what comes, this waits.
    pub(crate) async fn send(&mut self, events: &[Event]) -> Result<(), Failure> {
        match self {
            Self::Ingress(ingress) => ingress.send(events).await,
            Self::Lanes(lanes) => lanes.send(events).await,
            Self::Floor(writer) => writer.send(events),
            Self::Peer(way_in) => way_in.send(events).await,
            Self::Library { publisher, shape } => {
                for event in events {
                    let pending = publisher.enqueue_wait(draft(shape, *event)?).await;
                    // What becomes of it later is counted among the publisher's losses, which `flush` looks at.
                    drop(pending.map_err(|error| Failure::Publish(error.to_string()))?);
                }
                Ok(())
            }
        }
    }

    /// Waits until everything handed over is stored.
    pub(crate) async fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::Ingress(_) | Self::Floor(_) | Self::Peer(_) => Ok(()),
            Self::Lanes(lanes) => lanes.flush(FLUSH_PATIENCE).await,
            Self::Library { publisher, .. } => {
                publisher.flush(FLUSH_PATIENCE).await.map_err(|error| Failure::Publish(error.to_string()))?;
                let lost = *publisher.losses().borrow();
                if lost.total() == 0 {
                    return Ok(());
                }
                Err(Failure::Publish(format!("the publisher could not keep everything: {lost:?}")))
            }
        }
    }
}

/// A draft with the same fields as the shape's body.
fn draft(shape: &Shape, event: Event) -> Result<EventDraft, Failure> {
    let body = shape.body(event);
    let value: serde_json::Value = serde_json::from_str(&body).map_err(|error| Failure::Publish(error.to_string()))?;
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let draft = EventDraft::new(text("type")).execution(text("executionId")).data(&value["data"]);
    Ok(if shape.owner { draft.user(text("userId")) } else { draft })
}

/// A client that talks to loopback directly.
pub(crate) fn http_client(timeout: Duration) -> Result<reqwest::Client, Failure> {
    crypto();
    let client = reqwest::Client::builder().timeout(timeout).no_proxy().build();
    client.map_err(|error| Failure::Publish(error.to_string()))
}

fn crypto() {
    // The second call finds a provider there already, which is as good.
    let _: Result<(), Arc<_>> = rustls::crypto::ring::default_provider().install_default();
}
