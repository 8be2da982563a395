//! `weft cancel`, `weft answer`, `weft fleet`.

use crate::{
    exit::{Exit, Failure},
    follow::{Follow, Told, Wanted},
    gateway::Gateways,
    run::prompt::{self, Question},
    settings::{AnswerArgs, CancelArgs, FleetArgs, LineSettings},
    show::{
        WARN,
        output::Output,
        table::{self, Cell, brief},
    },
};
use serde_json::{Value, json};
use std::time::Duration;
use weft_event::Room;

/// Longer than a gateway waits for an executor, and long enough for another gateway to be tried.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Asks the executor to cancel.
///
/// # Errors
/// Nobody runs it, a refusal, or nobody there.
pub async fn cancel(args: &CancelArgs, line: &LineSettings, out: &mut Output) -> Result<Exit, Failure> {
    execution(&args.id)?;
    // An execution ends once, so that asking twice is harmless.
    Gateways::new(line)?.post(&["executions", &args.id, "cancel"], &json!({ "reason": args.reason }), true).await?;
    out.line(&format!("{} is asked to stop", args.id))?;
    out.flush()?;
    Ok(Exit::Done)
}

/// Answers a question.
///
/// # Errors
/// A value that breaks the question's rule, a refusal, or nobody there.
pub async fn answer(args: &AnswerArgs, line: &LineSettings, out: &mut Output) -> Result<Exit, Failure> {
    execution(&args.id)?;
    let gateways = Gateways::new(line)?;
    let value = if args.json {
        serde_json::from_str(&args.value).map_err(|error| Failure::new(Exit::Input, format!("the value is no JSON: {error}")))?
    } else {
        let question = question(&gateways, &args.id, &args.request_id).await?;
        question.read(&args.value).map_err(|rule| Failure::new(Exit::Input, format!("the answer {rule}")))?
    };
    provide(gateways, &prompt::message(&args.id, &args.request_id, &value)).await?;
    out.line("accepted")?;
    out.flush()?;
    Ok(Exit::Done)
}

/// The question as the execution's state has it; one that is not there is left to the executor to refuse.
async fn question(gateways: &Gateways, id: &str, request_id: &str) -> Result<Question, Failure> {
    let snapshot: Value = match gateways.get(&["executions", id], &[]).await {
        Ok(text) => serde_json::from_str(&text).unwrap_or_default(),
        Err(failure) if failure.exit == Exit::Refused => Value::Null,
        Err(failure) => return Err(failure),
    };
    let asked = snapshot["pendingInput"].as_array().into_iter().flatten().find(|asked| asked["requestId"] == request_id);
    Ok(Question::new(asked.unwrap_or(&Value::Null)))
}

/// Sends an answer over a connection of its own. A repeat of an answer is answered as the first was, so that after a lost
/// connection it is sent again.
async fn provide(gateways: Gateways, message: &Value) -> Result<(), Failure> {
    let attempts = gateways.count() + 1;
    let mut follow = Follow::begin(gateways, Wanted::default());
    let mut last = Failure::away(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()));
    let talking = async {
        let mut lost = 0;
        loop {
            match follow.next().await {
                Some(Told::Connected(_)) => {
                    let answered = follow.ask(message.clone());
                    // Nothing else is told meanwhile that would have to be taken: no room is followed.
                    match answered.await {
                        Ok(answer) => return answer,
                        Err(_) => last = Failure::away("the connection was lost; whether the answer was taken is unknown"),
                    }
                }
                Some(Told::Lost(reason)) => {
                    lost += 1;
                    if lost >= attempts {
                        return Err(Failure::away(reason));
                    }
                }
                Some(Told::Failed(failure)) => return Err(failure),
                Some(_) => {}
                None => return Err(last.clone()),
            }
        }
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, talking).await {
        Ok(answered) => answered,
        Err(_) => Err(last),
    }
}

/// Lists the gateways.
///
/// # Errors
/// Nobody there, or a refusal.
pub async fn fleet(args: &FleetArgs, line: &LineSettings, out: &mut Output) -> Result<Exit, Failure> {
    let text = Gateways::new(line)?.get(&["fleet"], &[]).await?;
    let body: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::new(Exit::Refused, format!("the gateway's answer is no JSON: {error}")))?;
    let gateways = body["gateways"].as_array().map(Vec::as_slice).unwrap_or_default();
    let head = ["GATEWAY", "ADDRESS", "VERSION", "CONNECTIONS", "ROOMS", "EVENTS/S", "DELIVERIES/S", "SINCE", "STATE"];
    let rows: Vec<Vec<Cell>> = gateways.iter().map(gateway_row).collect();
    let lines = match args.json {
        true => gateways.iter().map(Value::to_string).collect(),
        false => table::lines(&head, &rows, out.colours),
    };
    for line in lines {
        out.line(&line)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn gateway_row(gateway: &Value) -> Vec<Cell> {
    let names = ["id", "address", "version", "connections", "rooms", "eventsPerSecond", "deliveriesPerSecond", "startedAt"];
    let mut row: Vec<Cell> = names.iter().map(|name| brief(&gateway[*name]).into()).collect();
    let is_leaving = gateway["draining"] == true;
    row.push(if is_leaving { Cell::new("leaving", WARN) } else { "serving".into() });
    row
}

fn execution(id: &str) -> Result<(), Failure> {
    Room::execution(id).map(drop).map_err(|invalid| Failure::usage(invalid.to_string()))
}
