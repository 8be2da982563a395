//! A token: a secret that cannot be printed.

use std::fmt;

/// Longest token in bytes. Larger ones are refused before anything of them is read.
pub const BYTES_MAX: usize = 8 * 1024;

/// A bearer token as it came. `Debug` and `Display` show only that there was one.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// Takes what may be a token; `None` if it is empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The token itself, for whoever verifies it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text).ok_or("must not be empty")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_format_shows_it() {
        let token = Token::new(" secret ").expect("not empty");
        assert_eq!(token.expose(), "secret");
        assert!(!format!("{token} {token:?} {token:#?}").contains("secret"));
        assert!(Token::new("  ").is_none());
    }
}
