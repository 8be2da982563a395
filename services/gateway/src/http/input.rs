//! The answer to a prompt, for who follows by an event stream or does not follow at all.

use super::{
    App,
    answer::Refusal,
    extract::{Path, Whole},
    who::Visitor,
    workflows,
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use weft_bus::Address;
use weft_dialect::told;
use weft_event::Room;

/// `POST /api/executions/{id}/input`, with `{"requestId","value"}`: what `user_input:provide` is over a WebSocket.
pub async fn provide(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<String>,
    Whole(body): Whole,
) -> Result<Response, Refusal> {
    let address = Address::Execution(visitor.acts(&app, &Room::execution(&id)?).await?);
    let body = read(&body)?;
    workflows::ask(&app, &visitor, &address, "user_input:provide", &body).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "executionId": id }))).into_response())
}

fn read(body: &[u8]) -> Result<Value, Refusal> {
    let invalid = |field: &'static str, rule: &str| Refusal::new(told::INVALID, format!("{field}: {rule}")).field(field);
    let mut fields: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| Refusal::new(told::INVALID, format!("the body must be {{\"requestId\",\"value\"}}: {error}")))?;
    let request_id = match fields.remove("requestId") {
        Some(Value::String(id)) if !id.is_empty() => id,
        Some(_) => return Err(invalid("requestId", "must be a string that is not empty")),
        None => return Err(invalid("requestId", "must be given")),
    };
    let value = fields.remove("value").ok_or_else(|| invalid("value", "must be given, null perhaps"))?;
    Ok(json!({ "requestId": request_id, "value": value }))
}
