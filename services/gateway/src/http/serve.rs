//! Accepts connections and serves HTTP on them.

use super::first;
use crate::transport::SocketTimes;
use axum::Router;
use hyper::{Request, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use socket2::SockRef;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// A client that has not sent its headers by then is not a client.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// How long answers under way may take when the process leaves.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// Largest request head in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Who is connected, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Serves until `token` is cancelled, then answers what was asked before; connections that were upgraded live on in
/// their sessions.
pub async fn serve(listener: TcpListener, router: Router, times: SocketTimes, token: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = token.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(serve_one(stream, peer, router.clone(), times, (token.clone(), connections.clone())));
            }
            Err(error) => pause_after(&error).await,
        }
    }
    connections.close();
    // A stream of commands has no end of its own.
    let _ = tokio::time::timeout(LAST_ANSWERS, connections.wait()).await;
}

/// Out of descriptors, say: the connection waits in the backlog until there are some again.
async fn pause_after(error: &io::Error) {
    metrics::counter!("weft_gateway_accept_errors_total").increment(1);
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn serve_one(
    mut stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    times: SocketTimes,
    (token, connections): (CancellationToken, TaskTracker),
) {
    // Events are small and must not wait for each other's acknowledgement.
    let _ = stream.set_nodelay(true);
    // Who stops reading an event stream holds its session for no longer than this.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(times.unacknowledged));
    let first = first::event_stream(&mut stream, Peer(peer.ip()), HEADER_TIME);
    let first = tokio::select! { first = first => first, () = token.cancelled() => None };
    if let Some(request) = first {
        let response = first::ask(router, request).await;
        // In a task of its own, which is far smaller than this one.
        connections.spawn(first::answer(stream, times, response));
        return;
    }
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEAD_BYTES_MAX);
    let connection = builder.serve_connection_with_upgrades(
        TokioIo::new(stream),
        TowerToHyperService::new(router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer.ip()));
            request
        })),
    );
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = token.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection ended");
    }
}
