//! When all executions that are followed have ended, and how.

use crate::{
    exit::{Exit, Failure},
    follow::Told,
    gateway::Gateways,
};
use serde_json::Value;

/// Most events asked for at once.
const PAGE: &str = "1000";

/// The ends of the executions that are followed.
pub struct Ends {
    gateways: Gateways,
    rooms: Vec<Followed>,
}

struct Followed {
    name: String,
    /// Where the one who calls wanted to begin.
    from: Option<String>,
    is_begun: bool,
    end: Option<Exit>,
    /// It had ended before the offset that following began at: so many events come after that, and how it ended.
    remaining: Option<(u64, Exit)>,
}

impl Ends {
    /// Of the rooms of executions among these.
    #[must_use]
    pub fn new(gateways: Gateways, rooms: Vec<(String, Option<String>)>) -> Self {
        let rooms = rooms.into_iter().filter(|(name, _)| name.starts_with("execution:"));
        let followed = |(name, from)| Followed { name, from, is_begun: false, end: None, remaining: None };
        Self { gateways, rooms: rooms.map(followed).collect() }
    }

    /// How they ended, once all have: as the worst of them.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        let ends: Option<Vec<Exit>> = self.rooms.iter().map(|room| room.end).collect();
        let rank = |exit: &Exit| match exit {
            Exit::Failed => 2,
            Exit::Cancelled => 1,
            _ => 0,
        };
        ends?.into_iter().max_by_key(rank)
    }

    /// Takes note of what is told.
    ///
    /// # Errors
    /// A gateway that had to be asked refuses.
    pub async fn hear(&mut self, told: &Told) -> Result<(), Failure> {
        match told {
            Told::Subscribed { room, .. } => self.begun(room).await,
            Told::Message(message) => {
                self.message(&message.room, &message.value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn message(&mut self, room: &str, value: &Value) {
        let kind = value["type"].as_str().unwrap_or_default();
        // The event may come by a room that is followed beside the execution's.
        let name = match value["executionId"].as_str() {
            Some(execution) => format!("execution:{execution}"),
            None => room.to_owned(),
        };
        let Some(room) = self.rooms.iter_mut().find(|room| room.name == name) else { return };
        let status = value["snapshot"]["status"].as_str().filter(|_| kind == "snapshot");
        let is_terminal = kind.starts_with("execution:") || status.is_some();
        let end = Exit::of_execution(status.unwrap_or(kind)).filter(|_| is_terminal);
        room.end = room.end.or(end);
        if let Some((left, exit)) = &mut room.remaining
            && kind != "snapshot"
            && kind != "gap"
        {
            *left = left.saturating_sub(1);
            room.end = room.end.or((*left == 0).then_some(*exit));
        }
    }

    /// A follow that began after the end would wait for it for ever: is it still to come?
    async fn begun(&mut self, name: &str) -> Result<(), Failure> {
        let Some(room) = self.rooms.iter_mut().find(|room| room.name == name) else { return Ok(()) };
        let Some(from) = room.from.clone().filter(|from| from != "0" && !room.is_begun) else { return Ok(()) };
        room.is_begun = true;
        let id = name.trim_start_matches("execution:");
        let snapshot: Value = match self.gateways.get(&["executions", id], &[]).await {
            Ok(text) => serde_json::from_str(&text).unwrap_or_default(),
            // It is not known yet, or nothing is stored: then its end is still to come.
            Err(failure) if failure.exit == Exit::Refused => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let Some(exit) = snapshot["status"].as_str().and_then(Exit::of_execution) else { return Ok(()) };
        let left = self.left_after(id, from).await?;
        if let (Some(left), Some(room)) = (left, self.rooms.iter_mut().find(|room| room.name == name)) {
            match left {
                0 => room.end = Some(exit),
                left => room.remaining = Some((left, exit)),
            }
        }
        Ok(())
    }

    /// How many events come after an offset, none of which ends the execution; `None` if one does.
    async fn left_after(&self, id: &str, mut after: String) -> Result<Option<u64>, Failure> {
        let mut left = 0;
        loop {
            let page = match self.gateways.get(&["executions", id, "events"], &[("after", &after), ("limit", PAGE)]).await {
                Ok(text) => serde_json::from_str::<Value>(&text).unwrap_or_default(),
                // The history is another one: a gap and the state are told.
                Err(failure) if failure.exit == Exit::Refused => return Ok(None),
                Err(failure) => return Err(failure),
            };
            let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ends = |event: &Value| {
                event["type"].as_str().is_some_and(|kind| kind.contains(':') && Exit::of_execution(kind).is_some())
            };
            if events.iter().any(ends) || !page["gap"].is_null() {
                return Ok(None);
            }
            left += events.len() as u64;
            match page["next"].as_str() {
                Some(next) if page["complete"] == false && next != after => after = next.to_owned(),
                _ => return Ok(Some(left)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{follow::Message, settings::LineSettings};
    use serde_json::json;

    fn ends(rooms: &[&str]) -> Ends {
        let line = LineSettings { gateway: vec!["http://127.0.0.1:1".into()], token_file: None };
        let gateways = Gateways::new(&line).expect("an address");
        Ends::new(gateways, rooms.iter().map(|room| ((*room).to_owned(), None)).collect())
    }

    async fn hear(ends: &mut Ends, room: &str, value: Value) {
        let message = Message { room: room.to_owned(), text: value.to_string(), value };
        ends.hear(&Told::Message(message)).await.expect("heard");
    }

    #[tokio::test]
    async fn the_worst_end_counts_when_all_have_ended() {
        let mut ends = ends(&["execution:a", "execution:b", "user:u"]);
        hear(&mut ends, "execution:a", json!({"type": "node:failed", "executionId": "a"})).await;
        hear(&mut ends, "execution:a", json!({"type": "execution:failed", "executionId": "a"})).await;
        hear(&mut ends, "user:u", json!({"type": "execution:completed", "executionId": "c"})).await;
        assert_eq!(ends.exit(), None);
        hear(&mut ends, "user:u", json!({"type": "execution:completed", "executionId": "b"})).await;
        assert_eq!(ends.exit(), Some(Exit::Failed));
    }

    #[tokio::test]
    async fn the_state_tells_of_an_end_that_was_before() {
        let mut ends = ends(&["execution:a"]);
        hear(&mut ends, "execution:a", json!({"type": "snapshot", "room": "execution:a", "snapshot": {"status": "running"}}))
            .await;
        assert_eq!(ends.exit(), None);
        let state = json!({"type": "snapshot", "room": "execution:a", "snapshot": {"status": "cancelled"}});
        hear(&mut ends, "execution:a", state).await;
        assert_eq!(ends.exit(), Some(Exit::Cancelled));
    }
}
