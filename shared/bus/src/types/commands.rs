//! Commands from clients to executors, and their answers.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use weft_event::Room;

/// Whom a command is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// Whoever runs this execution (an `execution:` room, with its tenant).
    Execution(Room),
    /// One executor process.
    Executor(String),
}

impl Address {
    /// The broker name, `[<tenant>/]execution:<id>` or `executor:<id>`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Execution(room) => room.broker_name().to_owned(),
            Self::Executor(id) => format!("executor:{id}"),
        }
    }
}

/// What a client asks an executor to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    /// Names this command; the executor answers a repeat as it answered first.
    #[serde(rename = "ref")]
    pub reference: String,
    /// `user_input:provide`, `cancel`, `execute`, …
    pub kind: String,
    /// The verified subject that asks, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What the kind needs.
    pub body: Box<RawValue>,
}

/// An executor's answer. In JSON `{"outcome":"accepted","body":…}` or `{"outcome":"rejected","code":…,"message":…}`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Reply {
    /// Done, or begun.
    Accepted {
        /// What the kind answers with.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<Box<RawValue>>,
    },
    /// Not done.
    Rejected {
        /// A short stable word.
        code: String,
        /// Why, for people.
        message: String,
    },
}

// By hand, because serde buffers a tagged enum before it knows the variant, and a raw value cannot be buffered.
impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum Outcome {
            Accepted,
            Rejected,
        }
        #[derive(Deserialize)]
        struct Flat {
            outcome: Outcome,
            #[serde(default)]
            body: Option<Box<RawValue>>,
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let Flat { outcome, body, code, message } = Flat::deserialize(deserializer)?;
        Ok(match outcome {
            Outcome::Accepted => Self::Accepted { body },
            Outcome::Rejected => Self::Rejected { code, message },
        })
    }
}

/// A command that arrived, and the way to answer it. Dropping it unanswered leaves the sender to its timeout.
#[derive(Debug)]
pub struct Incoming {
    /// What is asked.
    pub command: Command,
    /// Whom it was addressed to.
    pub address: Address,
    /// Takes the one answer.
    pub reply: oneshot::Sender<Reply>,
}

/// Keeps an address served; dropping it ends that.
pub struct Serving {
    /// Undoes the registration.
    pub(crate) undo: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take() {
            undo();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_survive_the_wire_byte_for_byte() {
        for text in [
            r#"{"outcome":"accepted","body":{"n":1.00,"a":[ 1 ]}}"#,
            r#"{"outcome":"accepted"}"#,
            r#"{"outcome":"rejected","code":"no","message":"never"}"#,
        ] {
            let reply: Reply = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&reply).expect("json"), text);
        }
        assert!(serde_json::from_str::<Reply>(r#"{"body":1}"#).is_err());
    }
}
