//! `/socket.io/`: from requests of Engine.IO to sessions.

use super::{App, Opened, admission, answer, peer, poll, upgrade, who};
use crate::{
    hub::{Heeds, Place},
    metrics::TurnedAway,
    session::{Connection, Pass},
    transport::{Ask, Engine},
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method as HttpMethod, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use weft_dialect::{
    engine::{Handshake, Method, Query, Refusal, Request as Asked, Times, Transport},
    socketio::{Purpose, SessionId},
    told,
};
use weft_guard::bearer::Purpose as Bearing;

/// Times and bounds of Engine.IO.
#[derive(Clone, Debug)]
pub struct EngineLimits {
    /// Times of a session.
    pub times: Arc<Times>,
    /// Largest body of a POST and of the answer to a poll, in bytes; of the latter, one packet may be larger.
    pub payload_bytes_max: usize,
}

/// Every request to the Engine.IO path.
pub async fn serve(State(app): State<App>, request: Request) -> Response {
    let uri = request.uri().clone();
    let query = match Query::parse(uri.query().unwrap_or_default()) {
        Ok(query) => query,
        Err(refusal) => return refuse(refusal),
    };
    match query.admit(method(&request), is_upgrade(request.headers())) {
        Ok(Asked::Open(transport)) => open(app, request, transport, query.bears_recovery()).await,
        Ok(asked @ (Asked::Poll(sid) | Asked::Post(sid) | Asked::Upgrade(sid))) => {
            // A forged one is not even looked for.
            match SessionId::verify(&app.shared.fleet_key, Purpose::Engine, sid) {
                Some(sid) if sid.instance() == app.shared.instance => ask(app, asked, request).await,
                Some(sid) => peer::pass_on(&app, &sid, request).await,
                None => refuse(Refusal::UnknownSid),
            }
        }
        Err(refusal) => refuse(refusal),
    }
}

async fn open(app: App, request: Request, transport: Transport, bears_recovery: bool) -> Response {
    let purpose = match transport {
        Transport::WebSocket => Bearing::Upgrade,
        Transport::Polling => Bearing::SocketIo,
    };
    match (opened(&app, who::Head::of(&app, &request), purpose, bears_recovery).await, transport) {
        (Ok(opened), Transport::WebSocket) => open_socket(app, request, opened),
        (Ok(opened), Transport::Polling) => open_polling(&app, opened),
        (Err(refusal), _) => refusal.into_response(),
    }
}

/// A request of a session that this gateway holds, or has held.
pub(super) async fn ask(app: App, asked: Asked<'_>, request: Request) -> Response {
    let (Asked::Poll(sid) | Asked::Post(sid) | Asked::Upgrade(sid)) = asked else { return refuse(Refusal::BadRequest) };
    let Some(mailbox) = app.mailboxes.find(sid) else {
        return match asked {
            // A browser cannot read a refused upgrade.
            Asked::Upgrade(_) => upgrade::turn_away(app, request),
            _ => refuse(Refusal::UnknownSid),
        };
    };
    match asked {
        Asked::Poll(_) => poll::poll(mailbox).await,
        Asked::Post(_) => poll::post(&app, &mailbox, request).await,
        _ => upgrade::probe(app, request, mailbox.is_known(), move |socket| _ = mailbox.ask(Ask::Probe(Box::new(socket)))),
    }
}

/// Who opens a connection. A token that is not accepted is told in the namespace: nowhere else would the client hear it.
async fn opened(app: &App, head: who::Head, purpose: Bearing, bears_recovery: bool) -> Result<Opened, answer::Refusal> {
    admission::check_draining(app)?;
    let address = head.arrive(app)?;
    // Who heeds no hint is let in, now or after a while, or refused.
    let _ = admission::ask(app, Heeds::Nothing).await?;
    let identified = head.identify(app, purpose).await;
    let (caller, refused) = match identified {
        Ok(caller) => (caller, None),
        // By an answer where there is one: its client comes again by itself. Others are closed when they ask for a namespace.
        Err(refused) if refused.is_passing() && purpose == Bearing::SocketIo => {
            app.shared.hub.metrics.turned_away(TurnedAway::Token);
            return Err(refused.into());
        }
        Err(refused) => (None, Some(refused)),
    };
    Ok(Opened { bears_recovery, pass: Pass::of_socketio(caller, refused, address, app.sockets.limits.clone()) })
}

/// A session that is polled, for now. Its client is greeted by this answer.
fn open_polling(app: &App, opened: Opened) -> Response {
    let Some(place) = app.shared.hub.admit(Heeds::Nothing) else {
        return admission::refuse(app, told::OVERLOADED, TurnedAway::Capacity, admission::pause()).into_response();
    };
    let sid = new_sid(app);
    let EngineLimits { times, payload_bytes_max } = &app.sockets.engine;
    let engine = Engine::polling(app.mailboxes.register(sid.as_str()), times.clone(), began(app), *payload_bytes_max);
    (app.begin_packets)(app, place, engine, opened);
    poll::text(greeting(app, &sid, Transport::Polling).into())
}

/// The sessions of A and D, each a task of its own.
pub fn begin(app: &App, place: Place, engine: Engine, opened: Opened) {
    tokio::spawn(Connection::of_packets(app.shared.clone(), place, opened.pass, engine, opened.bears_recovery));
}

/// A session on a WebSocket from its beginning.
fn open_socket(app: App, request: Request, opened: Opened) -> Response {
    let greeting = greeting(&app, &new_sid(&app), Transport::WebSocket);
    upgrade::packets(app, request, move |app, place, socket| {
        let engine = Engine::on_web_socket(socket, greeting, app.sockets.engine.times.clone(), began(app));
        (app.begin_packets)(app, place, engine, opened);
    })
}

fn new_sid(app: &App) -> SessionId {
    SessionId::make(&app.shared.fleet_key, Purpose::Engine, &app.shared.instance, rand::random())
}

fn greeting(app: &App, sid: &SessionId, transport: Transport) -> String {
    let EngineLimits { times, payload_bytes_max } = &app.sockets.engine;
    let handshake = Handshake {
        sid: sid.as_str(),
        transport,
        ping_interval_ms: times.ping_interval,
        ping_timeout_ms: times.ping_timeout,
        payload_bytes_max: *payload_bytes_max,
    };
    handshake.text()
}

/// When a session began. Up to half a period ago, so that those that came together do not ping together.
fn began(app: &App) -> u64 {
    let now = u64::from(app.shared.hub.wheel.now()) * 1000;
    let early = rand::random_range(0..=app.sockets.engine.times.ping_interval / 2000) * 1000;
    now.saturating_sub(early)
}

pub(super) fn refuse(refusal: Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.http()).unwrap_or(StatusCode::BAD_REQUEST);
    (status, [(header::CONTENT_TYPE, "application/json")], refusal.body()).into_response()
}

/// The method, as far as it matters.
pub(super) fn method(request: &Request) -> Method {
    match *request.method() {
        HttpMethod::GET => Method::Get,
        HttpMethod::POST => Method::Post,
        _ => Method::Other,
    }
}

pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
