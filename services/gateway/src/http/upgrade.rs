//! From an HTTP request to a session.

use super::{App, answer::Refusal};
use crate::{session, transport::WebSocketTransport};
use axum::{
    extract::{State, ws::WebSocketUpgrade},
    http::{HeaderMap, header},
    response::Response,
};
use weft_dialect::{native::Encoding, told};

/// Bytes read from a socket at once. Larger messages are read in several goes.
const READ_BUFFER: usize = 4096;

/// `GET /api/ws`: the native protocol.
pub async fn native(State(app): State<App>, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Result<Response, Refusal> {
    if app.shared.hub.is_draining() {
        return Err(Refusal::plain(told::DRAINING).retry_after(app.limits.retry_after_secs));
    }
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let chosen = Encoding::from_subprotocols(offered);
    let upgrade = match chosen {
        Some((_, name)) => upgrade.protocols([name]),
        None => upgrade,
    };
    let message_max = app.shared.limits.message.message_bytes_max;
    let encoding = chosen.map_or(Encoding::Json, |(encoding, _)| encoding);
    Ok(upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(message_max)
        .max_frame_size(message_max)
        .on_upgrade(move |socket| session::serve(app.shared.clone(), WebSocketTransport::new(socket), encoding)))
}
