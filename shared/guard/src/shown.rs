//! Text of others in a line of a log.

use std::fmt::{self, Write as _};

/// Most characters shown.
const CHARACTERS_MAX: usize = 200;

/// Shows text of others so that it stays on its line and cannot pass for anything else: printable ASCII as it is, all else
/// (line breaks, escapes of terminals, marks that turn the direction of writing) as `\u{…}`, and not too much of it.
#[derive(Clone, Copy)]
pub struct Shown<'t>(pub &'t str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, character) in self.0.chars().enumerate() {
            if count == CHARACTERS_MAX {
                return f.write_char('…');
            }
            match character {
                '\\' | '"' => write!(f, "\\{character}")?,
                ' '..='~' => f.write_char(character)?,
                _ => write!(f, "{}", character.escape_unicode())?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_text_stays_on_its_line() {
        for (text, expected) in [
            ("u@x.org", "u@x.org"),
            ("a\r\nERROR forged", "a\\u{d}\\u{a}ERROR forged"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{202e}gnp", "\\u{202e}gnp"),
            ("a\0b\u{85}\u{2028}", "a\\u{0}b\\u{85}\\u{2028}"),
            ("x\" outcome=\"done", "x\\\" outcome=\\\"done"),
            ("ü", "\\u{fc}"),
        ] {
            assert_eq!(Shown(text).to_string(), expected);
        }
        assert_eq!(Shown(&"x".repeat(10_000)).to_string().chars().count(), CHARACTERS_MAX + 1);
    }
}
