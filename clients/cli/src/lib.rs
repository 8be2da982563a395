//! Weft from a terminal: publish, follow, list, run, answer, cancel.
//!
//! [`run`](fn@run) is the program without its process: settings in, an exit code out. Each command is a module: [`publish`],
//! [`tail`], [`executions`], [`commands`], [`mod@run`]. Below them [`gateway`] asks gateways by HTTP, [`follow`] holds the WebSocket
//! that survives them, and [`show`] writes for people. Nothing here looks inside an offset.

pub mod commands;
pub mod executions;
pub mod exit;
pub mod follow;
pub mod gateway;
pub mod publish;
pub mod run;
pub mod settings;
pub mod show;
pub mod tail;

use clap::CommandFactory as _;
use exit::{Exit, Failure};
use settings::{Command, Settings, Shell};
use show::output::Output;

/// Does what the settings ask for.
///
/// # Errors
/// Why it could not be done.
pub async fn run(settings: &Settings, out: &mut Output) -> Result<Exit, Failure> {
    let line = &settings.line;
    match &settings.command {
        Command::Publish(args) => publish::publish(args, line, out).await,
        Command::Tail(args) => tail::tail(args, line, out).await,
        Command::Executions(args) => executions::list(args, line, out).await,
        Command::Execution(args) => executions::show(args, line, out).await,
        Command::Run(args) => run::run(args, line, out).await,
        Command::Cancel(args) => commands::cancel(args, line, out).await,
        Command::Answer(args) => commands::answer(args, line, out).await,
        Command::Fleet(args) => commands::fleet(args, line, out).await,
        Command::Completions(args) => completions(args.shell, out),
    }
}

fn completions(shell: Shell, out: &mut Output) -> Result<Exit, Failure> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Settings::command(), "weft", &mut script);
    out.text(&String::from_utf8_lossy(&script))?;
    out.flush()?;
    Ok(Exit::Done)
}
