//! What the dialects read of an event: its envelope and the keys of `data` that some frame shows, each as published.

use crate::{json::text_json, piece::Told};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};
use weft_event::{Envelope, Family, Status};

macro_rules! keys {
    ($($key:ident $name:literal)*) => {
        /// A key of `data` that some dialect shows (wire contract, section 1).
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Key { $($key),* }
        /// Their names, in the order of [`Key`].
        const NAMES: &[&str] = &[$($name),*];
    };
}

keys! {
    Status "status" StartedAt "startedAt" CompletedAt "completedAt" Progress "progress" CurrentNode "currentNode"
    CurrentAgent "currentAgent" Result "result" Output "output" Outputs "outputs" Error "error" Reason "reason"
    Duration "duration" NodesCompleted "nodesCompleted" NodesFailed "nodesFailed" NodeType "nodeType" Input "input"
    DurationMs "durationMs" Id "id" Level "level" Message "message" NodeId "nodeId" Metadata "metadata"
    StepName "stepName" StepType "stepType" InputData "inputData" OutputData "outputData"
}

const KEYS: usize = NAMES.len();

/// The keys of one `data` object. Of a key that stands twice the last counts, as in every JavaScript client.
#[derive(Default)]
struct Data<'a>([Option<&'a RawValue>; KEYS]);

impl<'a> Data<'a> {
    fn read(text: &'a str) -> Self {
        let read = serde_json::Deserializer::from_str(text).deserialize_map(DataVisitor);
        debug_assert!(read.is_ok(), "a prepared event's data is one JSON object");
        read.unwrap_or_default()
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data<'de>, A::Error> {
        let mut data = Data::default();
        while let Some(index) = map.next_key_seed(KeyIndex)? {
            match index {
                Some(index) => data.0[index] = Some(map.next_value()?),
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(data)
    }
}

/// The place of a key in [`NAMES`].
struct KeyIndex;

impl<'de> serde::de::DeserializeSeed<'de> for KeyIndex {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIndex {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(NAMES.iter().position(|name| *name == text))
    }
}

/// A step of an execution, be it a node or an agent.
pub(crate) struct Step<'a> {
    /// Which node or agent.
    pub(crate) id: &'a str,
    /// What the event says of it.
    pub(crate) status: Status,
}

/// One event, read once.
pub(crate) struct Facts<'a> {
    told: Told<'a>,
    envelope: Envelope<'a>,
    data: Data<'a>,
}

impl<'a> Facts<'a> {
    pub(crate) fn read(told: Told<'a>) -> Self {
        let envelope = told.event.envelope();
        let data = Data::read(envelope.data_text());
        Self { told, envelope, data }
    }

    /// The family, and what follows its colon.
    pub(crate) fn family_and_name(&self) -> (Family, &'a str) {
        let kind = self.told.event.kind();
        (kind.family(), kind.as_str().split_once(':').map_or("", |(_, name)| name))
    }

    /// The event's own id, or the one that stands in for it.
    pub(crate) fn id(&self) -> Option<&'a str> {
        self.told.event.id.as_deref().or(self.told.implied_id)
    }

    /// When it happened, RFC 3339.
    pub(crate) fn timestamp(&self) -> Option<&str> {
        self.envelope.timestamp.as_deref().or(self.told.implied_timestamp)
    }

    /// A value of `data`; `null` is none.
    pub(crate) fn get(&self, key: Key) -> Option<&'a RawValue> {
        self.data.0[key as usize].filter(|value| value.get() != "null")
    }

    /// The first of these that is there.
    pub(crate) fn first<const N: usize>(&self, keys: [Key; N]) -> Option<&'a RawValue> {
        keys.into_iter().find_map(|key| self.get(key))
    }

    /// A string of `data`; anything else is none.
    pub(crate) fn text(&self, key: Key) -> Option<Cow<'a, str>> {
        self.get(key).and_then(text)
    }

    /// A value of `data` as a JSON string: itself if it is one, else a string of its JSON.
    pub(crate) fn text_json(&self, key: Key) -> Option<Cow<'a, str>> {
        self.get(key).map(as_text_json)
    }

    /// The node that a `log` is about.
    pub(crate) fn log_node(&self) -> Option<Cow<'_, str>> {
        self.text(Key::NodeId).or_else(|| self.envelope.node_id.as_deref().map(Cow::Borrowed))
    }

    /// What an `execution:*` event says of the execution's state; `None` of one that this version does not know.
    pub(crate) fn execution_status(&self) -> Option<Status> {
        let (Family::Execution, name) = self.family_and_name() else { return None };
        match name {
            "completed" => Some(Status::Completed),
            "failed" => Some(Status::Failed),
            "cancelled" => Some(Status::Cancelled),
            "started" | "updated" => Some(self.told_status().unwrap_or(Status::Running)),
            "progress" => Some(Status::Running),
            _ => None,
        }
    }

    fn told_status(&self) -> Option<Status> {
        self.get(Key::Status).and_then(|status| serde_json::from_str(status.get()).ok())
    }

    /// The step that a `node:*` event or one of the four of an agent's step is about.
    pub(crate) fn step(&self) -> Option<Step<'a>> {
        let (family, name) = self.family_and_name();
        let id = match family {
            Family::Node => self.told.event.node_id.as_deref(),
            Family::Agent => self.told.event.agent_id.as_deref(),
            _ => None,
        }?;
        let status = match name {
            "started" | "progress" => Status::Running,
            "completed" => Status::Completed,
            "failed" => Status::Failed,
            _ => return None,
        };
        Some(Step { id, status })
    }

    /// What a completed step put out.
    pub(crate) fn output(&self) -> Option<&'a RawValue> {
        self.first([Key::Output, Key::Outputs, Key::Result])
    }

    /// Why an execution failed or was cancelled, as a JSON string.
    pub(crate) fn failure(&self, status: Status) -> Cow<'a, str> {
        match status {
            Status::Cancelled => self.text_json(Key::Reason).unwrap_or(Cow::Borrowed("\"cancelled\"")),
            _ => self.text_json(Key::Error).unwrap_or(Cow::Borrowed("\"failed\"")),
        }
    }
}

/// The string that a value is, borrowed where it holds no escape.
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let text = value.get();
    match text.as_bytes() {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Some(Cow::Borrowed(&text[1..text.len() - 1])),
        [b'"', ..] => serde_json::from_str(text).ok().map(Cow::Owned),
        _ => None,
    }
}

/// A value as a JSON string: itself if it is one, else a string of its JSON, so that a viewer of texts shows it.
pub(crate) fn as_text_json(value: &RawValue) -> Cow<'_, str> {
    if value.get().starts_with('"') { Cow::Borrowed(value.get()) } else { Cow::Owned(text_json(value.get())) }
}

/// The word for a state where `cancelled` is unknown (systems A and C).
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Running => "running",
        Status::Completed => "completed",
        Status::Failed | Status::Cancelled => "failed",
    }
}

/// The level of a log entry where `debug` is unknown (systems A and E): what is no level is `info`.
pub(crate) fn level_without_debug(level: Option<&str>) -> &'static str {
    match level {
        Some("error") => "error",
        Some("warning" | "warn") => "warning",
        _ => "info",
    }
}
