//! What is wrong with the settings, told to whoever starts the process.

use clap::{
    Arg, Command,
    error::{ContextKind, ContextValue},
};

/// What is wrong with flags or environment, in one line that names the variable: who reads it may have set either.
#[must_use]
pub fn in_one_line(error: &clap::Error, command: &Command) -> String {
    let said = error.to_string();
    let line = said.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => return line.to_owned(),
    };
    let flag = argument.split_whitespace().next().unwrap_or_default().trim_start_matches("--");
    let found = command.get_arguments().find(|known| known.get_long() == Some(flag));
    match found.and_then(Arg::get_env) {
        Some(variable) => format!("{}: {line}", variable.to_string_lossy()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Cli {
        #[arg(long, env = "WEFT_TEST_PORT")]
        port: u16,
    }

    #[test]
    fn the_variable_is_named_and_the_advice_left_out() {
        for (arguments, told) in [
            (&["test", "--port", "many"][..], "WEFT_TEST_PORT: invalid value 'many' for '--port <PORT>'"),
            (&["test", "--no-such-flag"], "unexpected argument '--no-such-flag' found"),
        ] {
            let error = Cli::try_parse_from(arguments).map(|cli| cli.port).expect_err(told);
            let line = in_one_line(&error, &Cli::command());
            assert!(line.starts_with(told) && !line.contains('\n'), "{line}");
        }
    }
}
