//! One direction of one connection.

use super::Direction;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::Instant,
};

const PIECE_BYTES: usize = 16 * 1024;

/// Pieces on their way in one direction of a connection; when it is full the proxy reads no more.
const PIECES_MAX: usize = 64;

/// How the proxy behaves at this moment.
#[derive(Clone, Default)]
pub(super) struct Conditions {
    pub(super) latency: Duration,
    /// By direction.
    pub(super) held: [bool; 2],
    /// By direction.
    pub(super) swallowed: [bool; 2],
    /// Bytes that may still pass.
    pub(super) budget: Option<Arc<AtomicU64>>,
    /// Changes when all connections are to be reset.
    pub(super) generation: u64,
    pub(super) refused: bool,
}

impl Conditions {
    pub(super) fn grant(&mut self, bytes: u64) {
        self.budget = Some(Arc::new(AtomicU64::new(bytes)));
    }

    /// How many of `wanted` bytes may pass.
    fn take(&self, wanted: u64) -> u64 {
        let Some(budget) = &self.budget else { return wanted };
        let taken = budget.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| Some(left - left.min(wanted)));
        taken.unwrap_or(0).min(wanted)
    }
}

type Piece = (Instant, Vec<u8>);

/// Passes bytes on until `from` ends. An error means that the connection must be reset.
pub(super) async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    conditions: &Arc<watch::Sender<Conditions>>,
) -> io::Result<()> {
    let (pieces, queue) = mpsc::channel(PIECES_MAX);
    tokio::try_join!(take_in(from, pieces, direction, conditions), give_out(to, queue, direction, conditions)).map(|_| ())
}

async fn take_in(
    mut from: ReadHalf<'_>,
    pieces: mpsc::Sender<Piece>,
    direction: Direction,
    conditions: &watch::Sender<Conditions>,
) -> io::Result<()> {
    let mut changes = conditions.subscribe();
    let mut torn = false;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            _ = changes.wait_for(|now| !now.swallowed[direction as usize]), if torn => {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        };
        let (swallowed, latency) = {
            let now = conditions.borrow();
            (now.swallowed[direction as usize], now.latency)
        };
        if swallowed {
            // Even an end is not heard beyond a hole.
            torn = true;
            if read == 0 {
                std::future::pending::<()>().await;
            }
        } else if read == 0 {
            return Ok(());
        } else if pieces.send((Instant::now() + latency, buffer[..read].to_vec())).await.is_err() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
}

async fn give_out(
    mut to: WriteHalf<'_>,
    mut queue: mpsc::Receiver<Piece>,
    direction: Direction,
    conditions: &watch::Sender<Conditions>,
) -> io::Result<()> {
    let mut changes = conditions.subscribe();
    while let Some((due, bytes)) = queue.recv().await {
        tokio::time::sleep_until(due).await;
        // The sender outlives every connection, so this cannot fail.
        let _ = changes.wait_for(|now| !now.held[direction as usize]).await;
        let may_pass = conditions.borrow().take(bytes.len() as u64);
        let passing = usize::try_from(may_pass).map_or(bytes.len(), |passing| passing.min(bytes.len()));
        to.write_all(&bytes[..passing]).await?;
        if passing < bytes.len() {
            conditions.send_modify(|now| {
                now.generation += 1;
                now.budget = None;
            });
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
    to.shutdown().await
}
