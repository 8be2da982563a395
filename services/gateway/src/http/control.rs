//! `/admin/*`: what operators ask of this process, on a listener of its own, with a token of its own. Each request leaves a
//! line behind, whatever becomes of it.

use super::{
    App,
    answer::{Refusal, no_such_method, no_such_route},
    extract::{Path, Query, Whole},
    leave,
    serve::Peer,
};
use crate::session::{Question, REPORTS_MAX, Report};
use axum::{
    Extension, Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Method, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use uuid::Uuid;
use weft_dialect::told;
use weft_event::Room;
use weft_guard::{
    Refused, Revocation,
    bearer::{Places, Purpose},
    control::{ControlToken, audit},
    journal,
};

/// Largest body in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long connections may take to tell of themselves. Each does when it is woken; one whose thread is busy may be late,
/// and is then left out.
const TELLING_TIME: Duration = Duration::from_millis(500);

/// What operators may ask.
pub fn router_of_control(app: App, token: ControlToken) -> Router {
    Router::new()
        .route("/admin/revoke", post(revoke))
        .route("/admin/connections", get(connections))
        .route("/admin/connections/{id}", get(connection).delete(disconnect))
        .route("/admin/rooms", get(rooms))
        .route("/admin/drain", post(leave::drain))
        .route("/admin/shed", post(leave::shed))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(token), check))
        .with_state(app)
}

/// Who asks, and the line that it leaves behind.
#[derive(Clone)]
pub struct Operator {
    from: IpAddr,
    has_line: Arc<AtomicBool>,
}

impl Operator {
    fn new(from: IpAddr) -> Self {
        Self { from, has_line: Arc::default() }
    }

    /// Writes the line: what was asked, about whom, with which outcome.
    pub fn note(&self, action: &'static str, target: &str, outcome: &'static str) {
        self.has_line.store(true, Ordering::Relaxed);
        audit(self.from, action, target, outcome);
    }
}

/// A request, for as long as it is being answered. One that reached nobody who would have left a line, because its query or
/// its body could not be read, or its client has gone, leaves one here.
struct Asking {
    operator: Operator,
    path: String,
    outcome: &'static str,
}

impl Drop for Asking {
    fn drop(&mut self) {
        if !self.operator.has_line.load(Ordering::Relaxed) {
            self.operator.note("other", &self.path, self.outcome);
        }
    }
}

async fn nothing_here(Extension(operator): Extension<Operator>, uri: Uri) -> Refusal {
    operator.note("other", uri.path(), "unknown");
    no_such_route().await
}

async fn not_so() -> Response {
    no_such_method().await
}

/// Only who shows the token; in the header, and nowhere else.
async fn check(
    State(token): State<Arc<ControlToken>>,
    Extension(Peer(from)): Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let shown = Places::default().token(Purpose::Request, &Method::POST, request.headers(), None);
    let checked = shown.and_then(|shown| token.check(shown.as_ref()));
    // No page of a browser has any business here.
    let is_page = request.headers().contains_key(axum::http::header::ORIGIN);
    if checked.is_err() || is_page {
        audit(from, "refused", request.uri().path(), "unauthenticated");
        return Refusal::from(Refused::Missing).into_response();
    }
    let operator = Operator::new(from);
    request.extensions_mut().insert(operator.clone());
    let mut asking = Asking { operator, path: request.uri().path().to_owned(), outcome: "abandoned" };
    let response = next.run(request).await;
    asking.outcome = "invalid";
    response
}

