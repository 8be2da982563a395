//! The tables in docs/PROTOCOL.md hold exactly what clients can be told.

use std::{fs, path::Path};
use weft_dialect::told::{CLOSES, ERRORS};

/// The rows between the marker that begins with `name` and the next `<!-- end -->`, without the two head lines.
fn rows(document: &str, name: &str) -> Vec<String> {
    let begin = format!("<!-- {name}:");
    let lines = document.lines().skip_while(|line| !line.starts_with(&begin)).skip(3);
    lines.take_while(|line| *line != "<!-- end -->").map(str::to_owned).collect()
}

fn compare(name: &str, expected: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/PROTOCOL.md");
    let document = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let found = rows(&document, name);
    assert_eq!(found, expected, "the table `{name}` of docs/PROTOCOL.md should read:\n{}\n", expected.join("\n"));
}

#[test]
fn every_error_code_is_documented() {
    let row = |error: &weft_dialect::told::ErrorCode| {
        format!("| `{}` | {} | {} | {} |", error.code, error.http, error.sentence, error.come_back.words())
    };
    compare("errors", &ERRORS.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn every_close_code_is_documented() {
    let row =
        |close: &weft_dialect::told::CloseCode| format!("| {} | {} | {} |", close.code, close.sentence, close.come_back.words());
    compare("closes", &CLOSES.iter().map(row).collect::<Vec<_>>());
}
