//! Questions of an execution: what is asked, and what an answer that somebody typed means.

use crate::show::{ASK, DIM, harmless, paint};
use serde_json::{Value, json};

/// What an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
}

impl Kind {
    /// By the word of the protocol; text unless known.
    #[must_use]
    pub fn named(word: Option<&str>) -> Self {
        match word {
            Some("number" | "integer") => Self::Number,
            Some("boolean" | "confirm") => Self::Boolean,
            _ => Self::Text,
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Which.
    pub request_id: String,
    text: String,
    kind: Kind,
    choices: Vec<String>,
}

impl Question {
    /// From the `data` of a `user_input:required`, or an entry of `pendingInput`.
    #[must_use]
    pub fn new(asked: &Value) -> Self {
        let choices = ["choices", "enum", "options"].iter().find_map(|name| asked["validation"][*name].as_array());
        Self {
            request_id: asked["requestId"].as_str().unwrap_or_default().to_owned(),
            text: asked["prompt"].as_str().unwrap_or_default().to_owned(),
            kind: Kind::named(asked["inputType"].as_str().or(asked["validation"]["type"].as_str())),
            choices: choices.into_iter().flatten().filter_map(|choice| choice.as_str().map(str::to_owned)).collect(),
        }
    }

    /// What stands before the cursor.
    #[must_use]
    pub fn line(&self, colours: bool) -> String {
        let hint = match self.kind {
            _ if !self.choices.is_empty() => self.choices.join("/"),
            Kind::Text => String::new(),
            Kind::Number => "a number".into(),
            Kind::Boolean => "yes/no".into(),
        };
        let hint = if hint.is_empty() { hint } else { format!(" ({})", harmless(&hint, false)) };
        let mark = paint("?", ASK, colours);
        format!("{mark} {}{} ", harmless(&self.text, true), paint(&hint, DIM, colours))
    }

    /// The answer that a text stands for.
    ///
    /// # Errors
    /// The rule it breaks, in words that follow "the answer".
    pub fn read(&self, text: &str) -> Result<Value, String> {
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| choice == text) {
            return Err(format!("must be one of {}", self.choices.join(", ")));
        }
        value(self.kind, text)
    }
}

/// A text as a value of this kind.
///
/// # Errors
/// The rule that it breaks.
pub fn value(kind: Kind, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match kind {
        Kind::Text => Ok(text.into()),
        Kind::Number => {
            let number = serde_json::from_str::<serde_json::Number>(trimmed);
            number.map(Value::Number).map_err(|_| format!("must be a number, not {text:?}"))
        }
        Kind::Boolean => match trimmed.to_lowercase().as_str() {
            "y" | "yes" | "true" => Ok(true.into()),
            "n" | "no" | "false" => Ok(false.into()),
            _ => Err(format!("must be yes or no, not {text:?}")),
        },
    }
}

/// The message that answers.
#[must_use]
pub fn message(execution: &str, request_id: &str, value: &Value) -> Value {
    json!({"type": "user_input:provide", "executionId": execution, "requestId": request_id, "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_the_question_asks() {
        let question = |kind: &str, validation: Value| {
            Question::new(&json!({"requestId": "r", "prompt": "Go on?", "inputType": kind, "validation": validation}))
        };
        for (kind, text, value) in [
            ("text", "5", Ok(json!("5"))),
            ("text", " a ", Ok(json!(" a "))),
            ("number", "5", Ok(json!(5))),
            ("number", " -0.5 ", Ok(json!(-0.5))),
            ("number", "five", Err("must be a number, not \"five\"".to_owned())),
            ("boolean", "Y", Ok(json!(true))),
            ("boolean", "no", Ok(json!(false))),
            ("boolean", "", Err("must be yes or no, not \"\"".to_owned())),
            ("anything", "true", Ok(json!("true"))),
        ] {
            assert_eq!(question(kind, Value::Null).read(text), value, "{kind} {text}");
        }
        let choice = question("text", json!({"type": "text", "choices": ["a", "b"]}));
        assert_eq!(choice.read("b"), Ok(json!("b")));
        assert_eq!(choice.read("c"), Err("must be one of a, b".into()));
        assert_eq!(choice.line(false), "? Go on? (a/b) ");
        assert_eq!(question("boolean", Value::Null).line(false), "? Go on? (yes/no) ");
        assert_eq!(question("text", Value::Null).line(false), "? Go on? ");
    }

    #[test]
    fn a_question_cannot_command_a_terminal() {
        let question = Question::new(&json!({"requestId": "r", "prompt": "\u{1b}[2Jwell?"}));
        assert_eq!(question.line(false), "? \\u{1b}[2Jwell? ");
    }
}
