//! From an HTTP request to a session: the handshake is answered, then the bare socket is taken over.

use super::{
    App, admission,
    answer::Refusal,
    extract::{Path, Query, history_logs, resume},
    takeover, who,
};
use crate::{
    hub::{Heeds, Place},
    metrics::{Ended, TurnedAway},
    session::{Badge, Connection, Following, Pass, farewell},
    transport::{Dialect, Engine, Transport, WebSocket, Wire},
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use std::{collections::VecDeque, task::Poll, time::Duration};
use tokio::sync::OwnedSemaphorePermit;
use weft_dialect::{
    native::{self, Encoding},
    told::{self, CloseCode, ErrorCode},
    websocket::{Handshake, Unacceptable, handshake},
};
use weft_event::{Resume, Room};
use weft_guard::{
    bearer::Purpose,
    limits::{AddressShare, Full},
};

/// How long a client that is turned away may take to go.
const GOODBYE: Duration = Duration::from_secs(2);

/// `GET /api/ws`: the native protocol.
pub async fn native(State(app): State<App>, request: Request) -> Response {
    upgrade(app, request, Dialect::Native, None).await
}

/// `?offset=` and `?history=` of C, `?after=` of E. The rest of the query is none of ours.
#[derive(Debug, Deserialize)]
pub struct From {
    offset: Option<String>,
    history: Option<String>,
    after: Option<String>,
}

/// `GET /api/ws/executions/{execution_id}`: system C. Without an offset it begins with the present state, before it the
/// retained logs if they are asked for.
pub async fn c(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(from): Query<From>,
    request: Request,
) -> Result<Response, Refusal> {
    let room = Room::execution(&id)?;
    let resume = from.offset.as_deref().map(|text| resume("offset", text)).transpose()?;
    let history_logs = history_logs(from.history.as_deref())?;
    let following = Following { room, resume, snapshot: resume.is_none(), history_logs };
    Ok(upgrade(app, request, Dialect::C, Some(following)).await)
}

/// `GET /ws/executions/{execution_id}/logs`: system E. Without an offset it begins with the first entry that is retained.
pub async fn e(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(from): Query<From>,
    request: Request,
) -> Result<Response, Refusal> {
    let room = Room::execution(&id)?;
    let resume = from.after.as_deref().map(|text| resume("after", text)).transpose()?;
    let following = Following { room, resume: Some(resume.unwrap_or(Resume::Start)), snapshot: false, history_logs: false };
    Ok(upgrade(app, request, Dialect::E, Some(following)).await)
}

async fn upgrade(app: App, mut request: Request, dialect: Dialect, following: Option<Following>) -> Response {
    let (handshake, chosen, wire) = match agree(&app, request.headers(), dialect) {
        Ok(agreed) => agreed,
        Err(unacceptable) => return refuse(unacceptable),
    };
    let heeds = Heeds::of(dialect, chosen.is_some());
    let (pass, guest) = match come(&app, who::Head::of(&app, &request), dialect, heeds).await {
        Ok(come) => come,
        Err(refusal) => return refusal.into_response(),
    };
    let following = following.map(|following| following.at_home(pass.as_deref()));
    let answer = (switch(&handshake, chosen), wire);
    let is_unknown = pass.as_ref().is_some_and(|pass| pass.is_to_be_shown());
    take_over(&app, &mut request, answer, (guest, is_unknown), move |app, place, socket| {
        tokio::spawn(Connection::new(app.shared.clone(), place, pass, socket, following));
    })
}

/// Somebody asks for an upgrade: who it is, and whether it stays. What one address may take is looked at first, so that one
/// cannot use up what there is for all; a token last, because that costs most.
async fn come(app: &App, head: who::Head, dialect: Dialect, heeds: Heeds) -> Result<(Option<Box<Pass>>, Guest), Refusal> {
    admission::check_draining(app)?;
    let address = match head.arrive(app) {
        Ok(address) => address,
        Err(full) => return Ok((None, Guest::turn_away(app, Sorry::crowded(full))?)),
    };
    if let Some(after) = admission::ask(app, heeds).await? {
        return Ok((None, Guest::turn_away(app, Sorry::overloaded(TurnedAway::Rate, after))?));
    }
    match let_in(app, head, address, dialect).await {
        Ok(pass) => Ok((pass, Guest::come(app, heeds)?)),
        Err(sorry) => Ok((None, Guest::turn_away(app, sorry)?)),
    }
}

/// What a client's handshake comes to.
fn agree(app: &App, headers: &HeaderMap, dialect: Dialect) -> Result<(Handshake, Option<&'static str>, Wire), Unacceptable> {
    let values = |name: &'static str| values(headers, name);
    // The others' frames are few and small; only native ones are compressed.
    let compression = app.sockets.compression && dialect == Dialect::Native;
    let handshake = Handshake::accept(values, compression)?;
    let offers = [Encoding::Json, Encoding::MessagePack];
    let chosen = (dialect == Dialect::Native)
        .then(|| handshake::choose_subprotocol(values("sec-websocket-protocol"), &offers.map(Encoding::subprotocol)))
        .flatten();
    let encoding = offers.into_iter().find(|offer| Some(offer.subprotocol()) == chosen).unwrap_or_default();
    let wire = Wire { dialect, encoding, deflate: handshake.extensions.is_some() };
    Ok((handshake, chosen, wire))
}

/// Who asks for an upgrade, and whether it may have one.
async fn let_in(app: &App, head: who::Head, address: AddressShare, dialect: Dialect) -> Result<Option<Box<Pass>>, Sorry> {
    let unknown = Sorry { code: told::TOKEN_REQUIRED, error: told::UNAUTHENTICATED, why: TurnedAway::Token, after: None };
    let identified = head.identify(app, Purpose::Upgrade).await;
    let identified = identified.map_err(|refused| match refused.is_passing() {
        true => Sorry::overloaded(TurnedAway::Token, admission::pause()),
        false => unknown,
    })?;
    match identified.or_else(|| app.shared.guard.stranger()) {
        Some(caller) => Ok(Pass::of(Badge::new(caller, &app.shared.bounds).map_err(Sorry::crowded)?, address)),
        None if dialect == Dialect::Native => {
            let full = app.sockets.limits.clone();
            Ok(Some(Pass::to_be_shown(address, app.shared.limits.auth_secs, full)))
        }
        None => Err(unknown),
    }
}

/// What somebody is told who does not come in.
#[derive(Clone, Copy)]
struct Sorry {
    /// The code to close with: a browser cannot read a refused upgrade.
    code: CloseCode,
    /// What is answered where too many are being told so.
    error: ErrorCode,
    why: TurnedAway,
    /// When it may come again, if it need change nothing else.
    after: Option<Duration>,
}

impl Sorry {
    fn crowded(full: Full) -> Self {
        tracing::debug!(%full, "a client has too many connections");
        Self { code: told::POLICY, error: told::RATE_LIMITED, why: TurnedAway::Client, after: None }
    }

    fn overloaded(why: TurnedAway, after: Duration) -> Self {
        Self { code: told::TRY_AGAIN_LATER, error: told::OVERLOADED, why, after: Some(after) }
    }

    /// Tells it, in the words of its dialect and by the close frame.
    async fn tell(self, mut socket: WebSocket) {
        let Some(after) = self.after else { return close(socket, self.code).await };
        let after_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        let wire = socket.wire();
        if wire.dialect == Dialect::Native {
            let mut frames = VecDeque::from([wire.own(native::reconnect(wire.encoding, u64::from(after_ms)))]);
            // What the socket does not take at once is said by the close frame.
            let _ = std::future::poll_fn(|context| Poll::Ready(socket.poll_write(context, &mut frames))).await;
        }
        socket.begin_close_saying(self.code, &farewell("overloaded", after_ms));
        see_off(socket).await;
    }
}

/// What becomes of who asks for an upgrade.
enum Guest {
    Admitted(Place),
    /// It does not come in, and is told so by a close code: as many at once as there are permits.
    TurnedAway(OwnedSemaphorePermit, Sorry),
}

impl Guest {
    fn come(app: &App, heeds: Heeds) -> Result<Self, Refusal> {
        match app.shared.hub.admit(heeds) {
            Some(place) => Ok(Self::Admitted(place)),
            None => Self::turn_away(app, Sorry::overloaded(TurnedAway::Capacity, admission::pause())),
        }
    }

    /// To be told by a close code, or where there is no permit for it by an error.
    fn turn_away(app: &App, sorry: Sorry) -> Result<Self, Refusal> {
        let permit = app.sockets.turned_away.clone().try_acquire_owned();
        permit
            .map(|permit| Self::TurnedAway(permit, sorry))
            .map_err(|_| admission::refuse(app, sorry.error, sorry.why, sorry.after.unwrap_or_else(admission::pause)))
    }
}

/// A WebSocket for Engine.IO; `begin` gets it when its handshake is done.
pub(super) fn packets(app: App, mut request: Request, begin: impl FnOnce(&App, Place, WebSocket) + Send + 'static) -> Response {
    let handshake = match Handshake::accept(|name| values(request.headers(), name), false) {
        Ok(handshake) => handshake,
        Err(unacceptable) => return refuse(unacceptable),
    };
    let guest = match Guest::come(&app, Heeds::Nothing) {
        Ok(guest) => guest,
        Err(refusal) => return refusal.into_response(),
    };
    take_over(&app, &mut request, (switch(&handshake, None), Engine::WIRE), (guest, true), begin)
}

/// A WebSocket for a session that has a place already; `begin` gets it when its handshake is done.
pub(super) fn probe(app: App, mut request: Request, is_known: bool, begin: impl FnOnce(WebSocket) + Send + 'static) -> Response {
    let handshake = match Handshake::accept(|name| values(request.headers(), name), false) {
        Ok(handshake) => handshake,
        Err(unacceptable) => return refuse(unacceptable),
    };
    let first = app.sockets.first_limits.as_ref().filter(|_| !is_known);
    let limits = first.unwrap_or(&app.sockets.limits).clone();
    takeover::arrange(&app, &mut request, switch(&handshake, None), |opened| begin(opened.into_socket(Engine::WIRE, limits)))
}

/// A WebSocket for a session that is over, or has one: opened and closed, so that a browser learns of it at once.
pub(super) fn turn_away(app: App, request: Request) -> Response {
    let Ok(permit) = app.sockets.turned_away.clone().try_acquire_owned() else {
        return admission::refuse(&app, told::OVERLOADED, TurnedAway::Rate, admission::pause()).into_response();
    };
    probe(app, request, false, |socket| {
        tokio::spawn(async move {
            close(socket, told::POLICY).await;
            drop(permit);
        });
    })
}

/// Says goodbye to who never came in.
async fn close(mut socket: WebSocket, code: CloseCode) {
    socket.begin_close(Some(code));
    see_off(socket).await;
}

async fn see_off(mut socket: WebSocket) {
    let _ = tokio::time::timeout(GOODBYE, std::future::poll_fn(|context| socket.poll_close(context))).await;
}

fn values<'h>(headers: &'h HeaderMap, name: &'static str) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

fn refuse(unacceptable: Unacceptable) -> Response {
    let mut response = Refusal::new(told::INVALID, unacceptable.to_string()).into_response();
    if let Ok(status) = StatusCode::from_u16(unacceptable.http()) {
        *response.status_mut() = status;
    }
    response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(handshake::VERSION));
    response
}

