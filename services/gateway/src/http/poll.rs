//! Long polling: a GET waits for what there is to be told, a POST brings packets.

use super::{App, answer, engine::refuse, ingress::TURN_TIME, requests::Part};
use crate::transport::{Ask, Mailbox};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::oneshot;
use weft_dialect::{engine::Refusal, told};

/// An answer is handed over in pieces of so many bytes, so that the last is taken only when the first have been written.
const PIECE_BYTES: usize = 16 * 1024;

/// What a client of long polling gets.
pub fn text(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=UTF-8"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// Waits for what there is to be told.
pub async fn poll(mailbox: Arc<Mailbox>) -> Response {
    let (answer, answered) = oneshot::channel();
    if mailbox.ask(Ask::Poll(answer)).is_err() {
        return refuse(Refusal::UnknownSid);
    }
    let mut waiting = Waiting(Some(mailbox));
    let answered = answered.await;
    let mailbox = waiting.0.take();
    match (answered, mailbox) {
        (Ok(Ok(bytes)), Some(mailbox)) => text(Body::new(Answer { left: bytes, mailbox, is_taken: false })),
        (Ok(Err(refusal)), _) => refuse(refusal),
        _ => refuse(Refusal::UnknownSid),
    }
}

/// A poll that waits. Its client may give it up, and this is then dropped.
struct Waiting(Option<Arc<Mailbox>>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(mailbox) = self.0.take() {
            let _ = mailbox.ask(Ask::PollGone);
        }
    }
}

/// The answer to a poll, which tells its session whether it was taken to its end.
struct Answer {
    left: Bytes,
    mailbox: Arc<Mailbox>,
    is_taken: bool,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = self.left.len().min(PIECE_BYTES);
        let piece = self.left.split_to(bytes);
        if self.left.is_empty() {
            self.is_taken = true;
            // A session that is over needs no word of it.
            let _ = self.mailbox.ask(Ask::Answered);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_taken {
            let _ = self.mailbox.ask(Ask::AnswerLost);
        }
    }
}

/// Hands the packets of a body to the session. The answer waits until it has taken them all.
pub async fn post(app: &App, mailbox: &Mailbox, request: Request) -> Response {
    if is_binary(request.headers()) {
        return refuse(Refusal::BadRequest);
    }
    // Before a token was shown, as much and for as long as over a WebSocket.
    let first = app.sockets.first_limits.as_ref().filter(|_| !mailbox.is_known());
    let all = app.sockets.engine.payload_bytes_max;
    let bytes_max = first.map_or(all, |first| first.message_bytes_max.min(all));
    let announced = request.body().size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return too_large();
    }
    let permits = u32::try_from(announced.unwrap_or(bytes_max) / 1024 + 1).unwrap_or(u32::MAX);
    // Apart from publications, which clients must not hold up.
    let Ok(Ok(_permit)) = tokio::time::timeout(TURN_TIME, app.polls.acquire_many(permits)).await else {
        return answer::Refusal::plain(told::OVERLOADED).retry_after(app.limits.retry_after_secs).into_response();
    };
    let limits = &app.shared.limits;
    let secs = first.map_or(limits.message_secs, |_| limits.message_secs.min(limits.auth_secs));
    let time = Duration::from_secs(secs.into());
    let body = match tokio::time::timeout(time, Limited::new(request.into_body(), bytes_max).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return too_large(),
        Ok(Err(_)) => return refuse(Refusal::BadRequest),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let (done, taken) = oneshot::channel();
    if mailbox.ask(Ask::Post(body, done)).is_err() {
        return refuse(Refusal::BadRequest);
    }
    match taken.await {
        Ok(Ok(())) => text("ok".into()),
        Ok(Err(refusal)) => refuse(refusal),
        Err(_) => refuse(Refusal::BadRequest),
    }
}

fn too_large() -> Response {
    Part::Body.count();
    StatusCode::PAYLOAD_TOO_LARGE.into_response()
}

/// What older protocols sent; left unread, it would keep its connection.
fn is_binary(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/octet-stream"))
}
