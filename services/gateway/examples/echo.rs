//! The gateway's WebSocket transport, sending back what comes: for conformance suites, which want an echo. No part of the
//! gateway; `deploy/dev/conformance.sh` runs it.
//!
//!     cargo run --release -p weft-gateway --example echo -- 127.0.0.1:9001 [most fragments of a message]

use std::{collections::VecDeque, future::poll_fn, io, sync::Arc, task::Poll, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use weft_dialect::{
    native::Encoding,
    told::CloseCode,
    websocket::{Handshake, Limits},
};
use weft_gateway::transport::{Dialect, Frame, Gone, Io, Received, SocketTimes, Transport, WebSocket, Wire};

/// Frames that wait to be written; past this nothing is read.
const WAITING_MAX: usize = 8;

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9001".into());
    let fragments_max = arguments.next().and_then(|most| most.parse().ok()).unwrap_or(1 << 20);
    // The suite sends 16 MiB, and 4 MiB in fragments of 64 bytes.
    let limits = Limits { frame_bytes_max: 17 << 20, message_bytes_max: 17 << 20, fragments_max, ..Limits::default() };
    let limits = Arc::new(limits);
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, limits.clone()));
    }
}

async fn serve(mut stream: TcpStream, limits: Arc<Limits>) -> io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut read).await? == 0 || read.len() > 16 * 1024 {
            return Ok(());
        }
    };
    let rest = read.split_off(end);
    let head = String::from_utf8_lossy(&read);
    let lines: Vec<(String, &str)> =
        head.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let values = |name: &'static str| lines.iter().filter(move |(of, _)| of == name).map(|(_, value)| value.as_bytes());
    let Ok(handshake) = Handshake::accept(values, true) else {
        return stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    };
    let extensions = handshake.extensions.map(|answer| format!("Sec-WebSocket-Extensions: {answer}\r\n")).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n{extensions}\r\n",
        handshake.accept
    );
    stream.write_all(answer.as_bytes()).await?;
    let wire = Wire { dialect: Dialect::Native, encoding: Encoding::Json, deflate: handshake.extensions.is_some() };
    let io = Io::tcp(stream, SocketTimes { unacknowledged: Duration::from_secs(60) });
    let mut socket = WebSocket::new(io, rest.into(), Vec::new(), wire, limits);
    if let Ok(code) = echo(&mut socket, wire).await {
        socket.begin_close(code);
        let _ = tokio::time::timeout(Duration::from_secs(2), poll_fn(|context| socket.poll_close(context))).await;
    }
    Ok(())
}

/// Sends back what comes, until the peer closes (`None`) or breaks a rule.
async fn echo(socket: &mut WebSocket, wire: Wire) -> Result<Option<CloseCode>, Gone> {
    let mut frames: VecDeque<Frame> = VecDeque::new();
    let mut end = None;
    poll_fn(|context| {
        loop {
            let mut more = false;
            if end.is_none() && frames.len() < WAITING_MAX {
                let polled = socket.poll_receive(context, &mut |received| {
                    match received {
                        Received::Text(bytes) => frames.push_back(Wire { encoding: Encoding::Json, ..wire }.own(bytes.to_vec())),
                        Received::Binary(bytes) => {
                            frames.push_back(Wire { encoding: Encoding::MessagePack, ..wire }.own(bytes.to_vec()));
                        }
                        Received::Alive | Received::Pong(_) => {}
                        Received::Faulty(code) => end = Some(Some(code)),
                        Received::Closed(_) => end = Some(None),
                    }
                    end.is_none() && frames.len() < WAITING_MAX
                });
                if let Poll::Ready(received) = polled {
                    received?;
                    more = true;
                }
            }
            let written = socket.poll_write(context, &mut frames)?;
            if written.blocked {
                return Poll::Pending;
            }
            match end {
                Some(code) => return Poll::Ready(Ok(code)),
                None if !more => return Poll::Pending,
                None => {}
            }
        }
    })
    .await
}