/// 101, with what was agreed on.
fn switch(handshake: &Handshake, subprotocol: Option<&'static str>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    // Base64 of 20 bytes is always a legal value.
    if let Ok(accept) = HeaderValue::from_str(&handshake.accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    let mut insert = |name: HeaderName, value: Option<&'static str>| {
        value.map(|value| headers.insert(name, HeaderValue::from_static(value)));
    };
    insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    insert(header::SEC_WEBSOCKET_EXTENSIONS, handshake.extensions);
    response
}

/// Has the socket, when the handshake is done, taken over by `begin`, or told why it does not come in.
fn take_over(
    app: &App,
    request: &mut Request,
    (answer, wire): (Response, Wire),
    (guest, is_unknown): (Guest, bool),
    begin: impl FnOnce(&App, Place, WebSocket) + Send + 'static,
) -> Response {
    let taker = app.clone();
    takeover::arrange(app, request, answer, move |opened| {
        let limits = if is_unknown { taker.sockets.first_limits.as_ref() } else { None };
        let socket = opened.into_socket(wire, limits.unwrap_or(&taker.sockets.limits).clone());
        match guest {
            Guest::Admitted(place) => begin(&taker, place, socket),
            Guest::TurnedAway(permit, sorry) => {
                taker.shared.hub.metrics.turned_away(sorry.why);
                taker.shared.hub.metrics.closed(sorry.code.code, Ended::of(&sorry.code));
                tokio::spawn(async move {
                    sorry.tell(socket).await;
                    drop(permit);
                });
            }
        }
    })
}
