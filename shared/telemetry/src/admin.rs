//! The admin port: `/metrics`, `/livez`, `/readyz`, and nothing that changes anything.

use crate::{Metrics, Readiness};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// A scraper sends its head at once; whoever does not only holds a connection open.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A whole request and its answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 64;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers on the admin port until `token` is cancelled.
///
/// Cancel it when the process ends, not when it begins to leave: a load balancer must be able to read that this
/// process is draining. Liveness is true as long as this task runs: it never depends on the bus.
pub async fn serve_admin(listener: TcpListener, metrics: Metrics, readiness: Readiness, token: CancellationToken) {
    token.run_until_cancelled(accept(listener, metrics, readiness)).await;
}

async fn accept(listener: TcpListener, metrics: Metrics, readiness: Readiness) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (metrics, readiness) = (metrics.clone(), readiness.clone());
                tokio::spawn(async move {
                    serve_one(stream, &metrics, &readiness).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: the error would come back at once without a pause.
                warn!(%error, "admin port cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_one(stream: TcpStream, metrics: &Metrics, readiness: &Readiness) {
    let answer = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(request.method(), request.uri().path(), metrics, readiness).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        // One request a connection keeps the bounds above simple.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "admin connection"),
        Err(_) => debug!("admin connection timed out"),
    }
}

async fn answer(method: &Method, path: &str, metrics: &Metrics, readiness: &Readiness) -> Response<Full<Bytes>> {
    let known = matches!(path, "/metrics" | "/livez" | "/readyz");
    if !known {
        return text(StatusCode::NOT_FOUND, TEXT, "not found".into());
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET only".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match (path, readiness.missing()) {
        ("/metrics", _) => {
            // Of its own thread: the kernel counts a hundred thousand descriptors one by one.
            let metrics = metrics.clone();
            match tokio::task::spawn_blocking(move || metrics.render()).await {
                Ok(rendered) => text(StatusCode::OK, METRICS_TEXT, rendered),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
            }
        }
        ("/livez", _) => text(StatusCode::OK, TEXT, "live".into()),
        (_, None) => text(StatusCode::OK, TEXT, "ready".into()),
        (_, Some(word)) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, word.into()),
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn start() -> (SocketAddr, Readiness, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (readiness, token) = (Readiness::new(&["bus"]), CancellationToken::new());
        let metrics = Metrics::install().expect("metrics");
        let served = tokio::spawn(serve_admin(listener, metrics, readiness.clone(), token.clone()));
        (address, readiness, token, served)
    }

    async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        let status = answer[9..12].parse().expect("status");
        (status, answer.split_once("\r\n\r\n").expect("head").1.to_owned())
    }

    #[tokio::test]
    async fn tells_metrics_life_and_readiness_and_nothing_else() {
        let (address, readiness, token, served) = start().await;
        metrics::counter!("test_asked_total").increment(1);

        assert_eq!(ask(address, "GET", "/livez").await, (200, "live".into()));
        assert_eq!(ask(address, "GET", "/readyz").await, (503, "bus".into()));
        readiness.set("bus", true);
        assert_eq!(ask(address, "GET", "/readyz").await, (200, "ready".into()));
        readiness.draining();
        assert_eq!(ask(address, "GET", "/readyz").await, (503, "draining".into()));
        assert_eq!(ask(address, "GET", "/livez").await.0, 200);

        let (status, body) = ask(address, "GET", "/metrics").await;
        assert_eq!(status, 200);
        assert!(body.contains("test_asked_total 1"), "{body}");

        assert_eq!(ask(address, "GET", "/").await.0, 404);
        assert_eq!(ask(address, "POST", "/readyz").await.0, 405);
        assert_eq!(ask(address, "DELETE", "/admin").await.0, 404);

        token.cancel();
        served.await.expect("the server ends");
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_cut_off() {
        let (address, _readiness, token, served) = start().await;
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").await.expect("write");
        let mut rest = Vec::new();
        let cut = tokio::time::timeout(CONNECTION_TIMEOUT, stream.read_to_end(&mut rest)).await;
        assert!(cut.is_ok(), "the connection is still open");
        token.cancel();
        served.await.expect("the server ends");
    }
}
