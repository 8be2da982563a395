//! Workflows and what is asked of executors: passed on over the bus, answered with the executor's own words.

use super::{
    App,
    answer::Refusal,
    extract::{Path, Whole},
    who::Visitor,
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json, value::to_raw_value};
use std::collections::BTreeMap;
use weft_bus::{Address, Command, Presence, Reply};
use weft_dialect::told::{self, ErrorCode};
use weft_event::Room;
use weft_guard::Caller;

/// What an executor announces.
#[derive(Debug, Deserialize)]
struct Announced {
    /// Whose executions it runs; none is the space without tenants.
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    workflows: Vec<Value>,
}

/// `GET /api/workflows`: every workflow that some executor runs.
pub async fn list(State(app): State<App>, visitor: Visitor) -> Result<Json<Value>, Refusal> {
    let mut by_name = BTreeMap::new();
    for (_, announced) in executors(&app, &visitor).await? {
        for workflow in announced.workflows {
            if let Some(name) = workflow["name"].as_str() {
                by_name.insert(name.to_owned(), workflow);
            }
        }
    }
    Ok(Json(json!({ "workflows": by_name.into_values().collect::<Vec<_>>() })))
}

/// Those of the visitor's tenant.
async fn executors(app: &App, visitor: &Visitor) -> Result<Vec<(String, Announced)>, Refusal> {
    visitor.has_name()?;
    let present = app.shared.hub.bus.present(Presence::Executor).await?;
    let read = present.into_iter().filter_map(|(id, value)| Some((id, serde_json::from_slice::<Announced>(&value).ok()?)));
    // Where nobody authenticates there are no tenants to be kept apart.
    let is_theirs = |announced: &Announced| match visitor.caller {
        Caller::Everyone => true,
        _ => announced.tenant.as_deref() == visitor.caller.tenant(),
    };
    Ok(read.filter(|(_, announced)| is_theirs(announced)).collect())
}

/// The id under which an execution is to begin. A new one is nobody's yet, and its visitor's from then on. To choose one is to act
/// on the execution of that name, and takes the right to: whether an id is free says whether there is such an execution.
async fn id_to_begin(app: &App, visitor: &Visitor, chosen: Option<String>) -> Result<String, Refusal> {
    visitor.has_name()?;
    let Some(id) = chosen else { return Ok(uuid::Uuid::now_v7().to_string()) };
    visitor.may_act(app, &Room::execution(&id)?).await?;
    Ok(id)
}

/// `{"inputs":{},"executionId"?,"userId"?}`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Execute {
    #[serde(default)]
    inputs: serde_json::Map<String, Value>,
    execution_id: Option<String>,
    user_id: Option<String>,
}

/// `POST /api/workflows/{name}/execute`
pub async fn execute(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Whole(body): Whole,
) -> Result<Response, Refusal> {
    visitor.commands(&app)?;
    let invalid = |error: serde_json::Error| {
        Refusal::new(told::INVALID, format!("the body must be {{\"inputs\":{{}},\"executionId\"?}}: {error}"))
    };
    let execute: Execute = if body.is_empty() { Execute::default() } else { serde_json::from_slice(&body).map_err(invalid)? };
    let id = id_to_begin(&app, &visitor, execute.execution_id).await?;
    let user = if matches!(visitor.caller, Caller::Everyone) { execute.user_id } else { None };
    if let Some(user) = &user {
        Room::user(user)?;
    }
    let runs = |announced: &Announced| announced.workflows.iter().any(|workflow| workflow["name"] == *name);
    let mut able: Vec<String> =
        executors(&app, &visitor).await?.into_iter().filter(|(_, announced)| runs(announced)).map(|(id, _)| id).collect();
    if able.is_empty() {
        return Err(Refusal::plain(told::NO_EXECUTOR));
    }
    let chosen = able.swap_remove(rand::random_range(0..able.len()));
    let body = json!({ "workflow": name, "executionId": id, "inputs": execute.inputs, "userId": user });
    let reply = ask(&app, &visitor, &Address::Executor(chosen), "execute", &body).await?;
    Ok((StatusCode::ACCEPTED, Json(reply.unwrap_or_else(|| json!({ "executionId": id })))).into_response())
}

