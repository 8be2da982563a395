//! Unmodified `socket.io-client`s in a process of Node.js, which record what they hear as other [clients](crate::client) do.
//!
//! They know nothing of offsets: what they get back after a cut is what Socket.IO's recovery gives them. A connection that
//! is not recovered is recorded as a gap in each of its rooms.

use crate::{
    Fault, Result,
    client::{frames::Reader, speech},
    record::{Entry, Follow, Record, Seen, SeenEvent, Wishes},
};
use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
    time::Instant,
};

/// Longer than Node.js takes to close its connections.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// What the clients run on.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The script that drives them: a client a line, see there.
    pub script: PathBuf,
    /// The `node_modules` that holds `socket.io-client`.
    pub modules: PathBuf,
}

/// The two dialects of Socket.IO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// System D, `/`: any rooms, events as published.
    Main,
    /// System A, `/executions`: executions only, five events.
    Executions,
}

/// One of the clients.
#[derive(Clone, Debug)]
pub struct SocketIoPlan {
    /// Its name in verdicts.
    pub name: String,
    /// Its namespace.
    pub namespace: Namespace,
    /// The gateway it begins with.
    pub first_gateway: usize,
    /// What it follows: its own execution first, then rooms that hold the execution's events too.
    pub follows: Vec<Follow>,
    /// Whether it only polls.
    pub polls: bool,
}

/// All clients of a process. Dropping it ends them.
pub struct SocketIoClients {
    node: Child,
    stdin: ChildStdin,
    records: Arc<Mutex<Vec<Record>>>,
    reading: JoinHandle<()>,
}

impl SocketIoClients {
    /// Starts them; they connect by themselves. `gateways` are `http://` addresses.
    ///
    /// # Errors
    /// Node.js is not there.
    pub async fn start(runtime: &Runtime, gateways: &[String], plans: &[SocketIoPlan]) -> Result<Self> {
        let node = Command::new("node")
            .arg(&runtime.script)
            .env("NODE_PATH", &runtime.modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut node = node.map_err(Fault::io("start node, which Socket.IO's own client needs"))?;
        let (Some(mut stdin), Some(stdout)) = (node.stdin.take(), node.stdout.take()) else {
            return Err(Fault::said("node", "it has no pipes"));
        };
        for (id, plan) in plans.iter().enumerate() {
            let line = plan.line(id, gateways);
            stdin.write_all(line.as_bytes()).await.map_err(Fault::io("tell node what to do"))?;
        }
        let records = Arc::new(Mutex::new(plans.iter().map(SocketIoPlan::record).collect()));
        let recorders = plans.iter().map(|plan| Recorder::new(plan.namespace)).collect();
        let reading = tokio::spawn(read(stdout, Arc::clone(&records), recorders));
        Ok(Self { node, stdin, records, reading })
    }

    /// What they have seen so far. They stand still while this is held.
    pub fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock()
    }

    /// Closes all and returns what they saw.
    pub async fn finish(self) -> Vec<Record> {
        let Self { mut node, stdin, records, reading } = self;
        drop(stdin);
        // What they said up to their end is read to its end; one that does not end is killed, and its record is whole all the same.
        let _ = tokio::time::timeout(LEAVE_WITHIN, reading).await;
        let _ = tokio::time::timeout(LEAVE_WITHIN, node.wait()).await;
        std::mem::take(&mut *records.lock())
    }
}

impl SocketIoPlan {
    fn line(&self, id: usize, gateways: &[String]) -> String {
        let name = |follow: &Follow| match self.namespace {
            Namespace::Main => follow.room.to_string(),
            Namespace::Executions => follow.room.trim_start_matches("execution:").to_owned(),
        };
        let namespace = if self.namespace == Namespace::Main { "" } else { "/executions" };
        let transport = if self.polls { "polling" } else { "websocket" };
        let rooms: Vec<String> = self.follows.iter().map(name).collect();
        let line = json!({
            "id": id, "gateways": gateways, "first": self.first_gateway, "namespace": namespace, "rooms": rooms,
            "options": {"transports": [transport]},
        });
        format!("{line}\n")
    }

    fn record(&self) -> Record {
        let types = if self.namespace == Namespace::Main { Vec::new() } else { vec!["log".into()] };
        let wishes = Wishes { types, ..Wishes::default() };
        Record { client: self.name.clone(), wishes, follows: self.follows.clone(), ..Record::default() }
    }
}

/// A line of the script.
#[derive(Deserialize)]
struct Line {
    id: usize,
    connected: Option<usize>,
    recovered: Option<bool>,
    disconnected: Option<String>,
    refused: Option<String>,
    room: Option<String>,
    answer: Option<Value>,
    event: Option<String>,
    #[serde(default)]
    payload: Value,
}

async fn read(stdout: ChildStdout, records: Arc<Mutex<Vec<Record>>>, mut recorders: Vec<Recorder>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let Ok(line) = serde_json::from_str::<Line>(&text) else { continue };
        let mut records = records.lock();
        if let (Some(record), Some(recorder)) = (records.get_mut(line.id), recorders.get_mut(line.id)) {
            recorder.take(line, record);
        }
    }
}

/// Makes entries of lines.
struct Recorder {
    namespace: Namespace,
    reader: Reader,
    was_connected: bool,
}

impl Recorder {
    fn new(namespace: Namespace) -> Self {
        Self { namespace, reader: Reader::new(false), was_connected: false }
    }

