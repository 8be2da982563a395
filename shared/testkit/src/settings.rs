//! Holds a program's flags, its variables and the tables that document them together.

use clap::{Arg, Command};
use std::collections::BTreeMap;

/// Flags whose variable is not `WEFT_` and the flag in capitals, or that have none, in words. `except` names flags that
/// are meant to differ.
#[must_use]
pub fn misnamed(command: &Command, except: &[&str]) -> Vec<String> {
    let fault = |arg: &Arg| {
        let flag = arg.get_long()?;
        let expected = format!("WEFT_{}", flag.to_uppercase().replace('-', "_"));
        let found = variable(arg);
        (found.as_ref() != Some(&expected)).then(|| format!("--{flag}: {found:?} where {expected} is expected"))
    };
    settings(command).filter(|arg| !except.contains(&arg.get_long().unwrap_or_default())).filter_map(fault).collect()
}

/// How the tables of these sections differ from the program: settings without a row, rows without a setting, defaults
/// that are others, in words.
///
/// A section is a line `**Title**` and the tables up to the next such line or heading. A row is
/// `` | `WEFT_A`, `WEFT_B` | 1, `2` | … | ``, its defaults as many as its names, or `–` for none of them; `random` stands for
/// one that is made up at the start, `…` for the rest of a long one, and a remark in brackets may follow.
#[must_use]
pub fn misdocumented(command: &Command, markdown: &str, sections: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for title in sections {
        let found = section(markdown, title);
        if found.is_empty() {
            faults.push(format!("there is no table in a section **{title}**"));
        }
        for (name, default) in found {
            if rows.insert(name.clone(), default).is_some() {
                faults.push(format!("{name} has two rows"));
            }
        }
    }
    for arg in settings(command) {
        let name = variable(arg).unwrap_or_else(|| arg.get_id().to_string());
        match rows.remove(&name) {
            None => faults.push(format!("{name} has no row")),
            Some(told) if !is_default(arg, &told) => {
                faults.push(format!("{name} has the default {:?}, its row says {told:?}", default(arg)));
            }
            Some(_) => {}
        }
    }
    faults.extend(rows.into_keys().map(|name| format!("{name} has a row and is no setting")));
    faults
}

fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    // clap adds `help` and `version` itself.
    command.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
}

fn variable(arg: &Arg) -> Option<String> {
    arg.get_env().map(|name| name.to_string_lossy().into_owned())
}

fn default(arg: &Arg) -> String {
    let values = arg.get_default_values().iter().map(|value| value.to_string_lossy());
    values.collect::<Vec<_>>().join(",")
}

fn is_default(arg: &Arg, told: &str) -> bool {
    let default = default(arg);
    let is_hidden = arg.is_hide_default_value_set() || default.is_empty();
    match (told, told.strip_suffix('…')) {
        ("–", _) => default.is_empty(),
        ("random" | "automatic", _) => is_hidden,
        (_, Some(beginning)) => default.starts_with(beginning),
        _ => default == told,
    }
}

/// Each variable and its default, as the section's tables have them.
fn section(markdown: &str, title: &str) -> Vec<(String, String)> {
    let begins = format!("**{title}**");
    let lines = markdown.lines().skip_while(|line| line.trim() != begins).skip(1);
    let of_section = lines.take_while(|line| !line.starts_with('#') && !line.starts_with("**"));
    of_section.filter(|line| line.starts_with("| `WEFT_")).flat_map(row).collect()
}

fn row(line: &str) -> Vec<(String, String)> {
    let mut cells = line.split('|').skip(1).map(|cell| cell.trim().replace('`', ""));
    let names: Vec<String> = cells.next().unwrap_or_default().split(", ").map(str::to_owned).collect();
    let told = cells.next().unwrap_or_default();
    // A remark in brackets explains the value and is no part of it.
    let told = told.split(" (").next().unwrap_or_default();
    let defaults: Vec<&str> =
        if names.len() == 1 || told == "–" { vec![told; names.len()] } else { told.split(", ").collect() };
    // A row with too few defaults shows as one that is wrong.
    names.into_iter().enumerate().map(|(index, name)| (name, defaults.get(index).unwrap_or(&"").to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let flag = |name: &'static str, variable: &'static str| Arg::new(name).long(name).env(variable);
        Command::new("test").args([
            flag("port", "WEFT_PORT").default_value("3001"),
            flag("ping-secs", "WEFT_PING_SECS").default_value("25"),
            flag("pong-secs", "WEFT_PONG_SECS").default_value("20"),
            flag("name", "WEFT_NAME").default_value("x-1").hide_default_value(true),
            flag("pass-env", "WEFT_PASS_ENV").default_value("PATH,HOME,USER"),
            flag("ca-file", "WEFT_CA_FILE"),
        ])
    }

    const TABLE: &str = "# Settings\n\n**All**\n\n| variable | default | |\n|---|---|---|\n| `WEFT_PORT` | 3001 (free) | port |\n\
        | `WEFT_PING_SECS`, `WEFT_PONG_SECS` | 25, `20` | pings |\n| `WEFT_NAME` | random | a name |\n\
        | `WEFT_PASS_ENV` | `PATH,HOME,…` | some |\n| `WEFT_CA_FILE` | – | a file |\n\n**Other**\n\n| `WEFT_ELSE` | 1 | x |\n";

    #[test]
    fn tables_are_held_against_the_program_in_both_directions() {
        assert_eq!(misdocumented(&command(), TABLE, &["All"]), [""; 0]);
        let unknown = misdocumented(&command(), TABLE, &["All", "Other"]);
        assert_eq!(unknown, ["WEFT_ELSE has a row and is no setting"]);
        for (written, instead, fault) in [
            ("3001", "3002", "WEFT_PORT has the default"),
            ("25, `20`", "25", "WEFT_PONG_SECS has the default"),
            ("`WEFT_CA_FILE` | –", "`WEFT_CA_FILE` | /etc", "WEFT_CA_FILE has the default"),
            ("`PATH,HOME,…`", "`HOME,…`", "WEFT_PASS_ENV has the default"),
            ("| `WEFT_NAME` | random | a name |\n", "", "WEFT_NAME has no row"),
            ("**All**", "**None**", "there is no table"),
        ] {
            let faults = misdocumented(&command(), &TABLE.replace(written, instead), &["All"]);
            assert!(faults[0].starts_with(fault), "{faults:?}");
        }
    }

    #[test]
    fn names_belong_together() {
        assert_eq!(misnamed(&command(), &[]), [""; 0]);
        let other = command().arg(Arg::new("listen").long("listen").env("WEFT_ADDRESS")).arg(Arg::new("quiet").long("quiet"));
        assert_eq!(misnamed(&other, &[]).len(), 2);
        assert_eq!(misnamed(&other, &["listen", "quiet"]), [""; 0]);
    }
}
