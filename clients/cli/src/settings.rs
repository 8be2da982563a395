//! Commands, flags, and the environment variables of the same names.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use weft_bus::BusSettings;

/// Weft from a terminal: publish, follow, list, run, answer, cancel.
///
/// Flags with an environment variable name it in brackets. A token is never given on the command line, where every user of
/// the machine could read it: WEFT_TOKEN_FILE names a file, WEFT_TOKEN holds the token itself.
///
/// Exit codes: 0 done (of an execution: completed), 1 refused, 3 the execution failed, 4 it was cancelled, 64 wrong flags,
/// 65 wrong input, 69 nobody there, 77 not allowed, 130 left by Ctrl-C.
#[derive(Clone, Debug, Parser)]
#[command(name = "weft", version, arg_required_else_help = true)]
pub struct Settings {
    /// The gateways.
    #[command(flatten)]
    pub line: LineSettings,
    /// When to use colours; auto is on a terminal, unless NO_COLOR is set.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub color: Color,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where gateways are and who asks.
#[derive(Clone, Debug, Args)]
pub struct LineSettings {
    /// Gateways, comma separated; any of them will do.
    #[arg(
        long,
        env = "WEFT_GATEWAY_URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:3001",
        value_name = "URL",
        global = true
    )]
    pub gateway: Vec<String>,
    /// File with the bearer token; read again for each connection. Without it WEFT_TOKEN counts.
    #[arg(long, env = "WEFT_TOKEN_FILE", value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Publish one event, or one a line from standard input.
    Publish(Box<PublishArgs>),
    /// Follow rooms, across lost connections and gateways.
    Tail(TailArgs),
    /// List executions, newest first.
    Executions(ExecutionsArgs),
    /// Show the state of an execution.
    Execution(ExecutionArgs),
    /// Run a workflow and watch it.
    Run(RunArgs),
    /// Ask the executor to cancel an execution.
    Cancel(CancelArgs),
    /// Answer a question of an execution.
    Answer(AnswerArgs),
    /// List the gateways that are alive.
    Fleet(FleetArgs),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
}

/// `weft publish`
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// The event's type, `log` or `family:name`. Without it events are read from standard input, a JSON object a line.
    #[arg(value_name = "TYPE")]
    pub kind: Option<String>,
    /// The fields of the one event.
    #[command(flatten)]
    pub event: EventArgs,
    /// Print where each event was stored as JSON, one object a line.
    #[arg(long)]
    pub json: bool,
    /// Seconds that an event is tried again before it is given up.
    #[arg(long, env = "WEFT_PUBLISH_RETRY_SECS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=110))]
    pub publish_retry_secs: u64,
    /// The tenant, where events go straight to a bus; at a gateway the token says it.
    #[arg(long, env = "WEFT_TENANT")]
    pub tenant: Option<String>,
    /// The bus, where events shall go straight to it: nats:// or redis://. Its other settings are those of the gateways.
    #[command(flatten)]
    pub bus: BusSettings,
}

/// The fields of one event.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "event_fields", multiple = true, requires = "kind")]
pub struct EventArgs {
    /// executionId
    #[arg(short, long, value_name = "ID")]
    pub execution: Option<String>,
    /// id; one is made up where there is none.
    #[arg(long)]
    pub id: Option<String>,
    /// timestamp, RFC 3339; now where there is none.
    #[arg(long, value_name = "TIME")]
    pub timestamp: Option<String>,
    /// workflowId
    #[arg(long, value_name = "ID")]
    pub workflow: Option<String>,
    /// userId, the owner.
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// nodeId
    #[arg(short, long, value_name = "ID")]
    pub node: Option<String>,
    /// agentId
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,
    /// knowledgeBaseId
    #[arg(long, value_name = "ID")]
    pub kb: Option<String>,
    /// data, a JSON object.
    #[arg(short, long, value_name = "JSON")]
    pub data: Option<String>,
    /// A field of data; the value is JSON where it reads as such, else text. May be repeated.
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// data.message; of a log the level is then info unless given.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// data.level: debug, info, warning or error.
    #[arg(short, long)]
    pub level: Option<String>,
}

/// `weft tail`
#[derive(Clone, Debug, Args)]
pub struct TailArgs {
    /// execution:<id>, user:<id>, agent:<agentId>:<executionId> or kb:<id>.
    #[arg(required = true, value_name = "ROOM")]
    pub rooms: Vec<String>,
    /// start, now, or an offset to go on after; of one room among several as ROOM=start or ROOM=<offset>. May be repeated.
    #[arg(long, default_value = "now", value_name = "WHERE")]
    pub from: Vec<String>,
    /// Only these types, as `log`, `node:failed` or `execution:*`, comma separated.
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    pub types: Vec<String>,
    /// Print each event as it was published, with its offset, one a line.
    #[arg(long)]
    pub json: bool,
    /// Leave when all executions that are followed have ended; the exit code says how.
    #[arg(long)]
    pub until_end: bool,
}

