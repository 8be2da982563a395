//! What a gateway with a fault tells of the events that were published, whatever carries it.

use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Loses,
    Doubles,
    Swaps,
    Strays,
    Gap,
    Refuses,
    Closes,
}

/// What a client is told, in the words of its protocol.
#[derive(Debug)]
pub enum Tell {
    Event(Value),
    /// Something that a client must bear, or answer.
    Ping,
    Gap,
    Refusal,
    End,
}

/// The event at which the fault shows; past the warm-up.
const AT: &str = "~4~";

/// One client's follow of an execution.
pub struct Follow {
    fault: Fault,
    execution: String,
    kept: Option<Value>,
}

impl Follow {
    pub fn new(fault: Fault, execution: &str) -> Self {
        Self { fault, execution: execution.into(), kept: None }
    }

    /// What the client is told because of an event of any execution.
    pub fn told(&mut self, event: &Value) -> Vec<Tell> {
        let is_at_fault = event["data"]["message"].as_str().expect("a message with its mark").contains(AT);
        let strays = self.fault == Fault::Strays && is_at_fault;
        if event["executionId"] != self.execution.as_str() && !strays {
            return Vec::new();
        }
        let told = || Tell::Event(event.clone());
        match (self.fault, is_at_fault) {
            (Fault::Loses, true) => Vec::new(),
            (Fault::Doubles, true) => vec![told(), told()],
            (Fault::Swaps, true) => {
                self.kept = Some(event.clone());
                Vec::new()
            }
            (Fault::Gap, true) => vec![Tell::Gap, told()],
            (Fault::Refuses, true) => vec![Tell::Refusal, told()],
            (Fault::Closes, true) => vec![Tell::End],
            _ => [Tell::Ping, told()].into_iter().chain(self.kept.take().map(Tell::Event)).collect(),
        }
    }
}
