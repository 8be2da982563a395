//! `/admin/drain` and `/admin/shed`: operators send clients elsewhere, all or some of them, without an end of the process.

use super::{App, answer::Refusal, control::Operator, extract::Query};
use crate::{hub::Heeds, session::Shed};
use axum::{Extension, Json, extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use weft_dialect::told;
use weft_drain::Phase;

/// Longest time over which connections may be shed, in seconds.
const SHED_SECS_MAX: u32 = 3600;

/// `POST /admin/drain`: what SIGTERM begins, but for its end. The process is not ready any more, sends its clients elsewhere,
/// and stays until it is told to end.
pub async fn drain(State(app): State<App>, Extension(operator): Extension<Operator>) -> (StatusCode, Json<Value>) {
    let began = app.drain.begin("operator");
    operator.note("drain", "", if began { "done" } else { "repeated" });
    let [unhinted, hinted] = app.shared.hub.leaving_counts();
    let phase = match app.drain.phase() {
        Phase::Serving | Phase::Announced => "announced",
        Phase::Draining => "draining",
        Phase::Closing => "closing",
    };
    let body = json!({
        "began": began,
        "phase": phase,
        "connections": unhinted + hinted,
        "withoutHints": unhinted,
        "windowSecs": app.limits.drain_secs,
    });
    (StatusCode::ACCEPTED, Json(body))
}

/// `?percent=&seconds=`
#[derive(Debug, Deserialize)]
pub struct How {
    percent: Option<String>,
    seconds: Option<String>,
}

impl How {
    fn read(&self, app: &App) -> Result<(u32, u32), Refusal> {
        let percent = self.percent.as_deref().unwrap_or_default();
        let seconds = self.seconds.as_deref().map(|seconds| number("seconds", seconds, SHED_SECS_MAX)).transpose()?;
        Ok((number("percent", percent, 100)?, seconds.unwrap_or(app.limits.drain_secs.clamp(1, SHED_SECS_MAX))))
    }
}

fn number(field: &'static str, text: &str, most: u32) -> Result<u32, Refusal> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| Refusal::new(told::INVALID, format!("{field}: must be a whole number from 1 to {most}")).field(field))
}

/// `POST /admin/shed`: so many percent of the connections, any of them, are closed over so many seconds. New ones are let
/// in as before.
pub async fn shed(
    State(app): State<App>,
    Extension(operator): Extension<Operator>,
    Query(how): Query<How>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let target = how.percent.clone().unwrap_or_default();
    let (percent, secs) = how.read(&app).inspect_err(|_| operator.note("shed", &target, "invalid"))?;
    let hub = &app.shared.hub;
    if app.drain.phase() != Phase::Serving {
        operator.note("shed", &target, "impossible");
        return Err(Refusal::new(told::CONFLICT, "this gateway is leaving: all of its connections go"));
    }
    let open = hub.session_count();
    // Who does not come back by itself is spared.
    let may_go = open - hub.session_count_of(Heeds::Never).min(open);
    let closing = (may_go * percent as usize).div_ceil(100);
    app.shared.shed(Shed::new(hub.wheel.now(), secs, may_go, closing));
    operator.note("shed", &target, "done");
    let body = json!({ "connections": open, "closing": closing, "windowSecs": secs });
    Ok((StatusCode::ACCEPTED, Json(body)))
}
