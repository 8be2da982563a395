//! The streams: made where they are missing, checked where they exist, and known by their identity.

use super::{
    Link,
    api::{self, Failure, NO_MESSAGE, STREAM_NOT_FOUND, WRONG_LAST_SEQUENCE},
    publish,
};
use crate::{BusError, ConnectError, PRESENCE_LIFETIME};
use async_nats::HeaderMap;
use bytes::Bytes;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{sync::atomic::Ordering, time::Duration};
use weft_event::Epoch;

/// The six streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Events of all rooms.
    Events,
    /// Heads and the lists of them.
    Heads,
    /// The generation of the events stream; never expires.
    Epoch,
    /// Announcements; in memory.
    Presence,
    /// Small records under a name.
    Records,
    /// Journals; a full one refuses further lines.
    Journals,
}

impl Stream {
    const ALL: [Self; 6] = [Self::Events, Self::Heads, Self::Epoch, Self::Presence, Self::Records, Self::Journals];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Events => "EVENTS",
            Self::Heads => "HEADS",
            Self::Epoch => "EPOCH",
            Self::Presence => "PRESENCE",
            Self::Records => "RECORDS",
            Self::Journals => "JOURNALS",
        }
    }

    /// What the stream is created with.
    fn config(self, link: &Link) -> Value {
        // The server counts in signed numbers.
        let nanos = |age: Duration| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let events = i64::try_from(link.retention.events).unwrap_or(i64::MAX);
        let below = |rest: &str| link.names.below(rest);
        let (subjects, storage, age, per_subject) = match self {
            Self::Events => (vec![below("*")], "file", link.retention.age, events),
            Self::Heads => (vec![below("head.*"), below("own.*.*.*")], "file", link.retention.head_age, 1),
            Self::Epoch => (vec![below("epoch.*")], "file", Duration::ZERO, 1),
            Self::Presence => (vec![below("present.*.*")], "memory", PRESENCE_LIFETIME, 1),
            Self::Records => (vec![below("record.*.*")], "file", link.record_age, 1),
            Self::Journals => (vec![below("journal.*")], "file", link.journal_age, -1),
        };
        // The server wants the window within the age. Only events carry ids.
        let window = if self == Self::Events { link.dedup_window } else { Duration::from_secs(1) };
        let window = if age.is_zero() { window } else { window.min(age) };
        let mut config = json!({
            "name": link.names.stream(self.word()), "subjects": subjects, "storage": storage, "retention": "limits",
            "discard": "old", "num_replicas": link.replicas, "max_age": nanos(age), "max_msgs_per_subject": per_subject,
            "max_msgs": -1, "max_bytes": -1, "max_msg_size": -1, "max_consumers": -1,
            "duplicate_window": nanos(window.max(Duration::from_millis(100))), "allow_direct": true,
        });
        if self == Self::Events {
            config["republish"] = json!({"src": below("*"), "dest": below("live.{{wildcard(1)}}")});
            if link.retention.bytes > 0 {
                config["max_bytes"] = link.retention.bytes.into();
            }
        }
        if self == Self::Journals {
            config["discard"] = "new".into();
            config["max_msgs"] = link.journal_lines.into();
        }
        config
    }

    /// Settings without which the driver does not work; the others are the operator's to choose.
    fn essential(self) -> &'static [&'static str] {
        match self {
            Self::Events => &["subjects", "republish", "allow_direct", "retention", "discard"],
            Self::Journals => &["subjects", "retention", "discard"],
            Self::Heads | Self::Epoch | Self::Presence | Self::Records => &["subjects", "max_msgs_per_subject", "retention"],
        }
    }
}

/// Settings that follow ours when a process starts with others than the stream was made with.
const FOLLOWING: [&str; 4] = ["max_age", "max_msgs_per_subject", "max_bytes", "duplicate_window"];

/// What the server tells of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) config: Value,
    pub(super) created: String,
    pub(super) state: State,
    #[serde(default)]
    pub(super) cluster: Option<Cluster>,
}

#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    #[serde(default)]
    pub(super) subjects: Option<FxHashMap<String, u64>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Cluster {
    #[serde(default)]
    pub(super) leader: Option<String>,
}

impl Info {
    pub(super) fn setting(&self, name: &str) -> i64 {
        self.config[name].as_i64().unwrap_or(-1)
    }
}

