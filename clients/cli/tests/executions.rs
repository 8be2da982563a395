//! Running, watching, listing, answering and cancelling with a real gateway and executor.

mod rig;

use rig::{Left, Running, Workflows, executor, gateway, run, terminal::Terminal, until, weft};
use rustix::process::Signal;
use serde_json::Value;
use weft_testkit::process::Process;

const GREET: &str = "
name: greet
inputs: {who: {default: world}, times: {type: number, default: 1}}
nodes:
  - id: hello
    command: |
      echo \"::progress 50 half way\"
      echo \"hello $WHO x $TIMES\"
    env: {WHO: '{{inputs.who}}', TIMES: '{{inputs.times}}'}
  - {id: writer, depends_on: [hello], tokens: {text: 'Once upon a time.', delay: 1ms}}
";
const BREAK: &str = "name: break\nnodes: [{id: bad, command: 'echo on the way; exit 7'}]";
const LONG: &str = "name: long\nnodes: [{id: wait, sleep: 10m}]";
const ASK: &str = "
name: ask
nodes:
  - {id: sure, prompt: {text: 'Are you sure?', type: boolean, timeout: 10m}}
  - {id: name, depends_on: [sure], prompt: {text: 'Which colour?', choices: [red, green], timeout: 10m}}
";

/// A gateway with an executor behind it.
struct Place {
    gateway: Process,
    executor: Process,
    /// Its directory is there as long as the executor.
    _workflows: Workflows,
}

impl Place {
    async fn start() -> Self {
        let workflows = Workflows::new(&[("greet", GREET), ("break", BREAK), ("long", LONG), ("ask", ASK)]);
        let gateway = gateway("memory:").await;
        let executor = executor(&gateway, &workflows).await;
        // What it runs is known a moment before it takes commands.
        until("the executor takes commands", async || {
            run(weft(&[&gateway.url()], &["run", "greet", "--execution", "first"])).await.code == 0
        })
        .await;
        Self { gateway, executor, _workflows: workflows }
    }

    fn weft(&self, flags: &[&str]) -> tokio::process::Command {
        weft(&[&self.gateway.url()], flags)
    }

    async fn run(&self, flags: &[&str]) -> Left {
        run(self.weft(flags)).await
    }

    /// Starts a workflow and leaves it.
    async fn detached(&self, workflow: &str) -> String {
        let left = self.run(&["run", workflow, "--detach"]).await;
        assert_eq!(left.code, 0, "{left:?}");
        left.out.trim().to_owned()
    }

    async fn state(&self, id: &str) -> Value {
        let left = self.run(&["execution", id, "--json"]).await;
        if left.code == 0 { left.json()[0].clone() } else { Value::Null }
    }

    async fn until_state(&self, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut state = Value::Null;
        until(&format!("the state of {id}"), async || {
            state = self.state(id).await;
            holds(&state)
        })
        .await;
        state
    }
}

fn without_times(left: &Left) -> Vec<String> {
    left.out.lines().map(|line| line.split_once(' ').map_or("", |(_, rest)| rest).to_owned()).collect()
}

#[tokio::test]
async fn a_workflow_runs_to_its_end_and_the_code_says_how() {
    let place = Place::start().await;
    let left = place.run(&["run", "greet", "-i", "who=Ada", "-i", "times=3"]).await;
    assert_eq!(left.code, 0, "{left:?}");
    let lines = without_times(&left);
    for line in ["STEP  hello        50% half way", "INFO  hello        hello Ada x 3", "TEXT  writer       Once upon a time."] {
        assert!(lines.iter().any(|one| one == line), "{line}: {left:?}");
    }
    assert!(lines[0].contains("START -            execution started"), "{left:?}");
    assert!(lines.last().is_some_and(|line| line.contains("DONE  -            execution completed")), "{left:?}");
    assert!(left.err.contains("has started"), "{left:?}");
    let broken = place.run(&["run", "break", "--json"]).await;
    let kinds: Vec<Value> = broken.json().iter().map(|event| event["type"].clone()).collect();
    assert_eq!((broken.code, kinds.last()), (3, Some(&"execution:failed".into())), "{broken:?}");
    for (flags, code, told) in [
        (&["run", "none-such"][..], 69, "no executor has a workflow none-such; there are ask, break, greet, long"),
        (&["run", "greet", "-i", "whom=x"], 65, "--input whom: the workflow has no such input; it has"),
        (&["run", "greet", "-i", "times=many"], 65, "--input times: must be a number"),
        (&["run", "/nowhere.yaml"], 65, "/nowhere.yaml: "),
        (&["run", "greet", "--execution", "a b"], 64, "--execution: may hold only"),
    ] {
        let left = place.run(flags).await;
        assert!(left.code == code && left.err.starts_with(&format!("weft: {told}")), "{flags:?}: {left:?}");
    }
}

