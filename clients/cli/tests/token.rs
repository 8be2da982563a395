//! The token: where it comes from, where it goes, and what its refusal means.

mod rig;

use rig::{run, weft};
use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// A gateway that refuses whoever comes, and keeps what they sent.
async fn refuses(status: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 8192];
            let read = stream.read(&mut head).await.unwrap_or(0);
            kept.lock().expect("no panic").push(String::from_utf8_lossy(&head[..read]).to_lowercase());
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, heads)
}

#[tokio::test]
async fn it_is_sent_as_a_bearer_header_and_a_refusal_has_its_code() {
    let (url, heads) = refuses("401 Unauthorized").await;
    for flags in [
        &["executions"][..],
        &["publish", "log", "-e", "e", "-m", "x"],
        &["tail", "execution:e"],
        &["cancel", "e"],
        &["answer", "e", "r", "1", "--json"],
        &["run", "demo"],
    ] {
        let mut command = weft(&[&url], flags);
        command.env("WEFT_TOKEN", "a-token-of-some-length");
        let left = run(command).await;
        assert!(left.code == 77 && left.err.contains("unauthenticated"), "{flags:?}: {left:?}");
        let heads = std::mem::take(&mut *heads.lock().expect("no panic"));
        assert!(
            !heads.is_empty() && heads.iter().all(|head| head.contains("authorization: bearer a-token-of-some-length")),
            "{heads:?}"
        );
    }
    let left = run(weft(&[&url], &["executions"])).await;
    assert_eq!(left.code, 77, "{left:?}");
    assert!(!heads.lock().expect("no panic")[0].contains("authorization"));
}

#[tokio::test]
async fn a_file_is_read_again_for_each_connection() {
    let (url, heads) = refuses("401 Unauthorized").await;
    let file = std::env::temp_dir().join(format!("weft-cli-token-{}", uuid::Uuid::new_v4()));
    std::fs::write(&file, "first-token\n").expect("written");
    let mut command = weft(&[&url], &["tail", "execution:e", "--token-file", &file.display().to_string()]);
    command.env("WEFT_TOKEN", "the-file-counts-before-the-variable");
    let running = tokio::spawn(run(command));
    rig::until("it has asked", async || !heads.lock().expect("no panic").is_empty()).await;
    // As whatever renews a token does it: at no moment is there half a token.
    std::fs::write(file.with_extension("new"), "second-token\n").expect("written");
    std::fs::rename(file.with_extension("new"), &file).expect("renamed");
    let left = running.await.expect("no panic");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(left.code, 77, "{left:?}");
    let heads = heads.lock().expect("no panic");
    assert_eq!(heads.len(), 3, "after three refusals in a row it gives up");
    assert!(heads[0].contains("bearer first-token") && heads[2].contains("bearer second-token"), "{heads:?}");
}

#[tokio::test]
async fn what_is_not_allowed_is_not_tried_again() {
    let (url, heads) = refuses("403 Forbidden").await;
    for flags in [&["tail", "execution:e"][..], &["publish", "log", "-e", "e", "-m", "x"], &["execution", "e"]] {
        let left = run(weft(&[&url], flags)).await;
        assert!(left.code == 77 && left.err.contains("forbidden"), "{flags:?}: {left:?}");
        assert_eq!(std::mem::take(&mut *heads.lock().expect("no panic")).len(), 1, "{flags:?}");
    }
}

#[tokio::test]
async fn one_that_cannot_be_used_is_named() {
    let empty = std::env::temp_dir().join(format!("weft-cli-token-{}", uuid::Uuid::new_v4()));
    std::fs::write(&empty, "two words\n").expect("written");
    let left = run(weft(&["http://127.0.0.1:1"], &["fleet", "--token-file", &empty.display().to_string()])).await;
    std::fs::remove_file(&empty).expect("removed");
    assert!(left.code == 64 && left.err.starts_with("weft: WEFT_TOKEN_FILE: "), "{left:?}");
    let mut command = weft(&["http://192.0.2.1:1"], &["publish", "log", "-e", "a b"]);
    command.env("WEFT_TOKEN", "x");
    let left = run(command).await;
    assert_eq!(left.code, 65, "nothing is sent where the event breaks a rule: {left:?}");
}