/// Which history this is, and what decides about reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) epoch: Epoch,
    pub(super) events_max: i64,
    pub(super) replicas: i64,
    pub(super) leader: Option<String>,
}

pub(super) async fn info(link: &Link, stream: Stream, subjects_filter: Option<&str>) -> Result<Info, Failure> {
    let body = subjects_filter.map(|filter| json!({"subjects_filter": filter}));
    api::call(&link.data, &format!("STREAM.INFO.{}", link.names.stream(stream.word())), body).await
}

/// Makes the missing streams and checks the others.
pub(super) async fn ensure_all(link: &Link) -> Result<(), ConnectError> {
    for stream in Stream::ALL {
        ensure(link, stream).await?;
    }
    Ok(())
}

async fn ensure(link: &Link, stream: Stream) -> Result<(), ConnectError> {
    let name = link.names.stream(stream.word());
    let mut wanted = stream.config(link);
    let found = match info(link, stream, None).await {
        Ok(found) => found,
        Err(failure) if failure.is_api(&[STREAM_NOT_FOUND]) => {
            match api::call::<Info>(&link.data, &format!("STREAM.CREATE.{name}"), Some(wanted.clone())).await {
                Ok(made) => made,
                // Another process may have been first.
                Err(refused) => info(link, stream, None).await.map_err(|_| {
                    ConnectError::new(format!(
                        "the JetStream stream {name} does not exist and cannot be created: {}; create it as {wanted}",
                        refused.reason()
                    ))
                })?,
            }
        }
        Err(failure) => {
            return Err(ConnectError::new(format!(
                "the JetStream stream {name} cannot be looked up (is JetStream on, may this user use $JS.API.>?): {}",
                failure.reason()
            )));
        }
    };
    check(&name, &wanted, &found, stream.essential())?;
    if matches!(stream, Stream::Journals | Stream::Records) {
        keep_longest(&mut wanted, &found);
    }
    follow_settings(link, &name, &wanted, found).await;
    Ok(())
}

/// What a journal or a record holds is somebody's safety: a process that needs it for a shorter time must not shorten it for
/// others.
fn keep_longest(wanted: &mut Value, found: &Info) {
    let (ours, theirs) = (wanted["max_age"].as_i64().unwrap_or(0), found.setting("max_age"));
    // 0 is for ever.
    if ours != 0 && (theirs == 0 || theirs > ours) {
        wanted["max_age"] = theirs.into();
    }
}

fn check(name: &str, wanted: &Value, found: &Info, essential: &[&str]) -> Result<(), ConnectError> {
    for setting in essential {
        let (want, have) = (&wanted[setting], &found.config[setting]);
        let same = match *setting {
            // Newer servers add fields of their own.
            "republish" => want["src"] == have["src"] && want["dest"] == have["dest"],
            _ => want == have,
        };
        if !same {
            return Err(ConnectError::new(format!("the JetStream stream {name} must have {setting} {want}, but has {have}")));
        }
    }
    if found.config["no_ack"] == true || found.config["sealed"] == true {
        return Err(ConnectError::new(format!("the JetStream stream {name} must acknowledge and must not be sealed")));
    }
    Ok(())
}

/// Brings limits in line with ours where the server lets us; an operator may keep that right.
async fn follow_settings(link: &Link, name: &str, wanted: &Value, found: Info) {
    let mut config = found.config;
    let differs: Vec<&str> = FOLLOWING.into_iter().filter(|setting| wanted[*setting] != config[*setting]).collect();
    if differs.is_empty() {
        return;
    }
    for setting in &differs {
        config[*setting] = wanted[*setting].clone();
    }
    match api::call::<Info>(&link.data, &format!("STREAM.UPDATE.{name}"), Some(config)).await {
        Ok(_) => tracing::info!(stream = name, settings = ?differs, "the stream's limits follow this process's settings"),
        Err(failure) => {
            let reason = failure.reason();
            tracing::warn!(stream = name, settings = ?differs, reason, "the stream keeps other limits than this process has");
        }
    }
}

/// Asks which history the events stream is. A stream that is gone is made again, which is a new history.
pub(super) async fn refresh(link: &Link) -> Result<Info, BusError> {
    look(link).await.map(|(info, _)| info)
}