/// `weft executions`
#[derive(Clone, Debug, Args)]
pub struct ExecutionsArgs {
    /// Only those with this status.
    #[arg(long, value_parser = ["pending", "running", "completed", "failed", "cancelled"])]
    pub status: Option<String>,
    /// Most executions shown.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// Print each as JSON, one a line.
    #[arg(long)]
    pub json: bool,
    /// Look again every two seconds; in a pipe print what has changed.
    #[arg(long)]
    pub watch: bool,
}

/// `weft execution`
#[derive(Clone, Debug, Args)]
pub struct ExecutionArgs {
    /// The execution.
    pub id: String,
    /// Print the snapshot as the gateway gives it.
    #[arg(long)]
    pub json: bool,
}

/// `weft run`
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The name of a workflow that an executor has, or a file (*.yaml, *.yml, *.json) with built-in steps.
    #[arg(value_name = "WORKFLOW")]
    pub workflow: String,
    /// An input; the value is JSON where it reads as a number or boolean, else text. May be repeated.
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub input: Vec<String>,
    /// The execution's id; one is made up where there is none.
    #[arg(long, value_name = "ID")]
    pub execution: Option<String>,
    /// Print the execution's id and leave it running.
    #[arg(short, long)]
    pub detach: bool,
    /// Print events as JSON, one a line, instead of progress.
    #[arg(long, conflicts_with = "detach")]
    pub json: bool,
}

/// `weft cancel`
#[derive(Clone, Debug, Args)]
pub struct CancelArgs {
    /// The execution.
    pub id: String,
    /// Why.
    #[arg(long)]
    pub reason: Option<String>,
}

/// `weft answer`
#[derive(Clone, Debug, Args)]
pub struct AnswerArgs {
    /// The execution.
    pub id: String,
    /// The question, as `weft execution` shows it.
    #[arg(value_name = "REQUEST_ID")]
    pub request_id: String,
    /// The answer. It is read as the question asks: text, a number, yes or no.
    #[arg(allow_hyphen_values = true)]
    pub value: String,
    /// Take the answer for JSON, whatever the question says.
    #[arg(long)]
    pub json: bool,
}

/// `weft fleet`
#[derive(Clone, Debug, Args)]
pub struct FleetArgs {
    /// Print each gateway as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

/// `weft completions`
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The shells whose completions are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(missing_docs)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// `KEY=VALUE` with a value that is JSON where `is_json` says so, else text.
///
/// # Errors
/// There is no `=`, or nothing before it.
pub fn pair(text: &str, is_json: fn(&serde_json::Value) -> bool) -> Result<(String, serde_json::Value), String> {
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        return Err(format!("must be KEY=VALUE, not {text:?}"));
    };
    let parsed = serde_json::from_str(value).ok().filter(is_json);
    Ok((key.to_owned(), parsed.unwrap_or_else(|| value.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;
    use serde_json::{Value, json};

    #[test]
    fn the_definition_holds_together() {
        Settings::command().debug_assert();
    }

    #[test]
    fn flags_and_variables_have_one_name() {
        let command = Settings::command();
        // WEFT_GATEWAY_URL is the executor's name for the same thing.
        assert_eq!(weft_testkit::settings::misnamed(&command, &["gateway", "color"]), [""; 0]);
        let publish = command.find_subcommand("publish").expect("there is one");
        let fields =
            ["execution", "id", "timestamp", "workflow", "user", "node", "agent", "kb", "data", "set", "message", "level"];
        assert_eq!(weft_testkit::settings::misnamed(publish, &[&fields[..], &["json"]].concat()), [""; 0]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for flags in [
            &["publish", "--execution", "e"][..],
            &["tail"],
            &["executions", "--status", "done"],
            &["executions", "--limit", "0"],
            &["run", "w", "--json", "--detach"],
            &["completions", "powershell"],
            &["cancel"],
            &["fleet", "--token", "secret"],
        ] {
            let refused = Settings::try_parse_from(["weft"].iter().chain(flags));
            assert!(refused.is_err(), "{flags:?}");
        }
        assert!(Settings::try_parse_from(["weft", "publish"]).is_ok());
        assert!(Settings::try_parse_from(["weft", "answer", "e", "r", "-5"]).is_ok());
    }

    #[test]
    fn pairs_are_json_where_that_is_wanted() {
        let any = |_: &Value| true;
        for (text, key, value) in
            [("a=5", "a", json!(5)), ("a=b=c", "a", json!("b=c")), ("a=", "a", json!("")), ("a={\"b\":1}", "a", json!({"b": 1}))]
        {
            assert_eq!(pair(text, any), Ok((key.to_owned(), value)), "{text}");
        }
        assert_eq!(pair("a=5", |_| false), Ok(("a".into(), json!("5"))));
        assert!(pair("a", any).is_err() && pair("=a", any).is_err());
    }
}
