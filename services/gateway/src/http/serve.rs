//! Accepts connections and serves HTTP on them.

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use std::{io, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A client that has not sent its headers by then is not a client.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Largest request head in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Serves until `token` is cancelled; connections that were upgraded live on in their sessions.
pub async fn serve(listener: TcpListener, router: Router, token: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = token.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve_one(stream, router.clone()));
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Out of descriptors, say: the connection waits in the backlog until there are some again.
async fn pause_after(error: &io::Error) {
    metrics::counter!("weft_gateway_accept_errors_total").increment(1);
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn serve_one(stream: TcpStream, router: Router) {
    // Events are small and must not wait for each other's acknowledgement.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEAD_BYTES_MAX);
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(router)).await {
        tracing::trace!(%error, "a connection ended");
    }
}