#[tokio::test]
async fn a_file_brings_its_own_steps_but_no_commands() {
    let place = Place::start().await;
    let own =
        "name: own\ninputs: {what: {required: true}}\nnodes: [{id: write, tokens: {text: 'A {{inputs.what}}.', delay: 1ms}}]";
    let files = Workflows::new(&[("own", own), ("command", BREAK)]);
    let path = |name: &str| files.path().join(name).display().to_string();
    let left = place.run(&["run", &path("own.yaml"), "-i", "what=story"]).await;
    assert!(left.code == 0 && left.out.contains("TEXT  write        A story."), "{left:?}");
    let left = place.run(&["run", &path("command.yaml")]).await;
    assert!(left.code == 1 && left.err.contains("command"), "{left:?}");
    assert!(left.out.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_id_that_is_taken_starts_nothing() {
    let place = Place::start().await;
    assert_eq!(place.run(&["run", "greet", "--execution", "mine"]).await.code, 0);
    let again = place.run(&["run", "greet", "--execution", "mine"]).await;
    assert!(again.code == 1 && again.out.is_empty(), "{again:?}");
}

#[tokio::test]
async fn executions_are_listed_shown_and_cancelled() {
    let place = Place::start().await;
    let long = place.detached("long").await;
    assert_eq!(place.run(&["run", "break", "--execution", "broken"]).await.code, 3);
    // The record that the list is made of follows what happens a moment later.
    until("the list says that it runs", async || place.run(&["executions", "--status", "running"]).await.out.contains(&long))
        .await;
    let all = place.run(&["executions"]).await;
    assert!(all.lines()[0].starts_with("EXECUTION"), "{all:?}");
    assert!(
        all.lines()[1].contains("broken") && all.lines()[1].contains("failed") && all.lines()[2].contains("running"),
        "{all:?}"
    );
    let failed = place.run(&["executions", "--status", "failed", "--json"]).await;
    assert_eq!(failed.json().iter().map(|one| one["executionId"].clone()).collect::<Vec<_>>(), ["broken"]);
    assert_eq!(place.run(&["executions", "--limit", "1", "--json"]).await.json().len(), 1);
    let shown = place.run(&["execution", "broken"]).await;
    assert!(shown.lines()[0] == "broken  failed" && shown.out.contains("bad   failed"), "{shown:?}");
    let mut watch = Running::start(place.weft(&["executions", "--watch", "--json", "--status", "cancelled"]));
    let tail = Running::start(place.weft(&["tail", &format!("execution:{long}"), "--from", "start", "--until-end"]));
    let cancelled = place.run(&["cancel", &long, "--reason", "enough"]).await;
    assert_eq!((cancelled.code, cancelled.out), (0, format!("{long} is asked to stop\n")));
    let tail = tail.end().await;
    assert!(tail.code == 4 && tail.out.contains("cancelled (enough)"), "{tail:?}");
    assert_eq!(watch.json().await["executionId"], long.as_str());
    for (flags, code) in
        [(["execution", "none"], 1), (["cancel", "none"], 69), (["execution", "a b"], 64), (["cancel", "a b"], 64)]
    {
        let left = place.run(&flags).await;
        assert!(left.code == code && left.err.starts_with("weft: "), "{flags:?}: {left:?}");
    }
}

#[tokio::test]
async fn a_question_is_shown_with_the_command_that_answers_it() {
    let place = Place::start().await;
    let id = place.detached("ask").await;
    let asked = |state: &Value, prompt: &str| state["pendingInput"][0]["prompt"] == prompt;
    let state = place.until_state(&id, |state| asked(state, "Are you sure?")).await;
    let request = state["pendingInput"][0]["requestId"].as_str().expect("an id").to_owned();
    let shown = place.run(&["execution", &id]).await;
    assert!(shown.out.contains(&format!("  weft answer {id} {request} <value>")), "{shown:?}");
    for (value, code, told) in [("perhaps", 65, "the answer must be yes or no"), ("yes", 0, "")] {
        let left = place.run(&["answer", &id, &request, value]).await;
        assert!(left.code == code && left.err.contains(told), "{left:?}");
    }
    let again = place.run(&["answer", &id, &request, "true", "--json"]).await;
    assert_eq!(again.code, 0, "a repeat is answered as the first was: {again:?}");
    let state = place.until_state(&id, |state| asked(state, "Which colour?")).await;
    let request = state["pendingInput"][0]["requestId"].as_str().expect("an id").to_owned();
    let refused = place.run(&["answer", &id, &request, "\"blue\"", "--json"]).await;
    assert!(refused.code == 1 && refused.err.contains("must be one of red, green"), "{refused:?}");
    let unknown = place.run(&["answer", &id, "no-such-request", "x"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("unknown_request"), "{unknown:?}");
    assert_eq!(place.run(&["answer", &id, &request, "green"]).await.code, 0);
    place.until_state(&id, |state| state["status"] == "completed").await;
}

#[tokio::test]
async fn on_a_terminal_questions_are_asked_there() {
    let place = Place::start().await;
    let mut terminal = Terminal::start(place.weft(&["run", "ask", "--execution", "asked"]));
    terminal.shows("Are you sure?\u{1b}[2m (yes/no)", 1).await;
    terminal.types("perhaps\n");
    terminal.shows("the answer must be yes or no", 1).await;
    terminal.shows("(yes/no)", 2).await;
    terminal.types("yes\n");
    terminal.shows("(red/green)", 1).await;
    // Somebody else is faster.
    let state = place.until_state("asked", |state| state["pendingInput"][0]["prompt"] == "Which colour?").await;
    let request = state["pendingInput"][0]["requestId"].as_str().expect("an id");
    assert_eq!(place.run(&["answer", "asked", request, "red"]).await.code, 0);
    let (code, screen) = terminal.end().await;
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("execution completed"), "{screen}");
}

#[tokio::test]
async fn on_a_terminal_nodes_have_bars_and_what_has_happened_stands_above() {
    let place = Place::start().await;
    let mut terminal = Terminal::start(place.weft(&["run", "long", "--execution", "drawn"]));
    // The bar of the node, and that of the whole.
    terminal.shows("wait", 2).await;
    terminal.shows("[", 1).await;
    assert_eq!(place.run(&["cancel", "drawn"]).await.code, 0);
    let (code, screen) = terminal.end().await;
    assert_eq!(code, 4, "{screen}");
    assert!(screen.contains("\u{1b}[33mSTOP\u{1b}[0m") && screen.contains("execution started"), "{screen}");
}

#[tokio::test]
async fn no_color_is_heeded_on_a_terminal() {
    let place = Place::start().await;
    assert_eq!(place.run(&["run", "greet", "--execution", "plain"]).await.code, 0);
    let flags = ["tail", "execution:plain", "--from", "start", "--until-end"];
    let (_, painted) = Terminal::start(place.weft(&flags)).end().await;
    assert!(painted.contains("\u{1b}[32mINFO\u{1b}[0m"), "{painted}");
    assert!(painted.contains("Once upon a time."), "{painted}");
    let mut command = place.weft(&flags);
    command.env("NO_COLOR", "1");
    let (_, plain) = Terminal::start(command).end().await;
    assert!(plain.contains("INFO  hello") && !plain.contains('\u{1b}'), "{plain}");
}

#[tokio::test]
async fn interrupted_once_it_cancels_and_twice_it_leaves() {
    let mut place = Place::start().await;
    let mut running = Running::start(place.weft(&["run", "long", "--execution", "once"]));
    until_started(&mut running).await;
    running.signal(Signal::INT);
    let left = running.end().await;
    assert!(left.code == 4 && left.out.contains("cancelled (Ctrl-C)"), "{left:?}");
    let mut running = Running::start(place.weft(&["run", "long", "--execution", "twice"]));
    until_started(&mut running).await;
    // An executor that does not answer cannot hold it.
    place.executor.pause().expect("paused");
    running.signal(Signal::INT);
    let mut asked = String::new();
    let stderr = running.child.stderr.as_mut().expect("piped");
    while !asked.contains("Ctrl-C again") {
        let mut byte = [0];
        tokio::time::timeout(rig::SOON, tokio::io::AsyncReadExt::read_exact(stderr, &mut byte))
            .await
            .expect("told")
            .expect("read");
        asked.push(char::from(byte[0]));
    }
    running.signal(Signal::INT);
    let left = running.end().await;
    place.executor.resume().expect("resumed");
    assert_eq!(left.code, 130, "{left:?}");
}

async fn until_started(running: &mut Running) {
    while !running.line().await.contains("node started") {}
}

#[tokio::test]
async fn the_fleet_is_listed() {
    let gateway = gateway("memory:").await;
    let url = gateway.url();
    let mut fleet = Left { code: 0, out: String::new(), err: String::new() };
    // It announces itself soon after its start.
    until("the gateway is announced", async || {
        fleet = run(weft(&[&url], &["fleet", "--json"])).await;
        !fleet.out.is_empty()
    })
    .await;
    assert_eq!(fleet.json()[0]["draining"], false);
    let table = run(weft(&[&url], &["fleet"])).await;
    assert!(table.lines()[0].starts_with("GATEWAY") && table.lines()[1].ends_with("serving"), "{table:?}");
}

#[tokio::test]
async fn completions_are_scripts() {
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef weft"), ("fish", "complete -c weft")] {
        let left = run(weft(&["http://127.0.0.1:1"], &["completions", shell])).await;
        assert!(left.code == 0 && left.out.contains(word) && left.out.contains("executions"), "{shell}");
    }
    let script = run(weft(&["http://127.0.0.1:1"], &["completions", "bash"])).await.out;
    let mut bash = tokio::process::Command::new("bash");
    bash.arg("-n").stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let read = rig::run_with(bash, script.as_bytes()).await;
    assert_eq!(read.code, 0, "{read:?}");
}
