//! Tables of plain columns, and values as people read them.

use super::{BOLD, harmless, paint};
use anstyle::Style;
use serde_json::Value;

/// A cell.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text in a style.
    #[must_use]
    pub fn new(text: &str, style: Style) -> Self {
        Self { text: harmless(text, false), style }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, super::PLAIN)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// The lines of a table: each column as wide as its widest cell, two spaces between, nothing after the last.
#[must_use]
pub fn lines(head: &[&str], rows: &[Vec<Cell>], colours: bool) -> Vec<String> {
    let head: Vec<Cell> = head.iter().map(|name| Cell::new(name, BOLD)).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    std::iter::once(&head).chain(rows).map(|row| line(row, &widths, colours)).collect()
}

fn line(row: &[Cell], widths: &[usize], colours: bool) -> String {
    let mut line = String::new();
    for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
        line.push_str(&paint(&cell.text, cell.style, colours));
        if at + 1 < row.len() {
            line.push_str(&" ".repeat(width.saturating_sub(cell.text.chars().count()) + 2));
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// A value in few words: text as it is, nothing as a dash, the rest as JSON.
#[must_use]
pub fn brief(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How much is done, as `40%`.
#[must_use]
pub fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".into(), |progress| format!("{}%", progress.round()))
}

/// A time between two moments, RFC 3339 each; until `now` while it has no end.
#[must_use]
pub fn between(start: &Value, end: &Value, now: jiff::Timestamp) -> String {
    let moment = |value: &Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
    let Some(start) = moment(start) else { return "-".into() };
    let end = moment(end).unwrap_or(now);
    spell_ms(u64::try_from(end.as_millisecond() - start.as_millisecond()).unwrap_or(0))
}

/// Milliseconds as `320ms`, `4.2s`, `3m05s` or `2h07m`.
#[must_use]
pub fn spell_ms(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}.{}s", ms % 1000 / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::GOOD;
    use serde_json::json;

    #[test]
    fn columns_line_up_with_and_without_colours() {
        let rows = vec![vec![Cell::new("done", GOOD), "1".into()], vec!["é".into(), "x\ny".into()], vec!["z".into(), "".into()]];
        assert_eq!(lines(&["STATUS", "N"], &rows, false), ["STATUS  N", "done    1", "é       x\\ny", "z"]);
        let painted = lines(&["STATUS", "N"], &rows, true);
        assert_eq!(painted[1], "\u{1b}[32mdone\u{1b}[0m    1");
    }

    #[test]
    fn values_are_brief() {
        for (value, text) in [(json!(null), "-"), (json!(""), "-"), (json!("a"), "a"), (json!({"a": 1}), r#"{"a":1}"#)] {
            assert_eq!(brief(&value), text);
        }
        assert_eq!((percent(&json!(41.6)).as_str(), percent(&json!(null)).as_str()), ("42%", "-"));
        for (ms, text) in [(0, "0ms"), (999, "999ms"), (4_250, "4.2s"), (185_000, "3m05s"), (7_620_000, "2h07m")] {
            assert_eq!(spell_ms(ms), text);
        }
        let now = "2026-01-31T12:00:10Z".parse().expect("a time");
        let start = json!("2026-01-31T12:00:00.000Z");
        assert_eq!(between(&start, &json!(null), now), "10.0s");
        assert_eq!(between(&start, &json!("2026-01-31T12:00:01.500Z"), now), "1.5s");
        assert_eq!(between(&json!(null), &json!(null), now), "-");
        assert_eq!(between(&start, &json!("2025-01-31T12:00:01.500Z"), now), "0ms", "clocks differ");
    }
}
