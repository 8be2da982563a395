//! A command: a process whose lines become log events and whose standard output is the node's output.

use super::{Attempt, Failure};
use crate::{
    process::{self, Launch, Stream},
    reporter::Level,
};
use serde_json::{Value, json};

pub(super) async fn run(attempt: &Attempt<'_>, argv: &[String]) -> Result<Value, Failure> {
    let tools = attempt.tools;
    let launch = Launch {
        argv,
        dir: &tools.dir,
        env: environment(attempt)?,
        grace: tools.grace,
        output_bytes_max: tools.output_bytes_max,
        output_lines_max: tools.output_lines_max,
    };
    let ended = process::run(launch, attempt.stop, |stream, line| tell(attempt, stream, line)).await;
    let ended = ended.map_err(|error| Failure::Failed(format!("the command '{}' cannot run: {error}", argv[0])))?;
    if ended.cut.is_some() {
        metrics::counter!(crate::metrics::LINES_CUT).increment(ended.cut.lines);
        attempt.log(Level::Warning, &ended.cut.to_string(), json!({})).await;
    }
    match ended.failure {
        _ if ended.stopped => Err(Failure::Stopped),
        Some(failure) => Err(Failure::Failed(failure)),
        None => Ok(Value::String(without_progress(&ended.text))),
    }
}

/// A line `::progress <0-100> [what]` is the command's own progress; every other line is a log entry.
async fn tell(attempt: &Attempt<'_>, stream: Stream, line: String) {
    if let Some((progress, step)) = progress_of(&line) {
        return attempt.report.node(attempt.node, "progress", json!({"progress": progress, "step": step})).await;
    }
    let level = if stream == Stream::Err { Level::Warning } else { Level::Info };
    attempt.log(level, &line, json!({"stream": stream.word()})).await;
}

/// What a command says about its progress is no part of its output.
fn without_progress(text: &str) -> String {
    text.lines().filter(|line| progress_of(line).is_none()).collect::<Vec<_>>().join("\n")
}

fn progress_of(line: &str) -> Option<(u8, &str)> {
    let rest = line.strip_prefix("::progress ")?;
    let (number, step) = rest.split_once(' ').unwrap_or((rest, ""));
    number.parse().ok().filter(|progress| *progress <= 100).map(|progress| (progress, step))
}

/// The executor's listed variables, then the workflow's, then the node's, then ours: the later one wins.
fn environment(attempt: &Attempt<'_>) -> Result<Vec<(String, String)>, Failure> {
    let execution = attempt.execution;
    let mut all = attempt.tools.environment.clone();
    all.extend(attempt.render_all("env", &attempt.workflow().env)?);
    all.extend(attempt.render_all("env", &attempt.node.env)?);
    if let Some((name, _)) = all.iter().find(|(_, value)| value.contains('\0')) {
        return Err(Failure::Failed(format!("env.{name}: holds a NUL, which no environment can")));
    }
    all.push(("WEFT_EXECUTION_ID".into(), execution.id.clone()));
    all.push(("WEFT_NODE_ID".into(), attempt.node.id.clone()));
    all.push(("WEFT_WORKFLOW".into(), execution.workflow.name.clone()));
    all.push(("WEFT_SCRATCH".into(), attempt.scratch.display().to_string()));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::{progress_of, without_progress};

    #[test]
    fn progress_lines() {
        for (line, progress) in [
            ("::progress 40 linking it", Some((40, "linking it"))),
            ("::progress 100", Some((100, ""))),
            ("::progress 101", None),
            ("::progress much", None),
            ("progress 40", None),
        ] {
            assert_eq!(progress_of(line), progress, "{line}");
        }
        assert_eq!(without_progress("a\n::progress 5 x\nb\n"), "a\nb");
    }
}
