//! Where things are written, and what that place can do.

use crate::settings::Color;
use std::io::{self, BufWriter, IsTerminal as _, Write};

/// Standard output, or a place in memory for tests.
pub struct Output {
    to: BufWriter<Box<dyn Write + Send>>,
    /// Whether a person looks at it.
    pub is_terminal: bool,
    /// Whether to use colours.
    pub colours: bool,
}

impl Output {
    /// Standard output.
    #[must_use]
    pub fn stdout(color: Color) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let is_dumb = set("TERM").is_some_and(|term| term == "dumb");
        let colours = wants_colours(color, is_terminal && !is_dumb, set("NO_COLOR").is_some());
        Self::new(Box::new(io::stdout()), is_terminal, colours)
    }

    /// Any other place.
    #[must_use]
    pub fn new(to: Box<dyn Write + Send>, is_terminal: bool, colours: bool) -> Self {
        Self { to: BufWriter::new(to), is_terminal, colours }
    }

    /// Writes a line. It is seen at the next [`Output::flush`] at the latest.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes())?;
        self.to.write_all(b"\n")
    }

    /// Writes text within a line.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.to.write_all(text.as_bytes())
    }

    /// Has all seen.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// <https://no-color.org>: a flag counts before the variable, the variable before the terminal.
fn wants_colours(color: Color, is_able: bool, no_color: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => is_able && !no_color,
    }
}

/// Writes a line to standard error. Where nobody reads it there is nobody to tell.
pub fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "weft: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_counts_before_the_variable_before_the_terminal() {
        for (color, is_able, no_color, wanted) in [
            (Color::Auto, true, false, true),
            (Color::Auto, true, true, false),
            (Color::Auto, false, false, false),
            (Color::Always, false, true, true),
            (Color::Never, true, false, false),
        ] {
            assert_eq!(wants_colours(color, is_able, no_color), wanted, "{color:?} {is_able} {no_color}");
        }
    }
}
