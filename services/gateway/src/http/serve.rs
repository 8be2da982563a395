//! Accepts connections and serves HTTP on them.

use super::{
    Tls, first,
    intake::{self, Intake, Seat},
    linger::Lingering,
    requests::{Heads, Part},
};
use crate::transport::SocketTimes;
use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::SockRef;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// How long answers under way may take when the process leaves.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// Who is connected, as the kernel says.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// How connections are taken.
#[derive(Clone)]
pub struct Terms {
    /// How long the kernel may try.
    pub times: SocketTimes,
    /// What a client's handshake of TLS, and then the head of each request, may take.
    pub heads: Heads,
    /// Where TLS is spoken.
    pub tls: Option<Tls>,
    /// How many sockets are taken.
    pub intake: Intake,
}

impl Terms {
    /// The same without TLS.
    #[must_use]
    pub fn in_plain(&self) -> Self {
        Self { tls: None, ..self.clone() }
    }

    /// The same with other bounds.
    #[must_use]
    pub fn taking(&self, intake: Intake) -> Self {
        Self { intake, ..self.clone() }
    }

    /// For who is only told that there is no place.
    fn in_brief(&self) -> Self {
        let heads = Heads { time: self.heads.time.min(intake::TELLING_TIME), ..self.heads };
        Self { heads, ..self.clone() }
    }
}

/// Serves until `token` is cancelled, then answers what was asked before; connections that were upgraded live on in
/// their sessions.
pub async fn serve(listener: TcpListener, router: Router, terms: Terms, token: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = token.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let life = (token.clone(), connections.clone());
                match terms.intake.admit(peer.ip()) {
                    Ok(seat) => drop(connections.spawn(take(stream, peer, router.clone(), terms.clone(), life, seat))),
                    // Closed, where too many are being told.
                    Err(crowded) => drop(
                        terms
                            .intake
                            .tell()
                            .map(|seat| connections.spawn(take(stream, peer, crowded.router(), terms.in_brief(), life, seat))),
                    ),
                }
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

async fn take(
    mut stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    terms: Terms,
    (token, connections): (CancellationToken, TaskTracker),
    _seat: Seat,
) {
    if let Some(tls) = &terms.tls {
        // Apart, so that the task of who speaks in plain has no place for it.
        set_up(&stream, &terms);
        return Box::pin(take_by_tls(tls, stream, peer, router, terms.heads, token)).await;
    }
    let first = first::request(&mut stream, Peer(peer.ip()));
    let first = tokio::select! {
        first = tokio::time::timeout(terms.heads.time, first) => first,
        () = token.cancelled() => Ok(None),
    };
    match first {
        Ok(Some(request)) => {
            let response = first::ask(router, request).await;
            if let Some((socket, response)) = first::hand_over(stream, terms.times, response) {
                // In a task of its own, which is far smaller than this one.
                connections.spawn(first::answer(socket, response));
            }
        }
        Ok(None) => {
            set_up(&stream, &terms);
            speak(stream, peer, router, terms.heads, token).await;
        }
        Err(_) => tracing::trace!("a client has said nothing"),
    }
}

fn set_up(stream: &TcpStream, terms: &Terms) {
    // Events are small and must not wait for each other's acknowledgement.
    let _ = stream.set_nodelay(true);
    // Who stops reading an event stream holds its session for no longer than this.
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(terms.times.unacknowledged));
}

async fn take_by_tls(tls: &Tls, stream: TcpStream, peer: SocketAddr, router: Router, heads: Heads, token: CancellationToken) {
    let greeted = tokio::select! {
        greeted = tls.greet(stream, heads.time) => greeted,
        () = token.cancelled() => None,
    };
    if let Some(stream) = greeted {
        speak(stream, peer, router, heads, token).await;
    }
}

/// HTTP on one connection.
async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    router: Router,
    heads: Heads,
    token: CancellationToken,
) {
    // Not the builder that finds the version out: it waits for the first bytes for ever.
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(heads.time);
    // The buffer's bound alone lets a head pass that was read with what came before it.
    builder.max_buf_size(heads.bytes).max_header_size(heads.bytes);
    let connection = builder.serve_connection(
        TokioIo::new(Lingering::new(stream)),
        TowerToHyperService::new(router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer.ip()));
            request
        })),
    );
    let mut connection = std::pin::pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = token.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        if error.is_parse_too_large() {
            Part::Head.count();
        }
        tracing::trace!(%error, "a connection ended");
    }
}
