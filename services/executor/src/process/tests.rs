use super::*;
use parking_lot::Mutex;
use std::sync::Arc;

const SOON: Duration = Duration::from_secs(30);

fn shell(script: &str) -> Vec<String> {
    vec!["/bin/sh".into(), "-c".into(), script.into()]
}

fn launch(argv: &[String]) -> Launch<'_> {
    let env = vec![("PATH".to_owned(), std::env::var("PATH").expect("PATH")), ("GREETING".to_owned(), "hello".to_owned())];
    let grace = Duration::from_millis(300);
    Launch { argv, dir: Path::new("/"), env, grace, output_bytes_max: 1 << 20, output_lines_max: 1000 }
}

type Told = Arc<Mutex<Vec<(Stream, String)>>>;

async fn run_told(argv: &[String], stop: &CancellationToken, told: &Told) -> Ended {
    let run = run(launch(argv), stop, |stream, line| {
        told.lock().push((stream, line));
        std::future::ready(())
    });
    timeout(SOON, run).await.expect("the process ends").expect("the process runs")
}

/// Waits until a process with this id is gone or only a zombie that its parent has not looked at.
async fn gone(pid: i32) -> bool {
    for _ in 0..300 {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        let state = state.as_deref().and_then(|stat| stat.rsplit_once(") ")).map(|(_, rest)| rest.starts_with('Z'));
        if state != Some(false) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

async fn pid_told(told: &Told) -> i32 {
    for _ in 0..300 {
        if let Some((_, line)) = told.lock().first() {
            return line.parse().expect("a process id");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the process told no id");
}

#[tokio::test]
async fn lines_environment_and_status_are_told() {
    let told = Told::default();
    let ended = run_told(&shell("echo $GREETING; echo oops >&2; env | wc -l; exit 3"), &CancellationToken::new(), &told).await;
    let lines = told.lock().clone();
    assert!(lines.contains(&(Stream::Out, "hello".into())) && lines.contains(&(Stream::Err, "oops".into())), "{lines:?}");
    assert_eq!(ended.failure.as_deref(), Some("the command ended with exit status 3"));
    assert!(!ended.stopped && ended.text.starts_with("hello\n"), "{ended:?}");
    // The two that were given, and PWD, _ and the like of the shell itself.
    let count: usize = ended.text.lines().last().and_then(|line| line.trim().parse().ok()).expect("a count");
    assert!(count <= 6, "{count} variables");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() {
    let argv = ["/nowhere/to/be/found".to_owned()];
    let error = run(launch(&argv), &CancellationToken::new(), |_, _| std::future::ready(())).await.expect_err("no such file");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_stop_ends_the_whole_group() {
    let (told, stop) = (Told::default(), CancellationToken::new());
    let argv = shell("sleep 1000 & echo $!; wait");
    let (ended, grandchild) = tokio::join!(run_told(&argv, &stop, &told), async {
        let grandchild = pid_told(&told).await;
        stop.cancel();
        grandchild
    });
    assert!(ended.stopped && ended.failure.is_some(), "{ended:?}");
    assert!(gone(grandchild).await, "the grandchild {grandchild} still runs");
}

#[tokio::test]
async fn who_ignores_sigterm_is_killed() {
    let (told, stop) = (Told::default(), CancellationToken::new());
    let argv = shell("trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo $!; while :; do sleep 1; done");
    let (ended, grandchild) = tokio::join!(run_told(&argv, &stop, &told), async {
        let grandchild = pid_told(&told).await;
        stop.cancel();
        grandchild
    });
    assert_eq!(ended.failure.as_deref(), Some("the command was ended by signal 9"));
    assert!(gone(grandchild).await, "the grandchild {grandchild} still runs");
}

#[tokio::test]
async fn what_the_command_leaves_behind_is_ended() {
    let told = Told::default();
    let ended = run_told(&shell("sleep 1000 & echo $!"), &CancellationToken::new(), &told).await;
    assert_eq!((ended.failure, ended.stopped), (None, false));
    let left = pid_told(&told).await;
    assert!(gone(left).await, "{left} still runs");
}

#[tokio::test]
async fn dropping_the_run_kills_the_group() {
    let (told, stop) = (Told::default(), CancellationToken::new());
    let argv = shell("sleep 1000 & echo $!; wait");
    let grandchild = tokio::select! {
        ended = run_told(&argv, &stop, &told) => panic!("ended by itself: {ended:?}"),
        pid = pid_told(&told) => pid,
    };
    assert!(gone(grandchild).await, "the grandchild {grandchild} still runs");
}

#[tokio::test]
async fn a_flood_is_cut_and_never_blocks() {
    let told = Told::default();
    let ended = run_told(&shell("yes | head -n 200000; echo end >&2"), &CancellationToken::new(), &told).await;
    assert_eq!(ended.failure, None);
    assert_eq!(told.lock().len(), 1000);
    assert_eq!(ended.cut.lines, 200_001 - 1000);
}
