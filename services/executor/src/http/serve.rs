//! Accepts connections and serves HTTP on them, a bounded number at once.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// A client that has not sent its head by then is none.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// A request, body and answer included, or a pause between two requests.
const CONNECTION_TIME: Duration = Duration::from_secs(120);
/// Largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Connections at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 256;
/// How long answers under way may take once the server leaves.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves until `token` is cancelled, then lets answers under way end.
pub async fn serve(listener: TcpListener, router: Router, token: CancellationToken) {
    let (places, connections) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), TaskTracker::new());
    let accept = async {
        while let Ok(place) = places.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let served = serve_one(stream, router.clone(), token.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: the error would come back at once without a pause.
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    token.run_until_cancelled(accept).await;
    connections.close();
    let _ = timeout(FAREWELL, connections.wait()).await;
}

async fn serve_one(stream: TcpStream, router: Router, token: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let whole = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = token.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    };
    match timeout(CONNECTION_TIME, whole).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection broke off"),
        Err(_) => debug!("a connection took too long"),
    }
}