    fn take(&mut self, line: Line, record: &mut Record) {
        if let Some(gateway) = line.connected {
            see(record, Seen::Connected { gateway });
            let again = std::mem::replace(&mut self.was_connected, true);
            record.resumes += u32::from(again);
            record.recovered += u32::from(again && line.recovered == Some(true));
            if again && line.recovered != Some(true) {
                for follow in record.follows.clone() {
                    see(record, Seen::Gap { room: follow.room, body: json!({"reason": "not recovered"}) });
                }
            }
        } else if let Some(why) = line.disconnected {
            record.disconnects += 1;
            see(record, Seen::Disconnected { code: None, why });
        } else if let (Some(room), Some(answer)) = (line.room, line.answer) {
            see(record, self.answered(&room, &answer, record));
        } else if let Some(why) = line.refused {
            see(record, Seen::Malformed { text: format!("refused: {why}") });
        } else if let Some(name) = line.event {
            let seen = match self.namespace {
                Namespace::Main => self.main(&name, &line.payload, record),
                Namespace::Executions => self.executions(&name, &line.payload, record),
            };
            record.events += u64::from(matches!(seen, Seen::Event(_)));
            see(record, seen);
        }
    }

    fn answered(&mut self, room: &str, answer: &Value, record: &Record) -> Seen {
        let room: Arc<str> = if room.contains(':') { room.into() } else { format!("execution:{room}").into() };
        match (answer["ok"].as_bool(), answer["outcome"].as_str()) {
            (Some(true), Some(outcome)) => {
                let again = !record.outcomes(&room).is_empty();
                let offset = answer["offset"].as_str().map(Box::from);
                Seen::Subscribed { room, outcome: self.reader.word(outcome), offset, again, refreshed: Vec::new() }
            }
            _ => Seen::Malformed { text: format!("{room} was answered with {answer}") },
        }
    }

    /// D names no room: an event comes by its own, if that is followed, and else by one that has a copy.
    fn main(&mut self, name: &str, payload: &Value, record: &Record) -> Seen {
        let mut payload = payload.clone();
        // What is no event is named by the event alone.
        payload["type"] = name.into();
        let seen = self.reader.read(&payload.to_string(), |_| true);
        let Seen::Event(event) = seen else { return seen };
        let followed =
            |room: &str| record.follows.iter().find(|follow| &*follow.room == room).map(|follow| Arc::clone(&follow.room));
        let own = || payload["userId"].as_str().and_then(|user| followed(&format!("user:{user}")));
        let room = followed(&event.room).or_else(own).unwrap_or(event.room);
        Seen::Event(SeenEvent { room, ..event })
    }

    fn executions(&mut self, name: &str, payload: &Value, record: &Record) -> Seen {
        let room = payload["executionId"].as_str().map(|id| Arc::from(format!("execution:{id}")));
        let room = room.or_else(|| record.follows.first().map(|follow| Arc::clone(&follow.room)));
        match (name, room) {
            ("log", Some(room)) => {
                let log = &payload["log"];
                speech::entry(log["id"].as_str(), "log", &log["message"], &log["level"], &room, &mut self.reader)
            }
            _ => Seen::Frame { kind: self.reader.word(name), body: payload.clone() },
        }
    }
}

fn see(record: &mut Record, seen: Seen) {
    record.entries.push(Entry { at: Instant::now(), seen });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(namespace: Namespace, rooms: &[&str]) -> SocketIoPlan {
        let follows = rooms.iter().map(|room| Follow::live(room)).collect();
        SocketIoPlan { name: "c".into(), namespace, first_gateway: 0, follows, polls: false }
    }

    fn recorded(plan: &SocketIoPlan, lines: &[Value]) -> Record {
        let (mut record, mut recorder) = (plan.record(), Recorder::new(plan.namespace));
        for line in lines {
            let mut line = line.clone();
            line["id"] = 0.into();
            recorder.take(serde_json::from_value(line).expect("a line"), &mut record);
        }
        record
    }

    #[test]
    fn an_event_of_two_rooms_is_known_by_the_first_that_is_followed() {
        let event = |execution: &str| {
            json!({"event": "log", "payload": {"type": "log", "executionId": execution, "userId": "u", "id": "i",
                   "data": {"n": 3, "source": "s"}}})
        };
        let record = recorded(&plan(Namespace::Main, &["execution:a", "user:u"]), &[event("a"), event("b")]);
        let rooms: Vec<&str> = record.events().map(|event| &*event.room).collect();
        assert_eq!((rooms, record.events), (vec!["execution:a", "user:u"], 2));
    }

    #[test]
    fn a_connection_that_is_not_recovered_is_a_gap_and_one_that_is_counts_as_a_resume() {
        let plan = plan(Namespace::Executions, &["execution:a"]);
        let log = json!({"event": "log", "payload": {"executionId": "a", "log": {"id": "s.a.7", "message": "s.a.7 x", "level": "info"}}});
        let answered = json!({"room": "a", "answer": {"ok": true, "outcome": "live", "offset": "o"}});
        let (first, cut) = (json!({"connected": 0, "recovered": false}), json!({"disconnected": "transport close"}));
        let whole =
            recorded(&plan, &[first.clone(), answered.clone(), cut.clone(), json!({"connected": 1, "recovered": true}), log]);
        assert_eq!((whole.gaps().count(), whole.resumes, whole.disconnects, whole.events), (0, 1, 1, 1));
        assert_eq!(whole.recovered, 1);
        assert_eq!(whole.outcomes("execution:a").len(), 1);
        let torn = recorded(&plan, &[first, answered, cut, json!({"connected": 1, "recovered": false})]);
        assert_eq!((torn.gaps().count(), torn.resumes, torn.recovered), (1, 1, 0));
        let refused = recorded(&plan, &[json!({"room": "a", "answer": {"ok": false, "code": "forbidden"}})]);
        assert!(matches!(refused.entries[0].seen, Seen::Malformed { .. }));
    }
}
