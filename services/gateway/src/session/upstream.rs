//! From client to executor: exactly one answer for each command.

use super::{
    Done, Session, Shared,
    socketio::{Space, command_answer},
    timestamp,
};
use crate::transport::Dialect;
use serde_json::value::{RawValue, to_raw_value};
use weft_bus::{Address, Command, Reply, RequestError};
use weft_dialect::{
    native::{self, Encoding, ErrorFrame},
    told::{self, ErrorCode},
};
use weft_event::Room;
use weft_guard::{Caller, owners};

impl Session {
    /// Passes an answer to a prompt on to whoever runs the execution.
    pub(super) fn provide_input(
        &mut self,
        space: Space,
        execution: &str,
        request_id: &str,
        value: &RawValue,
        reference: Option<String>,
    ) {
        let body = to_raw_value(&serde_json::json!({ "requestId": request_id, "value": value }));
        self.command(space, execution, "user_input:provide", body, reference);
    }

    /// Asks whoever runs the execution to end it.
    pub(super) fn cancel(&mut self, space: Space, execution: &str, reason: Option<&str>, reference: Option<String>) {
        let body = to_raw_value(&serde_json::json!({ "reason": reason }));
        self.command(space, execution, "cancel", body, reference);
    }

    fn command(
        &mut self,
        space: Space,
        execution: &str,
        kind: &str,
        body: serde_json::Result<Box<RawValue>>,
        reference: Option<String>,
    ) {
        let room = Room::execution(execution).map(|room| self.at_home(space, room));
        let (Ok(room), Ok(body)) = (room, body) else {
            return self.refuse(space, told::INVALID, "executionId: is not a legal id", None, reference.as_deref());
        };
        // Clients count their refs from one, each for itself; on the bus a command needs a name of its own.
        let unique = format!("{}.{}", self.id, self.next_key);
        self.next_key += 1;
        self.commands += 1;
        let caller = self.caller(space).clone();
        let subject = caller.subject().map(str::to_owned);
        let command = Command { reference: unique, kind: kind.to_owned(), subject, body };
        let (shared, wire) = (self.shared.clone(), self.wire);
        let answer = async move {
            let reply = command_if_allowed(&shared, &caller, &room, command).await;
            Done::Reply(match wire.dialect {
                Dialect::SocketIo => command_answer(space, reply, &room, reference.as_deref()),
                _ => Some(frame(wire.encoding, reply, &room, reference.as_deref())),
            })
        };
        self.operate(answer);
    }
}

/// Why a command was not passed on, or what became of it.
pub(super) type Commanded = Result<Result<Reply, RequestError>, ErrorCode>;

/// Passes a command on for who may act on the execution. Refusals come at a beat, so that their time tells nothing.
async fn command_if_allowed(shared: &Shared, caller: &Caller, room: &Room, command: Command) -> Commanded {
    let began = tokio::time::Instant::now();
    match shared.guard.act(&shared.hub.bus, caller, room).await {
        Ok(true) => {}
        Ok(false) => {
            owners::evenly(began).await;
            return Err(told::FORBIDDEN);
        }
        Err(error) => return Ok(Err(RequestError::Bus(error))),
    }
    let address = Address::Execution(room.clone());
    Ok(shared.hub.request(&address, command, shared.limits.command_timeout).await)
}

fn frame(encoding: Encoding, reply: Commanded, room: &Room, reference: Option<&str>) -> Vec<u8> {
    let Some((code, message)) = refused(reply) else { return native::ack(encoding, reference) };
    let timestamp = timestamp();
    let error =
        ErrorFrame { code: code.code, message: &message, field: None, reference, room: Some(room.name()), timestamp: &timestamp };
    native::error(encoding, &error)
}

/// Why a command was not accepted, if it was not.
pub(super) fn refused(reply: Commanded) -> Option<(ErrorCode, String)> {
    let reply = match reply {
        Ok(reply) => reply,
        Err(code) => return Some((code, code.sentence.to_owned())),
    };
    Some(match reply {
        Ok(Reply::Accepted { .. }) => return None,
        Ok(Reply::Rejected { code, message }) => (told::REJECTED, format!("{code}: {message}")),
        Err(RequestError::NoExecutor) => (told::NO_EXECUTOR, told::NO_EXECUTOR.sentence.to_owned()),
        Err(RequestError::Timeout) => (told::TIMEOUT, told::TIMEOUT.sentence.to_owned()),
        Err(RequestError::Busy) => (told::BUSY, told::BUSY.sentence.to_owned()),
        Err(RequestError::Bus(error)) => (told::UNAVAILABLE, error.to_string()),
    })
}
