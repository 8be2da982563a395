//! The control listener's own token, and the line that each of its requests leaves behind.

use crate::{Refused, Shown, Token, files, keys::BadKey, meters};
use ring::{hmac, rand::SystemRandom};
use std::{fmt, net::IpAddr, path::Path};

/// Shortest control token in bytes.
const BYTES_MIN: usize = 16;

/// What an operator must show. The token itself is not kept: candidates are compared by a keyed hash, which takes the same
/// time however much of one is right.
pub struct ControlToken {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl ControlToken {
    /// Reads it from its file, without the white space around it.
    ///
    /// # Errors
    /// The file cannot be read, or its token is too short; never what is in it.
    pub fn open(path: &Path) -> Result<Self, BadKey> {
        let content = files::read_file(path)?;
        Self::new(content.trim_ascii()).map_err(|BadKey(reason)| BadKey(format!("{}: {reason}", path.display())))
    }

    /// Takes the token.
    ///
    /// # Errors
    /// It is too short.
    pub fn new(token: &[u8]) -> Result<Self, BadKey> {
        if token.len() < BYTES_MIN {
            return Err(BadKey(format!("a control token has at least {BYTES_MIN} bytes, this one {}", token.len())));
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| BadKey("the system gives no random numbers".into()))?;
        let tag = hmac::sign(&key, token);
        Ok(Self { key, tag })
    }

    /// Whether this is it.
    pub fn check(&self, candidate: Option<&Token>) -> Result<(), Refused> {
        let candidate = candidate.ok_or(Refused::Missing)?;
        let is_it = hmac::verify(&self.key, candidate.expose().as_bytes(), self.tag.as_ref()).is_ok();
        if is_it { Ok(()) } else { Err(Refused::Signature) }
    }
}

impl fmt::Debug for ControlToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlToken(***)")
    }
}

/// Writes the line of one request to the control listener, whatever became of it: who, what, to whom, with which outcome.
pub fn audit(from: IpAddr, action: &'static str, target: &str, outcome: &'static str) {
    meters::control(action, outcome);
    tracing::info!(target: "weft::audit", %from, action, target = %Shown(target), outcome, "control");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_it() {
        let control = ControlToken::new(b"0123456789abcdef").expect("long enough");
        let check = |text: &str| control.check(Token::new(text).as_ref());
        assert_eq!(check("0123456789abcdef"), Ok(()));
        for other in ["0123456789abcdeg", "0123456789abcde", "0123456789abcdef0", "x"] {
            assert_eq!(check(other), Err(Refused::Signature), "{other}");
        }
        assert_eq!(check(""), Err(Refused::Missing));
        let refused = ControlToken::new(b"short").expect_err("too short").to_string();
        assert!(!refused.contains("short,") && !format!("{control:?}").contains("0123"), "{refused}");
    }
}
