//! Who asks: found out for every request before anything is done for it.

use super::{App, admission, answer::Refusal, serve::Peer, stream};
use crate::{hub::Reader, metrics::TurnedAway};
use axum::{
    extract::{FromRequestParts, Request},
    http::{Extensions, HeaderMap, Method, Uri, request::Parts},
    response::{IntoResponse, Response},
};
use rustc_hash::FxHasher;
use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr},
};
use weft_dialect::told;
use weft_event::Room;
use weft_guard::{
    Caller, Refused, Verdict,
    bearer::{self, Purpose},
    guard::Unanswered,
    limits::{AddressShare, Full},
    owners,
};

/// Who sent a request, by its token or as a stranger who may ask for what is public.
pub struct Visitor {
    /// Who.
    pub caller: Caller,
    /// From where.
    pub address: IpAddr,
}

/// The address that a request is counted by.
fn address(app: &App, extensions: &Extensions, headers: &HeaderMap) -> IpAddr {
    // Requests come with the address of their connection; what does not is taken for this machine.
    let peer = extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0);
    app.shared.bounds.client(peer, headers)
}

/// The head of a request, apart from its body.
pub struct Head {
    method: Method,
    headers: HeaderMap,
    uri: Uri,
    address: IpAddr,
}

impl Head {
    /// Of this request.
    pub fn of(app: &App, request: &Request) -> Self {
        let address = address(app, request.extensions(), request.headers());
        let (method, headers) = (request.method().clone(), request.headers().clone());
        Self { method, headers, uri: request.uri().clone(), address }
    }

    /// A connection more of its address.
    pub fn arrive(&self, app: &App) -> Result<AddressShare, Full> {
        app.shared.bounds.arrive(self.address)
    }

    /// Who a token in it stands for; `None` where it brings none.
    pub async fn identify(&self, app: &App, purpose: Purpose) -> Result<Option<Caller>, Refused> {
        identify(app, purpose, &self.method, &self.headers, &self.uri).await
    }
}

/// A connection more of an address.
pub fn arrive(app: &App, address: IpAddr) -> Result<AddressShare, Refusal> {
    app.shared.bounds.arrive(address).map_err(Refusal::from)
}

/// Who a token in this request stands for; `None` where it brings none.
async fn identify(
    app: &App,
    purpose: Purpose,
    method: &Method,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Option<Caller>, Refused> {
    let guard = &app.shared.guard;
    if let Some(caller @ Caller::Everyone) = guard.stranger() {
        return Ok(Some(caller));
    }
    let token = guard.places().token(purpose, method, headers, uri.query());
    let identified = match token {
        Ok(Some(token)) => guard.admit(&token).await.map(Some),
        Ok(None) => Ok(None),
        Err(refused) => Err(refused),
    };
    if let Err(refused) = &identified {
        let path = bearer::redacted_url(&uri.to_string());
        tracing::debug!(%refused, path = %weft_guard::Shown(&path), "a token was not accepted");
    }
    identified
}

impl FromRequestParts<App> for Visitor {
    type Rejection = NotAdmitted;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, NotAdmitted> {
        let is_stream = parts.method == Method::GET && stream::is_wanted(&parts.headers);
        let purpose = if is_stream { Purpose::EventStream } else { Purpose::Request };
        let identified = identify(app, purpose, &parts.method, &parts.headers, &parts.uri).await;
        if is_stream && identified.as_ref().is_err_and(|refused| refused.is_passing()) {
            app.shared.hub.metrics.turned_away(TurnedAway::Token);
            return Err(NotAdmitted::ComeAgain);
        }
        let caller = identified.map_err(Refusal::from)?;
        let caller = caller.or_else(|| app.shared.guard.stranger()).ok_or(Refusal::from(Refused::Missing))?;
        let address = address(app, &parts.extensions, &parts.headers);
        if parts.method == Method::GET {
            app.shared.bounds.read(&caller, address).map_err(Refusal::from)?;
        }
        Ok(Self { caller, address })
    }
}

/// Why a request goes no further.
#[derive(Debug)]
pub enum NotAdmitted {
    /// What it is answered.
    Refused(Refusal),
    /// It would be let in at another moment, and asks for an event stream: to an `EventSource` an error would be final.
    ComeAgain,
}

impl From<Refusal> for NotAdmitted {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl IntoResponse for NotAdmitted {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => refusal.into_response(),
            Self::ComeAgain => stream::come_again(admission::pause()),
        }
    }
}

