//! A few lines of the NATS text protocol.

use crate::{Fault, Result};
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

/// One connection to a NATS server.
pub struct RawNats {
    stream: BufStream<TcpStream>,
    info: serde_json::Value,
}

impl RawNats {
    /// Connects to a port of loopback and waits until the server has taken the connection.
    ///
    /// # Errors
    /// Nobody listens there, or the server refused.
    pub async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(Fault::io("connect to NATS"))?;
        let mut nats = Self { stream: BufStream::new(stream), info: serde_json::Value::Null };
        let line = nats.line().await?;
        let info = line.strip_prefix("INFO ").ok_or_else(|| Fault::said("NATS", &line))?;
        nats.info = serde_json::from_str(info).map_err(|error| Fault::said("NATS INFO", error))?;
        nats.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n").await?;
        nats.flush().await?;
        Ok(nats)
    }

    /// What the server said of itself when the connection began.
    #[must_use]
    pub fn info(&self) -> &serde_json::Value {
        &self.info
    }

    /// `PUB subject payload`. The server confirms nothing; see [`RawNats::flush`].
    ///
    /// # Errors
    /// The connection broke.
    pub async fn publish(&mut self, subject: &str, payload: &[u8]) -> Result<()> {
        let mut request = format!("PUB {subject} {}\r\n", payload.len()).into_bytes();
        request.extend_from_slice(payload);
        request.extend_from_slice(b"\r\n");
        self.send(&request).await
    }

    /// `HPUB subject headers payload`; the headers are as they go over the wire, from `NATS/1.0` to the empty line.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn publish_with_headers(&mut self, subject: &str, headers: &[u8], payload: &[u8]) -> Result<()> {
        let line = format!("HPUB {subject} {} {}\r\n", headers.len(), headers.len() + payload.len());
        self.send(&[line.as_bytes(), headers, payload, b"\r\n"].concat()).await
    }

    /// Waits until the server has read everything sent so far.
    ///
    /// # Errors
    /// The connection broke, or the server answered with an error.
    pub async fn flush(&mut self) -> Result<()> {
        self.send(b"PING\r\n").await?;
        loop {
            match self.line().await?.as_str() {
                "PONG" => return Ok(()),
                "PING" => self.send(b"PONG\r\n").await?,
                line if line.starts_with("INFO ") || line == "+OK" => {}
                line => return Err(Fault::said("NATS", line)),
            }
        }
    }

    /// Publishes a request and returns the payload of its first answer.
    ///
    /// # Errors
    /// Nobody answers to that subject, or not in time.
    pub async fn request(&mut self, subject: &str, payload: &[u8], timeout: Duration) -> Result<Vec<u8>> {
        let inbox = format!("_INBOX.{}", uuid::Uuid::new_v4().simple());
        let mut request = format!("SUB {inbox} 1\r\nUNSUB 1 1\r\nPUB {subject} {inbox} {}\r\n", payload.len()).into_bytes();
        request.extend_from_slice(payload);
        request.extend_from_slice(b"\r\n");
        self.send(&request).await?;
        match tokio::time::timeout(timeout, self.message()).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::late(format!("an answer to {subject}"), timeout, "")),
        }
    }

    async fn message(&mut self) -> Result<Vec<u8>> {
        loop {
            let line = self.line().await?;
            let mut words = line.split(' ');
            match words.next() {
                Some("MSG") => return self.payload(words.next_back(), 0).await,
                // Without a payload it is the server's word that nobody listens.
                Some("HMSG") => {
                    let (total, head) = (words.next_back(), words.next_back());
                    let head = head.and_then(|head| head.parse().ok()).unwrap_or(0);
                    let payload = self.payload(total, head).await?;
                    return if payload.is_empty() { Err(Fault::said("NATS", "no responders")) } else { Ok(payload) };
                }
                Some("PING") => self.send(b"PONG\r\n").await?,
                Some("INFO" | "PONG" | "+OK") => {}
                _ => return Err(Fault::said("NATS", line)),
            }
        }
    }

    async fn payload(&mut self, length: Option<&str>, skip: usize) -> Result<Vec<u8>> {
        let length: usize =
            length.and_then(|text| text.parse().ok()).ok_or_else(|| Fault::said("NATS", "a message without length"))?;
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await.map_err(Fault::io("read from NATS"))?;
        bytes.truncate(length);
        Ok(bytes.split_off(skip.min(length)))
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await.map_err(Fault::io("write to NATS"))?;
        self.stream.flush().await.map_err(Fault::io("write to NATS"))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.map_err(Fault::io("read from NATS"))?;
        if read == 0 {
            return Err(Fault::said("NATS", "the connection ended"));
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }
}
