//! Just enough of Redis' and NATS' protocols to publish many events in one write, as their own clients would.

use crate::error::Failure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A connection that sends commands and counts the lines of the answers.
pub(crate) struct Wire {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(Failure::io("connect to the broker"))?;
        stream.set_nodelay(true).map_err(Failure::io("connect to the broker"))?;
        Ok(Self { stream, answer: Vec::new() })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).await.map_err(Failure::io("write to the broker"))
    }

    /// Sends commands and waits for a line of answer to each.
    pub(crate) async fn ask(&mut self, bytes: &[u8], count: usize) -> Result<(), Failure> {
        self.send(bytes).await?;
        self.lines(count).await
    }

    /// Waits for so many lines of answer; one that says it is an error is one.
    pub(crate) async fn lines(&mut self, count: usize) -> Result<(), Failure> {
        self.answer.clear();
        while memchr::memchr_iter(b'\n', &self.answer).count() < count {
            let read = self.stream.read_buf(&mut self.answer).await.map_err(Failure::io("read from the broker"))?;
            if read == 0 {
                return Err(Failure::Broker("closed the connection".into()));
            }
        }
        if self.answer.starts_with(b"-") || memchr::memmem::find(&self.answer, b"\n-").is_some() {
            return Err(Failure::Broker(String::from_utf8_lossy(&self.answer).into_owned()));
        }
        Ok(())
    }
}

/// `PUBLISH channel payload`.
pub(crate) fn redis_publish(out: &mut Vec<u8>, channel: &str, payload: &[u8]) {
    out.extend_from_slice(format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n", channel.len(), payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// `PUB subject payload`.
pub(crate) fn nats_publish(out: &mut Vec<u8>, subject: &str, payload: &[u8]) {
    out.extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_as_the_brokers_have_them() {
        let mut out = Vec::new();
        redis_publish(&mut out, "room", b"{}");
        nats_publish(&mut out, "room", b"{}");
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$4\r\nroom\r\n$2\r\n{}\r\nPUB room 2\r\n{}\r\n");
    }
}
