//! How a connection is opened, and why it ends: what a gateway's answer or close asks for.

use super::{Flow, Line, Socket};
use crate::{
    exit::{Exit, Failure},
    gateway::origin,
};
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{
        self, Error,
        client::IntoClientRequest as _,
        http::{HeaderValue, StatusCode, header},
        protocol::{CloseFrame, WebSocketConfig},
    },
};
use weft_dialect::told::{CLOSES, ComeBack};

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest message of a gateway.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// After so many refusals of a token in a row it is no use to read it again.
const TOKENS_MAX: u32 = 3;

/// Why a connection ended, if another may be tried.
pub(super) struct Ended {
    /// For people.
    pub(super) reason: String,
    /// Whether to wait longer than after a connection that broke.
    pub(super) later: bool,
}

impl Line {
    /// `Ok(Err(…))` where another attempt may do better.
    pub(super) async fn open(&mut self, at: usize) -> Flow<Result<Socket, Ended>> {
        let url = self.gateways.websocket(at);
        let wrong = |error: &dyn std::fmt::Display| Some(Failure::usage(format!("{url}: {error}")));
        let mut request = url.as_str().into_client_request().map_err(|error| wrong(&error))?;
        let headers = request.headers_mut();
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("weft.v1.json"));
        let token = self.gateways.token().map_err(Some)?;
        self.shown.begin(token.as_deref());
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| wrong(&error))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
        let opened = tokio::select! {
            opened = timeout(OPEN_TIMEOUT, connect_async_with_config(request, Some(config), true)) => opened,
            () = self.told.closed() => return Err(None),
        };
        let place = origin(&url);
        self.place.clone_from(&place);
        match opened {
            Ok(Ok((socket, _))) => Ok(Ok(socket)),
            Ok(Err(Error::Http(answer))) => self.not_upgraded(&place, answer.status(), answer.headers()).map(Err),
            Ok(Err(Error::Io(error))) => Ok(Err(Ended { reason: format!("{place}: {error}"), later: false })),
            Ok(Err(error)) => Ok(Err(Ended { reason: format!("{place}: {error}"), later: false })),
            Err(_) => Ok(Err(Ended { reason: format!("{place}: no answer within {} s", OPEN_TIMEOUT.as_secs()), later: false })),
        }
    }

    fn not_upgraded(&mut self, place: &str, status: StatusCode, headers: &tungstenite::http::HeaderMap) -> Flow<Ended> {
        let reason = format!("{place}: the gateway answered {status}");
        match status.as_u16() {
            401 => self.token_refused(&reason)?,
            403 => return Err(Some(Failure::told("forbidden", &reason))),
            400 | 404 | 405 => return Err(Some(Failure::new(Exit::Refused, reason))),
            _ => {}
        }
        let after = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        if let Some(seconds) = after {
            self.backoff.hint(Duration::from_secs(seconds));
        }
        Ok(Ended { reason, later: true })
    }

    fn token_refused(&mut self, reason: &str) -> Flow<()> {
        self.tokens_refused += 1;
        if self.gateways.renews_token() && self.tokens_refused < TOKENS_MAX {
            return Ok(());
        }
        Err(Some(Failure::told("unauthenticated", reason)))
    }

    pub(super) fn closed(&mut self, frame: Option<CloseFrame>) -> Flow<Ended> {
        let Some(frame) = frame else { return Ok(Ended { reason: "the connection was closed".into(), later: false }) };
        let code = u16::from(frame.code);
        let reason = format!("closed {code}: {}", frame.reason);
        // Any code that the table lacks, 1006 above all, means: come back.
        match CLOSES.iter().find(|close| close.code == code).map(|close| close.come_back) {
            Some(ComeBack::No) if code == 4403 => Err(Some(Failure::told("forbidden", &reason))),
            Some(ComeBack::No) => Err(Some(Failure::new(Exit::Refused, reason))),
            Some(ComeBack::NewToken) => {
                self.token_refused(&reason)?;
                Ok(Ended { reason, later: true })
            }
            Some(ComeBack::Later) => Ok(Ended { reason, later: true }),
            Some(ComeBack::Yes) | None => Ok(Ended { reason, later: false }),
        }
    }
}
