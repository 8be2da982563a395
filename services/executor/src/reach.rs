//! How commands reach the executions of this process: over the bus, or through a gateway.

use crate::{executions::Execution, gateway::Registration};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::AbortHandle};
use tracing::warn;
use weft_bus::{Address, Bus, Incoming, Serving};

/// Longest an execution waits to be reachable before it begins anyway.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to become reachable afterwards.
const PAUSE: Duration = Duration::from_secs(2);

/// How commands reach this process.
pub enum Reach {
    /// Each execution is served on the bus; commands go into the inbox.
    Bus {
        /// The bus.
        bus: Bus,
        /// Where commands go.
        inbox: mpsc::Sender<Incoming>,
    },
    /// A gateway is told which executions run here, and sends their commands along one stream.
    Gateway(Arc<Registration>),
}

/// Keeps an execution reachable until it is dropped.
#[must_use]
pub struct Reachable {
    _bus: Option<Serving>,
    late: Option<AbortHandle>,
    gateway: Option<(Arc<Registration>, String)>,
}

impl Drop for Reachable {
    fn drop(&mut self) {
        if let Some(late) = self.late.take() {
            late.abort();
        }
        if let Some((registration, id)) = self.gateway.take() {
            registration.remove(&id);
        }
    }
}

impl Reach {
    /// Makes an execution reachable. When that does not succeed soon it goes on trying in the background.
    pub async fn serve(&self, execution: &Execution) -> Reachable {
        match self {
            Self::Bus { bus, inbox } => serve_on_bus(bus, inbox, execution).await,
            Self::Gateway(registration) => {
                // First, so that the id is taken off again whatever happens next.
                let gateway = Some((registration.clone(), execution.id.clone()));
                let reachable = Reachable { _bus: None, late: None, gateway };
                registration.add(&execution.id);
                match tokio::time::timeout(PATIENCE, registration.renew()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => warn!(execution = execution.id, %error, "no gateway knows of this execution yet"),
                    Err(_) => warn!(execution = execution.id, "no gateway knows of this execution yet"),
                }
                reachable
            }
        }
    }
}

async fn serve_on_bus(bus: &Bus, inbox: &mpsc::Sender<Incoming>, execution: &Execution) -> Reachable {
    let address = Address::Execution(execution.room.clone());
    match tokio::time::timeout(PATIENCE, bus.serve(&address, inbox.clone())).await {
        Ok(Ok(serving)) => return Reachable { _bus: Some(serving), late: None, gateway: None },
        Ok(Err(error)) => warn!(execution = execution.id, %error, "commands cannot reach this execution yet"),
        Err(_) => warn!(execution = execution.id, "commands cannot reach this execution yet"),
    }
    let (bus, inbox) = (bus.clone(), inbox.clone());
    let late = tokio::spawn(async move {
        loop {
            tokio::time::sleep(PAUSE).await;
            if let Ok(_serving) = bus.serve(&address, inbox.clone()).await {
                std::future::pending::<()>().await;
            }
        }
    });
    Reachable { _bus: None, late: Some(late.abort_handle()), gateway: None }
}
