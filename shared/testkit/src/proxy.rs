//! A TCP proxy that misbehaves on demand, because a kernel without netem cannot.
//!
//! Each direction of a connection is a short queue of pieces with the time at which each may go on: latency delays, a
//! stall holds, and when the queue is full the proxy reads no more, as a slow network would not.

mod pipe;

use crate::{Fault, Result};
use pipe::{Conditions, pump};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected to the proxy.
    ToServer,
    /// To whoever connected to the proxy.
    ToClient,
}

/// A proxy in front of one address. Dropping it ends it and resets its connections.
pub struct Proxy {
    address: SocketAddr,
    conditions: Arc<watch::Sender<Conditions>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `server`, `host:port`, until told otherwise.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Fault::io("start a proxy"))?;
        let address = listener.local_addr().map_err(Fault::io("start a proxy"))?;
        let conditions = Arc::new(watch::Sender::new(Conditions::default()));
        let accepting = tokio::spawn(accept(listener, server.to_owned(), Arc::clone(&conditions)));
        Ok(Self { address, conditions, accepting })
    }

    /// Where clients connect, `127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Delays every byte by this much, in each direction.
    pub fn latency(&self, latency: Duration) {
        self.change(|conditions| conditions.latency = latency);
    }

    /// Holds everything back, in both directions; nothing is lost. [`Proxy::heal`] lets it go on.
    pub fn stall(&self) {
        self.change(|conditions| conditions.held = [true, true]);
    }

    /// Holds one direction back; nothing is lost.
    pub fn stall_one_way(&self, direction: Direction) {
        self.change(|conditions| conditions.held[direction as usize] = true);
    }

    /// Swallows one direction, as a network that drops packets. A connection that has lost bytes this way cannot be
    /// healed: it is reset when the hole closes.
    pub fn blackhole(&self, direction: Direction) {
        self.change(|conditions| conditions.swallowed[direction as usize] = true);
    }

    /// Lets this many bytes more through, over all connections and both directions, then resets every connection.
    pub fn cut_after(&self, bytes: u64) {
        self.change(|conditions| conditions.grant(bytes));
    }

    /// Resets every connection; new ones are accepted.
    pub fn cut(&self) {
        self.change(|conditions| conditions.generation += 1);
    }

    /// Resets every connection and also every new one, until healed.
    pub fn refuse(&self) {
        self.change(|conditions| {
            conditions.generation += 1;
            conditions.refused = true;
        });
    }

    /// Ends every misbehaviour.
    pub fn heal(&self) {
        self.change(|conditions| {
            *conditions = Conditions { generation: conditions.generation, ..Conditions::default() };
        });
    }

    fn change(&self, change: impl FnOnce(&mut Conditions)) {
        self.conditions.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.refuse();
    }
}

async fn accept(listener: TcpListener, server: String, conditions: Arc<watch::Sender<Conditions>>) {
    while let Ok((client, _)) = listener.accept().await {
        if conditions.borrow().refused {
            reset(&client);
            continue;
        }
        let (server, conditions) = (server.clone(), Arc::clone(&conditions));
        tokio::spawn(async move { connect(client, &server, &conditions).await });
    }
}

async fn connect(mut client: TcpStream, server: &str, conditions: &Arc<watch::Sender<Conditions>>) {
    let generation = conditions.borrow().generation;
    let Ok(mut server) = TcpStream::connect(server).await else {
        reset(&client);
        return;
    };
    // A delay of the kernel's would come on top of ours.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let passed = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, Direction::ToServer, conditions);
        let down = pump(from_server, to_client, Direction::ToClient, conditions);
        let mut changes = conditions.subscribe();
        tokio::select! {
            passed = async { tokio::try_join!(up, down) } => passed.is_ok(),
            _ = changes.wait_for(|conditions| conditions.generation != generation) => false,
        }
    };
    if !passed {
        reset(&client);
        reset(&server);
    }
}

/// Makes the coming drop of this socket a reset instead of a goodbye.
fn reset(stream: &TcpStream) {
    // An error means that the connection is gone already.
    let _ = stream.set_zero_linger();
}
