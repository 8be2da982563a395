//! The proxy passes bytes on unchanged, and misbehaves as it is told.

use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use weft_testkit::proxy::{Direction, Proxy};

const PATIENCE: Duration = Duration::from_secs(30);

async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn start() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(&echo().await).await.expect("proxy");
    let stream = TcpStream::connect(proxy.address()).await.expect("connect");
    (proxy, stream)
}

async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer or an error")?;
    Ok(answer)
}

async fn is_silent(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte)).await.is_err()
}

#[tokio::test]
async fn bytes_pass_unchanged_and_ends_are_passed_on() {
    let (_proxy, mut stream) = start().await;
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 251) as u8).collect();
    let (mut from, mut to) = stream.split();
    let mut answer = Vec::new();
    let (written, read) = tokio::join!(
        async {
            to.write_all(&bytes).await?;
            to.shutdown().await
        },
        tokio::time::timeout(PATIENCE, from.read_to_end(&mut answer))
    );
    written.expect("written");
    read.expect("the end is passed on").expect("read");
    assert!(answer == bytes);
}

#[tokio::test]
async fn latency_delays_both_directions() {
    let (proxy, mut stream) = start().await;
    proxy.latency(Duration::from_millis(50));
    let began = Instant::now();
    assert_eq!(ask(&mut stream, b"ping").await.expect("answer"), b"ping");
    assert!(began.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_stall_holds_and_loses_nothing() {
    let (proxy, mut stream) = start().await;
    proxy.stall();
    stream.write_all(b"held").await.expect("write");
    assert!(is_silent(&mut stream).await);
    proxy.heal();
    let mut answer = [0; 4];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("healed").expect("read");
    assert_eq!(&answer, b"held");
}

#[tokio::test]
async fn a_hole_swallows_and_tears_the_connection() {
    let (proxy, mut stream) = start().await;
    proxy.blackhole(Direction::ToClient);
    stream.write_all(b"gone").await.expect("write");
    assert!(is_silent(&mut stream).await);
    proxy.heal();
    let mut byte = [0];
    let torn = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await.expect("torn");
    assert!(torn.is_err(), "a reset, not {torn:?}");
}

#[tokio::test]
async fn cuts_are_resets() {
    let (proxy, mut stream) = start().await;
    ask(&mut stream, b"ping").await.expect("answer");
    proxy.cut();
    let mut byte = [0];
    assert!(tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await.expect("cut").is_err());

    let mut stream = TcpStream::connect(proxy.address()).await.expect("connect again");
    proxy.cut_after(1000);
    assert_eq!(ask(&mut stream, &[7; 400]).await.expect("within the budget").len(), 400);
    assert!(ask(&mut stream, &[7; 400]).await.is_err(), "1600 bytes passed a budget of 1000");
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connect again");
    assert_eq!(ask(&mut stream, &[7; 4000]).await.expect("a cut is over when it has happened").len(), 4000);

    proxy.refuse();
    let mut stream = TcpStream::connect(proxy.address()).await.expect("the kernel accepts");
    assert!(ask(&mut stream, b"ping").await.is_err());
}
