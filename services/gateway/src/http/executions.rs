//! Executions: the list and the state of each, from their heads.

use super::{
    App,
    answer::Refusal,
    extract::{Path, Query},
    who::Visitor,
};
use crate::hub::fold_history;
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use weft_bus::HeadQuery;
use weft_dialect::told;
use weft_event::{Head, Room, Status};

const LIMIT_MAX: usize = 200;
/// Heads looked through for one page of a list with a status, so that a rare status cannot cost a whole scan.
const SCAN_MAX: usize = 2000;

/// `?status=&cursor=&limit=`
#[derive(Debug, Deserialize)]
pub struct Listed {
    status: Option<Status>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// `GET /api/executions`
pub async fn list(State(app): State<App>, visitor: Visitor, Query(listed): Query<Listed>) -> Result<Json<Value>, Refusal> {
    visitor.has_name()?;
    let tenant = visitor.caller.tenant().map(str::to_owned);
    let owner = visitor.caller.subject().filter(|_| !visitor.caller.is_admin()).map(str::to_owned);
    let limit = listed.limit.unwrap_or(50);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Refusal::new(told::INVALID, format!("limit: must be 1 to {LIMIT_MAX}")).field("limit"));
    }
    let mut after = listed.cursor.as_deref().map(read_cursor).transpose()?;
    let (mut found, mut scanned, mut complete) = (Vec::new(), 0, false);
    while found.len() < limit && scanned < SCAN_MAX && !complete {
        let query = HeadQuery { tenant: tenant.clone(), owner: owner.clone(), after: after.clone(), limit: LIMIT_MAX };
        let heads = app.shared.hub.bus.list_heads(&query).await?;
        complete = heads.len() < LIMIT_MAX;
        scanned += heads.len();
        for head in heads {
            if found.len() == limit {
                complete = false;
                break;
            }
            after = Some((head.created_ms, head.execution_id.clone()));
            if listed.status.is_none_or(|status| status == head.status()) {
                found.push(summary(&head));
            }
        }
    }
    let cursor = after.filter(|_| !complete).map(|(created, id)| format!("{created}-{id}"));
    Ok(Json(json!({ "executions": found, "cursor": cursor })))
}

fn read_cursor(text: &str) -> Result<(u64, String), Refusal> {
    let parsed = text.split_once('-').and_then(|(created, id)| Some((created.parse().ok()?, id.to_owned())));
    parsed.ok_or_else(|| Refusal::new(told::INVALID, "cursor: is not one that this service gave out").field("cursor"))
}

fn summary(head: &Head) -> Value {
    json!({
        "executionId": head.execution_id,
        "workflowId": head.snapshot.workflow_id,
        "userId": head.owner,
        "status": head.status(),
        "progress": head.snapshot.progress,
        "startedAt": head.snapshot.started_at,
        "endedAt": head.snapshot.ended_at,
        "createdAt": weft_bus::heads::rfc3339(head.created_ms),
        "updatedAt": weft_bus::heads::rfc3339(head.updated_ms),
    })
}

/// `GET /api/executions/{id}`: the snapshot, or 404.
pub async fn read(State(app): State<App>, visitor: Visitor, Path(id): Path<String>) -> Result<Response, Refusal> {
    let name = visitor.reads(&app, &Room::execution(&id)?).await?;
    let hub = &app.shared.hub;
    let followed = hub.room(&name);
    let found = match followed.filter(|room| room.is_open()) {
        Some(room) => room.snapshot(hub, visitor.reader()).await?.map(|snapped| (snapped.snapshot, snapped.at)),
        None => fold_history(hub, &name, visitor.reader()).await?,
    };
    let (snapshot, at) = found.ok_or_else(|| Refusal::plain(told::NOT_FOUND))?;
    let json = snapshot.to_json(at.map(|at| at.to_string()).as_deref());
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}