/// `POST /api/workflows`, as system B sends it: `{"name"?,"executionId"?,"steps":[…]}`, or `nodes` as in a workflow file. Runs it once. The
/// executor takes built-in steps only; nobody can bring a command along.
pub async fn run(State(app): State<App>, visitor: Visitor, Whole(body): Whole) -> Result<Response, Refusal> {
    visitor.commands(&app)?;
    let invalid = |error: serde_json::Error| Refusal::new(told::INVALID, format!("the body must be a workflow: {error}"));
    let mut definition: serde_json::Map<String, Value> = serde_json::from_slice(&body).map_err(invalid)?;
    match (definition.remove("steps"), definition.contains_key("nodes")) {
        (Some(steps), false) => drop(definition.insert("nodes".into(), steps)),
        (None, true) => {}
        _ => return Err(Refusal::new(told::INVALID, "nodes: must be given, or else steps").field("nodes")),
    }
    let chosen = match definition.remove("executionId") {
        None => None,
        Some(Value::String(id)) => Some(id),
        Some(_) => return Err(Refusal::new(told::INVALID, "executionId: must be a string").field("executionId")),
    };
    let id = id_to_begin(&app, &visitor, chosen).await?;
    definition.entry("name").or_insert_with(|| "unnamed".into());
    let mut able = executors(&app, &visitor).await?;
    if able.is_empty() {
        return Err(Refusal::plain(told::NO_EXECUTOR));
    }
    let (chosen, _) = able.swap_remove(rand::random_range(0..able.len()));
    let body = json!({ "definition": definition, "executionId": id });
    let reply = ask(&app, &visitor, &Address::Executor(chosen), "execute", &body).await?;
    Ok((StatusCode::ACCEPTED, Json(reply.unwrap_or_else(|| json!({ "executionId": id })))).into_response())
}

/// `POST /executions/{execution_id}/start-streaming`, as system E sends it: an executor's demo workflow under that id.
pub async fn start_streaming(State(app): State<App>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Refusal> {
    visitor.commands(&app)?;
    let id = id_to_begin(&app, &visitor, Some(id)).await?;
    let mut able = executors(&app, &visitor).await?;
    if able.is_empty() {
        return Err(Refusal::plain(told::NO_EXECUTOR));
    }
    let (chosen, _) = able.swap_remove(rand::random_range(0..able.len()));
    let reply = ask(&app, &visitor, &Address::Executor(chosen), "start-streaming", &json!({ "executionId": id })).await?;
    Ok((StatusCode::ACCEPTED, Json(reply.unwrap_or_else(|| json!({ "executionId": id })))).into_response())
}

/// `POST /api/executions/{id}/cancel`, with `{"reason"}` or without a body.
pub async fn cancel(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<String>,
    Whole(body): Whole,
) -> Result<Response, Refusal> {
    #[derive(Default, Deserialize)]
    struct Cancel {
        reason: Option<String>,
    }
    let invalid = |error: serde_json::Error| Refusal::new(told::INVALID, format!("the body must be {{\"reason\"}}: {error}"));
    let cancel: Cancel = if body.is_empty() { Cancel::default() } else { serde_json::from_slice(&body).map_err(invalid)? };
    let address = Address::Execution(visitor.acts(&app, &Room::execution(&id)?).await?);
    ask(&app, &visitor, &address, "cancel", &json!({ "reason": cancel.reason })).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "executionId": id }))).into_response())
}

/// An executor's word for its refusal, in the words that clients know.
fn refused(code: &str) -> ErrorCode {
    match code {
        "invalid" | "invalid_value" | "unknown_command" => told::INVALID,
        "too_large" => told::TOO_LARGE,
        "not_found" | "unknown_workflow" | "unknown_execution" | "unknown_request" => told::NOT_FOUND,
        "busy" | "draining" | "unavailable" => told::BUSY,
        _ => told::REJECTED,
    }
}

/// Asks an executor; its refusal in the words that clients know.
pub(super) async fn ask(
    app: &App,
    visitor: &Visitor,
    address: &Address,
    kind: &str,
    body: &Value,
) -> Result<Option<Value>, Refusal> {
    let body = to_raw_value(body).map_err(|error| Refusal::new(told::INTERNAL, error.to_string()))?;
    // Whoever asks for it owns it, whatever the body says.
    let subject = visitor.caller.subject().map(str::to_owned);
    let command = Command { reference: uuid::Uuid::new_v4().to_string(), kind: kind.to_owned(), subject, body };
    match app.shared.hub.request(address, command, app.shared.limits.command_timeout).await? {
        Reply::Accepted { body } => Ok(body.and_then(|body| serde_json::from_str(body.get()).ok())),
        Reply::Rejected { code, message } => Err(Refusal::new(refused(&code), format!("{code}: {message}"))),
    }
}