/// [`refresh`], and the sequence of the record that holds the generation: what a renewal must find unchanged.
async fn look(link: &Link) -> Result<(Info, u64), BusError> {
    let info = match info(link, Stream::Events, None).await {
        Err(failure) if failure.is_api(&[STREAM_NOT_FOUND]) => {
            tracing::warn!("the events stream is gone; it is made again and its history is lost");
            ensure_all(link).await.map_err(|error| BusError::Refused(error.to_string()))?;
            info(link, Stream::Events, None).await?
        }
        other => other?,
    };
    let (generation, generation_seq) = generation(link).await?;
    let name = link.names.stream(Stream::Events.word());
    let epoch = Epoch(xxhash_rust::xxh3::xxh3_64(format!("{name}\n{}\n{generation}", info.created).as_bytes()));
    let identity = Identity {
        epoch,
        events_max: info.setting("max_msgs_per_subject"),
        replicas: info.setting("num_replicas"),
        leader: info.cluster.as_ref().and_then(|cluster| cluster.leader.clone()),
    };
    let mut known = link.identity.write();
    if known.epoch != epoch {
        link.highest.store(info.state.last_seq, Ordering::Relaxed);
    }
    // A new leader may not have repeated what the old one stored last.
    if known.replicas > 0 && (known.epoch != epoch || known.leader != identity.leader) {
        link.changed.notify_one();
    }
    *known = identity;
    drop(known);
    Ok((info, generation_seq))
}

/// The generation of the events stream, and the sequence of the record that holds it; none is the first.
async fn generation(link: &Link) -> Result<(String, u64), BusError> {
    match last_stored(link, Stream::Epoch, &link.names.below("epoch.events")).await? {
        Some(record) => Ok((String::from_utf8_lossy(&record.payload).into_owned(), record.seq)),
        None => Ok((String::new(), 0)),
    }
}

pub(super) async fn renew_epoch(link: &Link, old: Epoch) -> Result<Epoch, BusError> {
    link.durable()?;
    let (_, generation_seq) = look(link).await?;
    if link.epoch() == old {
        let next = Bytes::from(format!("{:x}", rand::random::<u64>()));
        match compare_and_set(link, link.names.below("epoch.events"), generation_seq, next).await {
            Ok(_) => {}
            Err(failure) if failure.is_api(&WRONG_LAST_SEQUENCE) => {}
            Err(failure) => return Err(failure.into()),
        }
        refresh(link).await?;
    }
    Ok(link.epoch())
}

/// Stores a record if the last one of its subject has this sequence, 0 for none. Answers the new sequence.
pub(super) async fn compare_and_set(link: &Link, subject: String, seq: u64, record: Bytes) -> Result<u64, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Expected-Last-Subject-Sequence", seq.to_string().as_str());
    publish::stored(&link.data, subject, Some(headers), record).await.map(|ack| ack.seq)
}

/// A record as the leader gives it.
pub(super) struct Record {
    pub(super) seq: u64,
    pub(super) subject: String,
    pub(super) payload: Bytes,
}

/// The last message of a subject, from the leader.
pub(super) async fn last_stored(link: &Link, stream: Stream, subject: &str) -> Result<Option<Record>, Failure> {
    leader_get(link, stream, json!({"last_by_subj": subject})).await
}

/// The message with this sequence, of whatever subject, from the leader.
pub(super) async fn stored_at(link: &Link, stream: Stream, seq: u64) -> Result<Option<Record>, Failure> {
    leader_get(link, stream, json!({"seq": seq})).await
}

async fn leader_get(link: &Link, stream: Stream, body: Value) -> Result<Option<Record>, Failure> {
    use base64::Engine as _;
    #[derive(Deserialize)]
    struct Answer {
        message: Message,
    }
    #[derive(Deserialize)]
    struct Message {
        subject: String,
        seq: u64,
        #[serde(default)]
        data: String,
    }
    let subject = format!("STREAM.MSG.GET.{}", link.names.stream(stream.word()));
    match api::call::<Answer>(&link.data, &subject, Some(body)).await {
        Ok(Answer { message }) => {
            let payload = base64::engine::general_purpose::STANDARD
                .decode(message.data)
                .map_err(|_| Failure::Nonsense("a message".into()))?;
            Ok(Some(Record { seq: message.seq, subject: message.subject, payload: payload.into() }))
        }
        Err(failure) if failure.is_api(&[NO_MESSAGE]) => Ok(None),
        Err(failure) => Err(failure),
    }
}
