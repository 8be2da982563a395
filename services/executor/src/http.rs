//! The executor's own HTTP: run, cancel, answer, list, read. Nothing here brings a command along.

mod serve;

pub use self::serve::serve;

use crate::{
    door::Door,
    executor::{Executor, Order, Plan},
    refusal::{Code, Refusal},
};
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, Path, Request, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Seconds until a refusal that may pass is worth another attempt.
const RETRY_AFTER_SECS: u32 = 2;

/// All routes.
pub fn router(executor: Executor, door: Door) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/workflows", get(list_workflows))
        .route("/workflows/{name}", get(read_workflow))
        .route("/workflows/{name}/execute", post(execute))
        .route("/executions", get(list_executions))
        .route("/executions/{id}", get(read_execution))
        .route("/executions/{id}/cancel", post(cancel))
        .route("/executions/{id}/input", post(provide))
        .route("/executions/{id}/start-streaming", post(start_streaming))
        .fallback(|| async { Refusal::new(Code::NotFound, "there is nothing here") })
        .method_not_allowed_fallback(|| async { Refusal::new(Code::MethodNotAllowed, "this path takes another method") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(enter))
        .layer(Extension(Arc::new(door)))
        .with_state(executor)
}

/// Every request passes the door before anything of it is read.
async fn enter(Extension(door): Extension<Arc<Door>>, request: Request, next: Next) -> Response {
    let checked = door.check(request.uri(), request.headers()).and_then(|()| check_length(&request));
    let response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    crate::metrics::request(response.status().as_u16());
    response
}

/// A body that says that it is too long is refused before it is waited for.
fn check_length(request: &Request) -> Result<(), Refusal> {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let fits = length.is_none_or(|length| length.parse::<u64>().is_ok_and(|length| length <= BODY_BYTES_MAX as u64));
    if fits { Ok(()) } else { Err(too_large()) }
}

fn too_large() -> Refusal {
    Refusal::new(Code::TooLarge, format!("the body must be at most {BODY_BYTES_MAX} bytes"))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code.word(), "message": self.message});
        if let Some(field) = &self.field {
            error["field"] = field.clone().into();
        }
        let mut response = (self.code.status(), Json(json!({"error": error}))).into_response();
        let headers = response.headers_mut();
        if self.code.may_pass() {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECS.into());
        }
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        response
    }
}

type Named = Result<Path<String>, PathRejection>;
type Body = Result<Bytes, BytesRejection>;

fn named(path: Named) -> Result<String, Refusal> {
    path.map(|Path(name)| name).map_err(|error| Refusal::field("path", error.body_text()))
}

/// Reads a body of JSON; an empty one counts as `{}`.
fn read<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Refusal::field("body", error.body_text()),
    })?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    let json = &mut serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut *json).map_err(|error| {
        let path = error.path().to_string();
        Refusal::field(if path == "." { "body".to_owned() } else { path }, error.into_inner())
    })?;
    json.end().map_err(|error| Refusal::field("body", error))?;
    Ok(value)
}

async fn health(State(executor): State<Executor>) -> Json<Value> {
    let workflows = executor.workflows().count();
    Json(
        json!({"status": "ok", "running": executor.executions().running(), "workflows": workflows, "timestamp": format!("{:.3}", jiff::Timestamp::now())}),
    )
}

async fn list_workflows(State(executor): State<Executor>) -> Json<Value> {
    Json(json!({"workflows": executor.workflows().map(|workflow| workflow.summary()).collect::<Vec<_>>()}))
}

async fn read_workflow(State(executor): State<Executor>, name: Named) -> Result<Json<Value>, Refusal> {
    Ok(Json(executor.workflow(&named(name)?)?.outline()))
}

/// What an execution is given. Nothing else is taken: a workflow comes from the executor's own directory.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Execute {
    #[serde(default)]
    inputs: Map<String, Value>,
    execution_id: Option<String>,
    user_id: Option<String>,
}

async fn execute(
    State(executor): State<Executor>,
    name: Named,
    headers: header::HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let (plan, Execute { inputs, execution_id, user_id }) = (Plan::Named(named(name)?), read(body)?);
    let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let id = executor.execute(Order { plan, execution_id, inputs, user: user_id, traceparent }).await?;
    Ok(started(&id))
}

fn started(id: &str) -> Response {
    (StatusCode::ACCEPTED, Json(json!({"executionId": id}))).into_response()
}

/// Newest first.
async fn list_executions(State(executor): State<Executor>) -> Json<Value> {
    let mut all: Vec<Value> = executor.executions().all().iter().map(|execution| execution.summary()).collect();
    all.sort_by(|a, b| b["startedAt"].as_str().cmp(&a["startedAt"].as_str()));
    Json(json!({"executions": all}))
}

async fn read_execution(State(executor): State<Executor>, id: Named) -> Result<Json<Value>, Refusal> {
    Ok(Json(executor.executions().get(&named(id)?)?.report()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    reason: Option<String>,
}

async fn cancel(State(executor): State<Executor>, id: Named, body: Body) -> Result<Response, Refusal> {
    let (id, Cancel { reason }) = (named(id)?, read(body)?);
    Ok((StatusCode::ACCEPTED, Json(executor.cancel(&id, reason.as_deref())?)).into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Provide {
    request_id: String,
    value: Value,
}

async fn provide(State(executor): State<Executor>, id: Named, body: Body) -> Result<Json<Value>, Refusal> {
    let (id, Provide { request_id, value }) = (named(id)?, read(body)?);
    Ok(Json(executor.provide(&id, &request_id, value, None)?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StartStreaming {
    user_id: Option<String>,
}

async fn start_streaming(State(executor): State<Executor>, id: Named, body: Body) -> Result<Response, Refusal> {
    let (id, StartStreaming { user_id }) = (named(id)?, read(body)?);
    Ok(started(&executor.start_streaming(id, user_id).await?))
}