/// `POST /admin/revoke` with `{"subject"|"token"|"tenant": …}`.
async fn revoke(
    State(app): State<App>,
    Extension(operator): Extension<Operator>,
    Whole(body): Whole,
) -> Result<Response, Refusal> {
    let target = String::from_utf8_lossy(&body);
    let revoked = app.shared.guard.revoked();
    if !revoked.is_possible() {
        operator.note("revoke", &target, "impossible");
        let mut response = Refusal::plain(told::NOT_DURABLE).into_response();
        *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
        return Ok(response);
    }
    let at = app.shared.guard.revokes_at(journal::unix_secs());
    let revocation = Revocation::asked(&body, at).inspect_err(|_| operator.note("revoke", &target, "invalid"))?;
    match journal::revoke(revoked, &app.shared.hub.bus, &revocation).await {
        Ok(()) => {
            operator.note("revoke", &target, "done");
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(error) => {
            operator.note("revoke", &target, "failed");
            tracing::error!(%error, "a revocation was not stored; it holds here until this process ends");
            Err(Refusal::new(told::UNAVAILABLE, "the revocation holds here, and is not stored; try again").retry_after(1))
        }
    }
}

/// `?subject=&tenant=&room=`
#[derive(Debug, Default, Deserialize)]
struct Which {
    subject: Option<String>,
    tenant: Option<String>,
    room: Option<String>,
}

async fn ask(app: &App, question: Question) -> Vec<Report> {
    let question = Arc::new(question);
    app.shared.ask_all(&question);
    tokio::time::sleep(TELLING_TIME).await;
    std::mem::take(&mut *question.reports.lock())
}

/// `GET /admin/connections`: those of this gateway.
async fn connections(
    State(app): State<App>,
    Extension(operator): Extension<Operator>,
    Query(which): Query<Which>,
) -> Json<Value> {
    operator.note("list", which.subject.as_deref().unwrap_or_default(), "done");
    let Which { subject, tenant, room } = which;
    let reports = ask(&app, Question { subject, tenant, room, ..Question::default() }).await;
    Json(json!({ "connections": reports, "open": app.shared.hub.session_count(), "listedAtMost": REPORTS_MAX }))
}

fn id(text: &str) -> Result<Uuid, Refusal> {
    text.parse().map_err(|_| Refusal::plain(told::NOT_FOUND))
}

/// `GET /admin/connections/{id}`
async fn connection(
    State(app): State<App>,
    Extension(operator): Extension<Operator>,
    Path(text): Path<String>,
) -> Result<Json<Report>, Refusal> {
    let id = id(&text).inspect_err(|_| operator.note("inspect", &text, "unknown"))?;
    let found = ask(&app, Question { id: Some(id), ..Question::default() }).await.pop();
    operator.note("inspect", &text, if found.is_some() { "done" } else { "unknown" });
    found.map(Json).ok_or_else(|| Refusal::plain(told::NOT_FOUND))
}

/// `DELETE /admin/connections/{id}`: closed with 1012, so that an honest client comes back.
async fn disconnect(
    State(app): State<App>,
    Extension(operator): Extension<Operator>,
    Path(text): Path<String>,
) -> Result<StatusCode, Refusal> {
    let id = id(&text).inspect_err(|_| operator.note("disconnect", &text, "unknown"))?;
    let is_here = !ask(&app, Question { id: Some(id), ..Question::default() }).await.is_empty();
    operator.note("disconnect", &text, if is_here { "done" } else { "unknown" });
    if !is_here {
        return Err(Refusal::plain(told::NOT_FOUND));
    }
    app.shared.send_away(id);
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /admin/rooms`: those that this gateway follows, by their names on the bus.
async fn rooms(State(app): State<App>, Extension(operator): Extension<Operator>) -> Json<Value> {
    operator.note("rooms", "", "done");
    let hub = &app.shared.hub;
    let of = |name: &Room| name.broker_name().to_owned();
    let all = hub.all_rooms();
    let rooms: Vec<Value> = all
        .iter()
        .take(REPORTS_MAX)
        .map(|room| json!({ "room": of(&room.name), "followers": room.follower_count(), "isOpen": room.is_open() }))
        .collect();
    Json(json!({ "rooms": rooms, "followed": all.len(), "listedAtMost": REPORTS_MAX }))
}
