//! Requests of sessions that another gateway holds: passed on to it, so that a load balancer needs no affinity.
//!
//! The owner stands in the session's id, which nobody can forge; where it is reached it has announced on the bus. Both
//! ends hold the fleet's key: each request shows a sign made with it, for this receiver and this moment alone.

use super::{
    App,
    engine::{ask, is_upgrade, method, refuse},
    tunnel,
};
use crate::{hub::Hub, transport::Counted};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use hyper::{body::Incoming, client::conn::http1, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::OwnedSemaphorePermit};
use tokio_util::task::AbortOnDropHandle;
use weft_dialect::{
    engine::{Query, Refusal, Request as Asked},
    socketio::{FleetKey, Purpose, SessionId},
};

/// Shows that a request comes from a gateway of the fleet.
const SIGN: HeaderName = HeaderName::from_static("weft-peer");
/// How far the clocks of two gateways may be apart, with the time that a request takes, in seconds.
const APART_SECS: u64 = 60;
/// A gateway that takes no connection in this time is taken for dead.
const CONNECT_TIME: Duration = Duration::from_secs(2);
/// Longer than any poll waits: pings end it before.
const ANSWER_TIME: Duration = Duration::from_secs(120);
/// What is passed on of a request and of its answer.
const HEADERS: [HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

fn now_secs() -> u64 {
    crate::feed::heads::now_ms() / 1000
}

/// What is shown to the gateway of this name.
fn sign(key: &FleetKey, receiver: &str) -> SessionId {
    SessionId::make(key, Purpose::Peer, &format!("{receiver}~{}", now_secs()), rand::random())
}

/// Whether a sign was made for us, and just now.
fn is_signed(key: &FleetKey, receiver: &str, headers: &HeaderMap) -> bool {
    let sign = headers.get(SIGN).and_then(|sign| SessionId::verify(key, Purpose::Peer, sign.to_str().ok()?));
    let moment = sign.as_ref().and_then(|sign| sign.instance().rsplit_once('~'));
    moment
        .is_some_and(|(of, secs)| of == receiver && secs.parse::<u64>().is_ok_and(|secs| secs.abs_diff(now_secs()) <= APART_SECS))
}

/// A request that another gateway passes on to us.
pub async fn serve(State(app): State<App>, request: Request) -> Response {
    if !is_signed(&app.shared.fleet_key, &app.shared.instance, request.headers()) {
        return refuse(Refusal::Forbidden);
    }
    let uri = request.uri().clone();
    let Ok(query) = Query::parse(uri.query().unwrap_or_default()) else { return refuse(Refusal::BadRequest) };
    match query.admit(method(&request), is_upgrade(request.headers())) {
        // A session is opened where its client comes in.
        Ok(Asked::Open(_)) => refuse(Refusal::BadRequest),
        Ok(asked) => ask(app, asked, request).await,
        Err(refusal) => refuse(refusal),
    }
}

/// Why a request was not passed on. The client is told that its session is unknown, and begins anew at once.
#[derive(Debug, thiserror::Error)]
enum NotPassedOn {
    #[error("no gateway of this name is alive")]
    Unknown,
    #[error("as many requests are passed on as may be")]
    Full,
    #[error("the gateway cannot be reached: {0}")]
    Unreachable(String),
}

impl NotPassedOn {
    fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Full => "full",
            Self::Unreachable(_) => "unreachable",
        }
    }
}

/// Passes a request on to the gateway that holds its session.
pub async fn pass_on(app: &App, sid: &SessionId, request: Request) -> Response {
    match try_pass_on(app, sid, request).await {
        Ok(response) => {
            app.shared.hub.metrics.passed_on("answered");
            response
        }
        Err(reason) => {
            tracing::debug!(peer = sid.instance(), %reason, "a request could not be passed on");
            app.shared.hub.metrics.passed_on(reason.word());
            refuse(Refusal::UnknownSid)
        }
    }
}

