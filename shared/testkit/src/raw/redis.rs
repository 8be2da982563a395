//! A few lines of RESP2.

use crate::{Fault, Result};
use std::fmt;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

/// Largest bulk string that is read, as a guard against a misread length.
const BULK_BYTES_MAX: usize = 64 << 20;

/// A Redis reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK` and the like.
    Status(String),
    /// `-ERR …`
    Error(String),
    /// `:1`
    Number(i64),
    /// Bytes; `None` is a null.
    Bulk(Option<Vec<u8>>),
    /// A list of replies.
    List(Vec<Reply>),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(text) | Self::Error(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bulk(None) => f.write_str("(nil)"),
            Self::Bulk(Some(bytes)) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::List(items) => items.iter().try_for_each(|item| writeln!(f, "{item}")),
        }
    }
}

/// One connection to a Redis server.
pub struct RawRedis {
    stream: BufStream<TcpStream>,
}

impl RawRedis {
    /// Connects to a port of loopback.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(Fault::io("connect to Redis"))?;
        Ok(Self { stream: BufStream::new(stream) })
    }

    /// Sends one command and returns its reply; an error reply is an error here.
    ///
    /// # Errors
    /// The connection broke, or the server refused.
    pub async fn command(&mut self, words: &[&[u8]]) -> Result<Reply> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&request).await.map_err(Fault::io("write to Redis"))?;
        self.stream.flush().await.map_err(Fault::io("write to Redis"))?;
        match self.reply().await? {
            Reply::Error(said) => Err(Fault::said(String::from_utf8_lossy(words[0]), said)),
            reply => Ok(reply),
        }
    }

    /// [`RawRedis::command`] for words that are text.
    ///
    /// # Errors
    /// As there.
    pub async fn say(&mut self, words: &[&str]) -> Result<Reply> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.command(&words).await
    }

    /// `PUBLISH channel payload`; returns how many connections the server says it reached.
    ///
    /// # Errors
    /// The connection broke, or the server refused.
    pub async fn publish(&mut self, channel: &str, payload: &[u8]) -> Result<i64> {
        match self.command(&[b"PUBLISH", channel.as_bytes(), payload]).await? {
            Reply::Number(reached) => Ok(reached),
            other => Err(Fault::said("PUBLISH", other)),
        }
    }

    async fn reply(&mut self) -> Result<Reply> {
        let line = self.line().await?;
        let (mark, rest) = line.split_at_checked(1).ok_or_else(|| Fault::said("Redis", "an empty line"))?;
        Ok(match mark {
            "+" => Reply::Status(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(number(rest)?),
            "$" => Reply::Bulk(self.bulk(number(rest)?).await?),
            "*" => {
                let mut items = Vec::new();
                for _ in 0..number(rest)? {
                    items.push(Box::pin(self.reply()).await?);
                }
                Reply::List(items)
            }
            _ => return Err(Fault::said("Redis", line)),
        })
    }

    async fn bulk(&mut self, length: i64) -> Result<Option<Vec<u8>>> {
        let Ok(length) = usize::try_from(length) else { return Ok(None) };
        if length > BULK_BYTES_MAX {
            return Err(Fault::said("Redis", format!("a bulk string of {length} bytes")));
        }
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await.map_err(Fault::io("read from Redis"))?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await.map_err(Fault::io("read from Redis"))?;
        if read == 0 {
            return Err(Fault::said("Redis", "the connection ended"));
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }
}

fn number(text: &str) -> Result<i64> {
    text.parse().map_err(|_| Fault::said("Redis", format!("no number: {text}")))
}
