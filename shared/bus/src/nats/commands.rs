//! Commands: NATS requests. The server says at once when nobody serves an address; a queue group gives a command to
//! one process only.

use super::{
    Link,
    api::Failure,
    inbox::{NoReply, REQUEST_TIMEOUT},
};
use crate::{Address, BusError, Command, Incoming, Reply, RequestError, Serving, outcome::Outcome};
use async_nats::Message;
use futures_util::StreamExt;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// The queue group of all who serve an address.
const GROUP: &str = "weft";

pub(super) async fn serve(link: &Arc<Link>, address: &Address, inbox: mpsc::Sender<Incoming>) -> Result<Serving, BusError> {
    link.require_up()?;
    let subject = link.names.commands(address);
    let mut commands = link
        .data
        .client
        .queue_subscribe(subject.clone(), GROUP.to_owned())
        .await
        .map_err(|error| BusError::Refused(error.to_string()))?;
    // Twice, as for a followed room: a refusal is told a moment late.
    link.data.barrier(link.void()).await.map_err(BusError::Unavailable)?;
    link.data.barrier(link.void()).await.map_err(BusError::Unavailable)?;
    link.check_refusals(std::iter::once(subject))?;
    let (server, address) = (link.clone(), address.clone());
    let (over, mut ended) = oneshot::channel::<()>();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                command = commands.next() => match command {
                    Some(command) => arrived(&server, &address, &inbox, command),
                    None => return,
                },
                _ = &mut ended => break,
            }
        }
        // What the server has sent already is still answered: nobody else was given it.
        if commands.drain().await.is_ok() {
            let rest = async {
                while let Some(command) = commands.next().await {
                    arrived(&server, &address, &inbox, command);
                }
            };
            // Past this the server is away, and nothing more comes.
            let _ = tokio::time::timeout(REQUEST_TIMEOUT, rest).await;
        }
    });
    Ok(Serving { undo: Some(Box::new(move || drop(over))) })
}

fn arrived(link: &Arc<Link>, address: &Address, inbox: &mpsc::Sender<Incoming>, message: Message) {
    let Some(reply_to) = message.reply else { return };
    let Ok(command) = serde_json::from_slice::<Command>(&message.payload) else {
        tracing::warn!("a command cannot be read");
        return;
    };
    let (reply, answer) = oneshot::channel();
    let offered = inbox.try_send(Incoming { command, address: address.clone(), reply });
    let link = link.clone();
    tokio::spawn(async move {
        let Some(outcome) = Outcome::of(offered, answer).await else { return };
        let sent = match serde_json::to_vec(&outcome) {
            Ok(body) => link.data.client.publish(reply_to, body.into()).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = sent {
            tracing::warn!(error, "the reply to a command could not be sent");
        }
    });
}

pub(super) async fn request(link: &Link, address: &Address, command: Command, patience: Duration) -> Result<Reply, RequestError> {
    let body = serde_json::to_vec(&command).map_err(|error| BusError::Refused(error.to_string()))?;
    let mut asked = match link.data.send(link.names.commands(address), None, body.into(), 1).await {
        Ok(asked) => asked,
        Err(no_reply) => return Err(RequestError::Bus(Failure::from(no_reply).into())),
    };
    match asked.next(patience).await {
        Ok(reply) => serde_json::from_slice::<Outcome>(&reply.payload)
            .map_err(|error| RequestError::Bus(BusError::Refused(format!("a reply that cannot be read: {error}"))))?
            .into_result(),
        Err(NoReply::NoResponders) => Err(RequestError::NoExecutor),
        Err(_) if !link.data.is_connected() => Err(RequestError::Bus(BusError::Unavailable("reconnecting".into()))),
        Err(_) => Err(RequestError::Timeout),
    }
}
