//! What is written for people: one line an event on a terminal or in a pipe, texts that run, tables.

pub mod event;
pub mod output;
pub mod table;
pub mod texts;

use anstyle::{AnsiColor, Style};

/// Bold, for headings.
pub const BOLD: Style = Style::new().bold();
/// For what is there to be passed over.
pub const DIM: Style = Style::new().dimmed();
/// It went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// It did not.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// To be looked at.
pub const WARN: Style = AnsiColor::Yellow.on_default();
/// Names.
pub const NAME: Style = AnsiColor::Cyan.on_default();
/// Somebody waits for an answer.
pub const ASK: Style = AnsiColor::Magenta.on_default().bold();
/// As it is.
pub const PLAIN: Style = Style::new();

/// Text in a style, or as it is without colours.
#[must_use]
pub fn paint(text: &str, style: Style, colours: bool) -> String {
    if colours && style != PLAIN && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// Text that moves no cursor and rings no bell: what executors publish is somebody else's, and a terminal obeys it. Tabs become a
/// space, other control characters are written out. Line breaks stay where `lines` says so.
#[must_use]
pub fn harmless(text: &str, lines: bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' if lines => safe.push('\n'),
            '\t' => safe.push(' '),
            // Of a pair of CR and LF the latter is enough.
            '\r' if lines => {}
            // Also the marks that turn the direction of text, with which a line can be made to read as another one.
            letter if letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                safe.extend(letter.escape_default());
            }
            letter => safe.push(letter),
        }
    }
    safe
}

/// How a status looks.
#[must_use]
pub fn status_style(status: &str) -> Style {
    match status {
        "completed" => GOOD,
        "failed" => BAD,
        "running" => NAME,
        "cancelled" => WARN,
        _ => PLAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_published_can_command_a_terminal() {
        for (text, lines, safe) in [
            ("a\tb", false, "a b"),
            ("a\nb", false, "a\\nb"),
            ("a\r\nb", true, "a\nb"),
            ("\u{1b}[2Jgone", true, "\\u{1b}[2Jgone"),
            ("\u{9b}31m\u{7}", false, "\\u{9b}31m\\u{7}"),
            ("ab\u{202e}dc", false, "ab\\u{202e}dc"),
            ("żółw 🐢", false, "żółw 🐢"),
        ] {
            assert_eq!(harmless(text, lines), safe);
        }
    }

    #[test]
    fn colours_come_only_where_they_are_wanted() {
        assert_eq!(paint("x", BAD, false), "x");
        assert_eq!(paint("x", PLAIN, true), "x");
        assert_eq!(paint("x", GOOD, true), "\u{1b}[32mx\u{1b}[0m");
    }
}
