//! Commands and their one reply.

use crate::common::*;
use std::time::Duration;
use tokio::sync::mpsc;
use weft_bus::{Address, Bus, Command, Incoming, Reply, RequestError};

const SOON: Duration = Duration::from_millis(300);

fn command(reference: &str) -> Command {
    let body = serde_json::value::RawValue::from_string("{\"value\":1.00}".into()).expect("json");
    Command { reference: reference.into(), kind: "user_input:provide".into(), subject: Some("u".into()), body }
}

fn accepted(reply: &Reply) -> String {
    match reply {
        Reply::Accepted { body } => body.as_ref().map_or(String::new(), |body| body.get().to_owned()),
        Reply::Rejected { code, message } => format!("{code}: {message}"),
    }
}

/// Answers each command with its reference, or refuses the kind `bad`.
fn answering(mut inbox: mpsc::Receiver<Incoming>, name: &'static str) {
    tokio::spawn(async move {
        while let Some(incoming) = inbox.recv().await {
            let command = &incoming.command;
            let reply = if command.reference.starts_with("bad") {
                Reply::Rejected { code: "no".into(), message: "never".into() }
            } else {
                let body = format!("\"{name} {} {} {}\"", command.reference, incoming.address.name(), command.body.get().len());
                Reply::Accepted { body: serde_json::value::RawValue::from_string(body).ok() }
            };
            let _ = incoming.reply.send(reply);
        }
    });
}

pub async fn one_reply_to_each(mut world: World) {
    let (gateway, executor) = (world.bus().await, world.bus().await);
    let addresses = [
        Address::Execution(room("execution:e.1")),
        Address::Execution(room("execution:e.1").in_tenant(Some("acme")).expect("tenant")),
        Address::Executor("executor.1".into()),
    ];
    let (inbox, commands) = mpsc::channel(64);
    let mut serving = Vec::new();
    for address in &addresses {
        serving.push(executor.serve(address, inbox.clone()).await.expect("serves"));
    }
    answering(commands, "x");
    for address in &addresses {
        let reply = eventually("a reply", async || gateway.request(address, command("r1"), PATIENCE).await).await;
        assert_eq!(accepted(&reply), format!("\"x r1 {} 14\"", address.name()));
    }
    let reply = gateway.request(&addresses[0], command("bad"), PATIENCE).await.expect("a reply");
    assert_eq!(accepted(&reply), "no: never");
    // Many at once: each gets its own.
    let asking: Vec<_> = (0..50)
        .map(|n| {
            let (gateway, address) = (gateway.clone(), addresses[0].clone());
            tokio::spawn(async move { (n, gateway.request(&address, command(&format!("r{n}")), PATIENCE).await) })
        })
        .collect();
    for asked in asking {
        let (n, reply) = asked.await.expect("asks");
        assert_eq!(accepted(&reply.expect("a reply")), format!("\"x r{n} execution:e.1 14\""));
    }
}

async fn until_nobody(gateway: &Bus, address: &Address) {
    eventually("nobody serves it", async || match gateway.request(address, command("late"), SOON).await {
        Err(RequestError::NoExecutor) => Ok(()),
        other => Err(other.map(|_| ())),
    })
    .await;
}

pub async fn nobody_a_timeout_and_a_full_inbox(mut world: World) {
    let (gateway, executor) = (world.bus().await, world.bus().await);
    let address = Address::Execution(room("execution:e"));
    let nobody = gateway.request(&address, command("r"), PATIENCE).await;
    assert_eq!(nobody.map(|_| ()), Err(RequestError::NoExecutor));
    let (inbox, mut commands) = mpsc::channel(1);
    let serving = executor.serve(&address, inbox).await.expect("serves");
    let silent = gateway.request(&address, command("held"), SOON).await;
    assert_eq!(silent.map(|_| ()), Err(RequestError::Timeout));
    let full = eventually("a busy answer", async || match gateway.request(&address, command("more"), PATIENCE).await {
        Err(RequestError::Busy) => Ok(()),
        other => Err(other.map(|_| ())),
    });
    full.await;
    // Taken, and dropped without an answer.
    drop(commands.recv().await.expect("the one that was held"));
    let dropped = gateway.request(&address, command("dropped"), SOON);
    let (dropped, taken) = tokio::join!(dropped, commands.recv());
    assert_eq!(taken.expect("taken").command.reference, "dropped");
    assert_eq!(dropped.map(|_| ()), Err(RequestError::Timeout));
    drop(commands);
    let closed = gateway.request(&address, command("closed"), PATIENCE).await;
    assert_eq!(closed.map(|_| ()), Err(RequestError::NoExecutor));
    drop(serving);
    until_nobody(&gateway, &address).await;
}

/// A second process takes an address over; nobody ever gets two replies, and the first stays when the second leaves.
pub async fn an_address_moves_between_processes(mut world: World) {
    let (gateway, old, new) = (world.bus().await, world.bus().await, world.bus().await);
    let address = Address::Execution(room("execution:e"));
    let (old_inbox, old_commands) = mpsc::channel(64);
    let (new_inbox, new_commands) = mpsc::channel(64);
    let first = old.serve(&address, old_inbox).await.expect("serves");
    let second = new.serve(&address, new_inbox).await.expect("serves");
    answering(old_commands, "old");
    answering(new_commands, "new");
    for n in 0..20 {
        let reference = format!("r{n}");
        let reply = gateway.request(&address, command(&reference), PATIENCE).await.expect("a reply");
        let reply = accepted(&reply);
        assert!(reply == format!("\"old {reference} execution:e 14\"") || reply == format!("\"new {reference} execution:e 14\""));
    }
    drop(first);
    eventually("the second answers", async || match gateway.request(&address, command("r"), Duration::from_secs(5)).await {
        Ok(reply) if accepted(&reply).starts_with("\"new") => Ok(()),
        other => Err(other.map(|reply| accepted(&reply))),
    })
    .await;
    drop(second);
    until_nobody(&gateway, &address).await;
}