async fn try_pass_on(app: &App, sid: &SessionId, mut request: Request) -> Result<Response, NotPassedOn> {
    let peers = app.peers.as_ref().ok_or(NotPassedOn::Unknown)?;
    let address = peers.address_of(sid.instance()).await.ok_or(NotPassedOn::Unknown)?;
    let permit = peers.permits.clone().try_acquire_owned().map_err(|_| NotPassedOn::Full)?;
    let client = is_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let passed = repeated(request, address, &sign(&app.shared.fleet_key, sid.instance()));
    let (mut response, connection) = send(address, passed).await?;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = only_known(response.headers());
    match client {
        Some(client) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let owner = hyper::upgrade::on(&mut response);
            connection.detach();
            tokio::spawn(pass_through(app.shared.hub.clone(), client, owner, permit));
        }
        _ => {
            connection.detach();
            *answer.body_mut() = Body::new(response.into_body());
        }
    }
    Ok(answer)
}

/// The same request, as it goes to a peer.
fn repeated(request: Request, address: SocketAddr, sign: &SessionId) -> Request {
    let (parts, body) = request.into_parts();
    let mut passed = Request::new(body);
    *passed.method_mut() = parts.method;
    // One of the two addresses that clients may use.
    let query = parts.uri.query().unwrap_or_default();
    *passed.uri_mut() = format!("/socket.io/?{query}").parse().unwrap_or_default();
    let mut headers = only_known(&parts.headers);
    // An address and base64 are always legal values.
    for (name, value) in [(header::HOST, address.to_string()), (SIGN, sign.as_str().to_owned())] {
        headers.extend(HeaderValue::from_str(&value).map(|value| (name, value)));
    }
    *passed.headers_mut() = headers;
    passed
}

fn only_known(headers: &HeaderMap) -> HeaderMap {
    HEADERS.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect()
}

/// Sends it over a connection of its own: one that was kept could turn out to be dead only when its answer fails to come.
async fn send(address: SocketAddr, request: Request) -> Result<(Response<Incoming>, Connection), NotPassedOn> {
    let unreachable = |error: &dyn std::fmt::Display| NotPassedOn::Unreachable(error.to_string());
    let stream = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(address)).await;
    let stream = stream.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    // With whoever waits for the answer goes the connection, by which the owner hears of it.
    let counted = Counted::one();
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        let _counted = counted;
        let _ = connection.with_upgrades().await;
    }));
    let answer = tokio::time::timeout(ANSWER_TIME, sender.send_request(request)).await;
    let answer = answer.map_err(|error| unreachable(&error))?.map_err(|error| unreachable(&error))?;
    Ok((answer, connection))
}

type Connection = AbortOnDropHandle<()>;

/// Carries a WebSocket's bytes, once both sides have taken it for one.
async fn pass_through(hub: Arc<Hub>, client: OnUpgrade, owner: OnUpgrade, _permit: OwnedSemaphorePermit) {
    let (Ok(client), Ok(owner)) = tokio::join!(client, owner) else { return };
    // Neither is a connection's any more.
    let _counted = [Counted::one(), Counted::one()];
    if let Err(error) = tunnel::carry(&hub, TokioIo::new(client), TokioIo::new(owner)).await {
        tracing::trace!(%error, "a WebSocket that was passed on has ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_for_one_receiver_and_one_moment() {
        let key = FleetKey::new(&[7; 32]).expect("long enough");
        let shown = |sign: &SessionId| {
            let mut headers = HeaderMap::new();
            headers.insert(SIGN, HeaderValue::from_str(sign.as_str()).expect("legal"));
            headers
        };
        assert!(is_signed(&key, "b", &shown(&sign(&key, "b"))));
        assert!(!is_signed(&key, "c", &shown(&sign(&key, "b"))));
        assert!(!is_signed(&FleetKey::new(&[8; 32]).expect("long enough"), "b", &shown(&sign(&key, "b"))));
        assert!(!is_signed(&key, "b", &HeaderMap::new()));
        let old = format!("b~{}", now_secs() - APART_SECS - 5);
        assert!(!is_signed(&key, "b", &shown(&SessionId::make(&key, Purpose::Peer, &old, [1; 16]))));
        let of_a_session = SessionId::make(&key, Purpose::Engine, &format!("b~{}", now_secs()), [1; 16]);
        assert!(!is_signed(&key, "b", &shown(&of_a_session)));
    }
}