impl Visitor {
    /// The room that it means, if it may read there. One that does not exist and one of somebody else are answered alike.
    pub async fn reads(&self, app: &App, room: &Room) -> Result<Room, Refusal> {
        let began = tokio::time::Instant::now();
        let room = self.caller.at_home(room)?;
        match app.shared.guard.follow(&app.shared.hub.bus, &self.caller, &room).await {
            Ok(Verdict::Yes) => Ok(room),
            Ok(Verdict::No) => Err(Refusal::plain(told::FORBIDDEN)),
            Ok(Verdict::Pending) => {
                owners::evenly(began).await;
                Err(Refusal::plain(told::NOT_FOUND))
            }
            Err(Unanswered::Bus(error)) => Err(error.into()),
            Err(Unanswered::Hook(_)) => Err(Refusal::plain(told::UNAVAILABLE).retry_after(1)),
        }
    }

    /// Who it is to those who read history for it: its address, or where everybody comes by one, its name.
    pub fn reader(&self) -> Reader {
        let mut hasher = FxHasher::default();
        (self.address, self.caller.tenant(), self.caller.subject()).hash(&mut hasher);
        // Apart from the numbers of sessions.
        Reader::Client(hasher.finish() | 1 << 63)
    }

    /// The execution's room, if it may answer its prompts and cancel it; counted as a command.
    pub async fn acts(&self, app: &App, execution: &Room) -> Result<Room, Refusal> {
        self.commands(app)?;
        self.may_act(app, execution).await
    }

    /// The execution's room, if it may act on it. One that does not exist and one of somebody else are answered alike, at a
    /// beat.
    pub async fn may_act(&self, app: &App, execution: &Room) -> Result<Room, Refusal> {
        let began = tokio::time::Instant::now();
        let room = self.caller.at_home(execution)?;
        if app.shared.guard.act(&app.shared.hub.bus, &self.caller, &room).await? {
            return Ok(room);
        }
        owners::evenly(began).await;
        Err(Refusal::plain(told::FORBIDDEN))
    }

    /// Counts a command to an executor among what its user asks for, as a `GET` is counted when it comes in; over a WebSocket
    /// each is a message, which is counted there.
    pub fn commands(&self, app: &App) -> Result<(), Refusal> {
        Ok(app.shared.bounds.read(&self.caller, self.address)?)
    }

    /// Refuses whose token has expired or was taken back since the request came in.
    pub fn is_still_admitted(&self, app: &App) -> Result<(), Refusal> {
        let has_expired = self.caller.time_left().is_some_and(|left| left.is_zero());
        let refused = match app.shared.guard.is_revoked(&self.caller) {
            true => Some(Refused::Revoked),
            false => has_expired.then_some(Refused::Expired),
        };
        let Some(refused) = refused else { return Ok(()) };
        tracing::debug!(%refused, "a token was good when the request came in, and is no more");
        Err(refused.into())
    }

    /// Refuses who is known only as somebody.
    pub fn has_name(&self) -> Result<(), Refusal> {
        if matches!(self.caller, Caller::Guest) { Err(Refused::Missing.into()) } else { Ok(()) }
    }

    /// Refuses who is no executor.
    pub fn runs(&self) -> Result<(), Refusal> {
        if self.caller.may_run() { Ok(()) } else { Err(Refusal::plain(told::FORBIDDEN)) }
    }

    /// Refuses who does not see all of its tenant.
    pub fn sees_all(&self) -> Result<(), Refusal> {
        if self.caller.is_admin() { Ok(()) } else { Err(Refusal::plain(told::FORBIDDEN)) }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused.is_passing() {
            true => Self::plain(told::OVERLOADED).retry_after(5),
            false => Self::plain(told::UNAUTHENTICATED),
        }
    }
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        let secs = match full {
            Full::Connections => 10,
            Full::Rate { retry_ms } => retry_ms.div_ceil(1000).max(1),
        };
        Self::new(told::RATE_LIMITED, full.to_string()).retry_after(secs)
    }
}
