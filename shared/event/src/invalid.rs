//! Why something was refused.

use std::borrow::Cow;

/// Why an event, id or name was refused: the field, and the rule it broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// The field at fault, as it is written in the event; `event` stands for the whole.
    pub field: &'static str,
    /// The rule, in words that follow the field's name.
    pub rule: Cow<'static, str>,
}

impl Invalid {
    /// A refusal of `field`.
    pub fn new(field: &'static str, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { field, rule: rule.into() }
    }
}
