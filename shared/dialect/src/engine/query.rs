//! What a request to the Engine.IO path asks for, or why it is refused, in the words that Engine.IO clients know.

use std::borrow::Cow;

/// Longest query read, in bytes: a token of the size that a header may have, and some more.
const QUERY_BYTES_MAX: usize = 20 * 1024;

/// What carries a session's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long polling.
    Polling,
    /// A WebSocket.
    WebSocket,
}

/// Why a request is refused. The numbers and sentences are Engine.IO's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum Refusal {
    /// `transport` is missing or none that is spoken here.
    UnknownTransport,
    /// `sid` names no session, or one that is over. The client opens a new one at once.
    UnknownSid,
    /// A session is opened by a GET only.
    BadHandshakeMethod,
    /// Anything else that does not fit.
    BadRequest,
    /// The request may not be made, because of its origin for one.
    Forbidden,
    /// `EIO` is not 4.
    UnsupportedVersion,
}

impl Refusal {
    /// Engine.IO's number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSid => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// Engine.IO's sentence; the whole body of a refused upgrade.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedVersion => "Unsupported protocol version",
        }
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn http(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// The body of the answer, JSON.
    #[must_use]
    pub fn body(self) -> String {
        format!("{{\"code\":{},\"message\":\"{}\"}}", self.code(), self.message())
    }
}

/// The method of a request, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Opens a session, polls, upgrades.
    Get,
    /// Brings packets.
    Post,
    /// Nothing that is answered here; preflights are answered before.
    Other,
}

/// What a legal request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'q> {
    /// A new session.
    Open(Transport),
    /// What there is to be told, in the session of this id.
    Poll(&'q str),
    /// Packets for the session of this id.
    Post(&'q str),
    /// A WebSocket for the session of this id.
    Upgrade(&'q str),
}

/// The fields of a query that matter, each at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'q> {
    version: Option<Cow<'q, str>>,
    transport: Option<Cow<'q, str>>,
    sid: Option<Cow<'q, str>>,
    /// The token, where a client sends it here (wire contract, section 8).
    pub token: Option<Cow<'q, str>>,
    recovery: Option<Cow<'q, str>>,
    /// Whether `EIO` stands before `transport`.
    version_first: bool,
}

impl<'q> Query<'q> {
    /// Reads the part of a URL behind its `?`. Unknown fields are the client's own affair.
    pub fn parse(query: &'q str) -> Result<Self, Refusal> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(Refusal::BadRequest);
        }
        let mut found = Self::default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let slot = match key {
                "EIO" => {
                    found.version_first = found.transport.is_none();
                    &mut found.version
                }
                "transport" => &mut found.transport,
                "sid" => &mut found.sid,
                "token" => &mut found.token,
                "recovery" => &mut found.recovery,
                _ => continue,
            };
            if slot.is_some() {
                return Err(Refusal::BadRequest);
            }
            *slot = Some(decoded(value).ok_or(Refusal::BadRequest)?);
        }
        Ok(found)
    }

    /// What the request asks for; `upgrade` tells whether it wants to become a WebSocket.
    ///
    /// Whether a `sid` names a session is for the caller to find out, see [`SessionId`](crate::socketio::SessionId).
    pub fn admit(&self, method: Method, upgrade: bool) -> Result<Request<'_>, Refusal> {
        let transport = match self.transport.as_deref() {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::WebSocket,
            _ => return Err(Refusal::UnknownTransport),
        };
        let is_version_4 = self.version.as_deref() == Some("4");
        let fits = upgrade == (transport == Transport::WebSocket);
        match (self.sid.as_deref().filter(|sid| !sid.is_empty()), method) {
            (Some(_), _) if !is_version_4 || !fits => Err(Refusal::BadRequest),
            (Some(sid), Method::Get) if upgrade => Ok(Request::Upgrade(sid)),
            (Some(sid), Method::Get) => Ok(Request::Poll(sid)),
            (Some(sid), Method::Post) if !upgrade => Ok(Request::Post(sid)),
            (Some(_), _) => Err(Refusal::BadRequest),
            (None, Method::Get) if !fits => Err(Refusal::BadRequest),
            (None, Method::Get) if !is_version_4 => Err(Refusal::UnsupportedVersion),
            (None, Method::Get) => Ok(Request::Open(transport)),
            (None, _) => Err(Refusal::BadHandshakeMethod),
        }
    }

    /// Whether the client can bear connection state recovery: it did not decline, and it is of the JavaScript family.
    ///
    /// An extra argument breaks the functions of Python clients. Those write `transport` before `EIO`, the JavaScript
    /// client `EIO` before `transport`; no header tells them apart on every transport. Of any other client it is
    /// unknown, and without recovery all of them work.
    #[must_use]
    pub fn bears_recovery(&self) -> bool {
        self.version_first && self.recovery.as_deref() != Some("0")
    }
}

/// A value with its percent signs and pluses resolved; `None` if they are broken or it is not UTF-8.
fn decoded(value: &str) -> Option<Cow<'_, str>> {
    if !value.contains(['%', '+']) {
        return Some(Cow::Borrowed(value));
    }
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (mut bytes, mut out) = (value.bytes(), Vec::with_capacity(value.len()));
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => (digit(bytes.next())? << 4 | digit(bytes.next())?) as u8,
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}
