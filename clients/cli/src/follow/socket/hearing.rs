//! What a gateway says, and what becomes of it.

use super::{Flow, Line, Socket, send};
use crate::{
    exit::Failure,
    follow::{Message, Told, rooms::News},
};
use rand::Rng as _;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use weft_dialect::told::{ComeBack, ERRORS};

impl Line {
    pub(super) async fn heard(&mut self, socket: &mut Socket, text: &str) -> Flow<()> {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return self.tell(Told::Warning("the gateway sent something that is no JSON".into())).await;
        };
        match value["type"].as_str().unwrap_or_default() {
            "connected" => {
                self.tell(Told::Connected(self.place.clone())).await?;
                let all = self.rooms.names().map(str::to_owned).collect();
                self.subscribe(socket, all).await;
                Ok(())
            }
            "subscribed" => self.subscribed(&value).await,
            "ack" => {
                if let Some(answer) = value["ref"].as_str().and_then(|reference| self.answers.remove(reference)) {
                    let _ = answer.send(Ok(()));
                }
                Ok(())
            }
            "error" => self.refused(socket, &value).await,
            "reconnect" => {
                if let Some(ms) = value["afterMs"].as_u64() {
                    self.backoff.hint(Duration::from_millis(ms));
                }
                Ok(())
            }
            _ => {
                let news = self.rooms.take(&value);
                self.news(news, text, value).await
            }
        }
    }

    async fn subscribed(&mut self, value: &Value) -> Flow<()> {
        self.tokens_refused = 0;
        let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let (room, outcome) = (word("room"), word("outcome"));
        self.asked.retain(|reference, rooms| {
            rooms.retain(|asked| *reference != word("ref") || *asked != room);
            !rooms.is_empty()
        });
        let news = self.rooms.subscribed(value);
        self.tell(Told::Subscribed { room, outcome }).await?;
        self.news(news, "", Value::Null).await
    }

    async fn news(&mut self, news: News, text: &str, value: Value) -> Flow<()> {
        match news {
            News::None => Ok(()),
            News::Tell(room) => self.tell(Told::Message(Message { room, text: text.to_owned(), value })).await,
            News::Lost(gap) => {
                let room = gap["room"].as_str().unwrap_or_default().to_owned();
                self.tell(Told::Message(Message { room, text: gap.to_string(), value: gap })).await
            }
        }
    }

    async fn refused(&mut self, socket: &mut Socket, value: &Value) -> Flow<()> {
        let word = |name: &str| value[name].as_str().unwrap_or_default();
        let (code, message, reference) = (word("code"), word("message"), word("ref"));
        let failure = Failure::told(code, message);
        if let Some(answer) = self.answers.remove(reference) {
            let _ = answer.send(Err(failure));
            return Ok(());
        }
        if code == "token_expired" {
            if let Some(token) = self.shown.newer(&self.gateways) {
                send(socket, &json!({"type": "auth", "token": token})).await;
            }
            return Ok(());
        }
        let room = word("room").to_owned();
        if self.rooms.names().any(|name| name == room) {
            return self.room_refused(vec![room], code, failure);
        }
        match self.asked.remove(reference) {
            // One wrong room has the whole message refused: ask for each by itself, to know which.
            Some(rooms) if rooms.len() > 1 && !is_for_later(code) => {
                for room in rooms {
                    self.subscribe(socket, vec![room]).await;
                }
                Ok(())
            }
            Some(rooms) => self.room_refused(rooms, code, failure),
            None => self.tell(Told::Warning(failure.message)).await,
        }
    }

    fn room_refused(&mut self, rooms: Vec<String>, code: &str, failure: Failure) -> Flow<()> {
        if !is_for_later(code) {
            let named = format!("{}: {}", rooms.join(", "), failure.message);
            return Err(Some(Failure::new(failure.exit, named)));
        }
        let pause = self.backoff.next(rand::rng().random(), true);
        let (when, all) = self.again.get_or_insert((Instant::now() + pause, Vec::new()));
        *when = (*when).max(Instant::now() + pause);
        all.extend(rooms);
        Ok(())
    }
}

fn is_for_later(code: &str) -> bool {
    ERRORS.iter().any(|error| error.code == code && matches!(error.come_back, ComeBack::Later | ComeBack::Yes))
}
