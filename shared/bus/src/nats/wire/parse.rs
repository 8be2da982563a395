//! What a NATS server sends, from bytes to operations: the client protocol,
//! <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use bytes::{Buf, Bytes, BytesMut};

/// Longest line of control; `INFO` of a large cluster is the longest there is.
const LINE_MAX: usize = 64 * 1024;

/// One operation of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// What the server says of itself, in JSON.
    Info(Bytes),
    /// A message of a subscription.
    Message(Message),
    Ping,
    Pong,
    /// An error, without its quotes.
    Error(String),
    Ok,
}

/// A message of a subscription; its parts are slices of what was read from the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::nats) struct Message {
    pub(super) sid: u64,
    /// From `NATS/1.0` to the empty line; empty if there are none.
    pub(in crate::nats) headers: Bytes,
    pub(in crate::nats) payload: Bytes,
}

/// Bytes that are no operation: the connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("a line of more than {LINE_MAX} bytes")]
    LineTooLong,
    #[error("a message of {bytes} bytes, at most {max} were agreed on")]
    TooLarge { bytes: usize, max: usize },
    #[error("not NATS: {0:?}")]
    Malformed(String),
}

/// Takes operations from a buffer that bytes are added to.
#[derive(Debug)]
pub(super) struct Parser {
    /// Largest message with its headers.
    pub(super) message_max: usize,
    /// A message whose line has been read, and whose bytes have not all come.
    begun: Option<Begun>,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    sid: u64,
    headers: usize,
    total: usize,
}

impl Parser {
    pub(super) fn new(message_max: usize) -> Self {
        Self { message_max, begun: None }
    }

    /// The next operation, or `None` until there are more bytes.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Op>, Fault> {
        if let Some(begun) = self.begun {
            return self.message(begun, buffer);
        }
        let Some(end) = memchr::memchr(b'\n', buffer) else {
            return if buffer.len() > LINE_MAX { Err(Fault::LineTooLong) } else { Ok(None) };
        };
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        let (word, rest) = match line.iter().position(u8::is_ascii_whitespace) {
            Some(at) => (&line[..at], line[at..].trim_ascii()),
            None => (line, &line[line.len()..]),
        };
        let op = match word {
            b"MSG" | b"HMSG" => {
                let begun = begun(rest, word == b"HMSG").ok_or_else(|| malformed(line))?;
                buffer.advance(end + 1);
                if begun.total > self.message_max {
                    return Err(Fault::TooLarge { bytes: begun.total, max: self.message_max });
                }
                self.begun = Some(begun);
                return self.message(begun, buffer);
            }
            b"PING" => Op::Ping,
            b"PONG" => Op::Pong,
            b"+OK" => Op::Ok,
            b"INFO" => Op::Info(Bytes::copy_from_slice(rest)),
            b"-ERR" => Op::Error(String::from_utf8_lossy(rest).trim_matches('\'').to_owned()),
            _ => return Err(malformed(line)),
        };
        buffer.advance(end + 1);
        Ok(Some(op))
    }

    fn message(&mut self, begun: Begun, buffer: &mut BytesMut) -> Result<Option<Op>, Fault> {
        let whole = begun.total + 2;
        if buffer.len() < whole {
            buffer.reserve(whole - buffer.len());
            return Ok(None);
        }
        self.begun = None;
        let bytes = buffer.split_to(whole).freeze();
        if &bytes[begun.total..] != b"\r\n" {
            return Err(malformed(&bytes[begun.total..]));
        }
        let (headers, payload) = (bytes.slice(..begun.headers), bytes.slice(begun.headers..begun.total));
        Ok(Some(Op::Message(Message { sid: begun.sid, headers, payload })))
    }
}

/// `<subject> <sid> [reply-to] [bytes of headers] <bytes in all>`
fn begun(rest: &[u8], has_headers: bool) -> Option<Begun> {
    let words: Vec<&str> = std::str::from_utf8(rest).ok()?.split_ascii_whitespace().collect();
    let numbers = if has_headers { 2 } else { 1 };
    if words.len() != numbers + 2 && words.len() != numbers + 3 {
        return None;
    }
    let total = words.last()?.parse().ok()?;
    let headers = if has_headers { words[words.len() - 2].parse().ok()? } else { 0 };
    (headers <= total).then_some(Begun { sid: words[1].parse().ok()?, headers, total })
}

fn malformed(line: &[u8]) -> Fault {
    Fault::Malformed(String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sid: u64, headers: &'static str, payload: &'static str) -> Op {
        Op::Message(Message { sid, headers: headers.into(), payload: payload.into() })
    }

    const STREAM: &[u8] = b"INFO {\"max_payload\":1024} \r\nPING\r\nPONG\r\n+OK\r\nMSG a.b 7 5\r\nhello\r\n\
        MSG a 8 reply.to 0\r\n\r\nHMSG a.b 9 16 19\r\nNATS/1.0\r\nA: b\r\nhi\r\r\n-ERR 'Unknown Protocol'\r\nMSG\ta 1  2\r\n\r\n\r\n";

    fn expected() -> Vec<Op> {
        vec![
            Op::Info("{\"max_payload\":1024}".into()),
            Op::Ping,
            Op::Pong,
            Op::Ok,
            message(7, "", "hello"),
            message(8, "", ""),
            message(9, "NATS/1.0\r\nA: b\r\n", "hi\r"),
            Op::Error("Unknown Protocol".into()),
            message(1, "", "\r\n"),
        ]
    }

    fn all(parser: &mut Parser, buffer: &mut BytesMut) -> Result<Vec<Op>, Fault> {
        let mut ops = Vec::new();
        while let Some(op) = parser.next(buffer)? {
            ops.push(op);
        }
        Ok(ops)
    }

    #[test]
    fn a_stream_is_read_alike_however_it_is_cut() {
        for cut in 0..STREAM.len() {
            let (mut parser, mut buffer) = (Parser::new(1024), BytesMut::from(&STREAM[..cut]));
            let mut ops = all(&mut parser, &mut buffer).expect("valid");
            buffer.extend_from_slice(&STREAM[cut..]);
            ops.extend(all(&mut parser, &mut buffer).expect("valid"));
            assert_eq!(ops, expected(), "cut at {cut}");
        }
        let (mut parser, mut buffer, mut ops) = (Parser::new(1024), BytesMut::new(), Vec::new());
        for byte in STREAM {
            buffer.extend_from_slice(&[*byte]);
            ops.extend(all(&mut parser, &mut buffer).expect("valid"));
        }
        assert_eq!(ops, expected());
    }

    #[test]
    fn what_is_no_nats_is_refused() {
        for bad in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"MSG a 1\r\n",
            b"MSG a x 1\r\n",
            b"MSG a 1 r 2 3 4\r\n",
            b"MSG a 1 -1\r\n",
            b"HMSG a 1 5 4\r\n",
            b"MSG a 1 1\r\nxyz",
            b"MSG a 1 99999999999999999999\r\n",
            b"\xff\xfe\r\n",
        ] {
            let mut buffer = BytesMut::from(bad);
            assert!(matches!(all(&mut Parser::new(1024), &mut buffer), Err(Fault::Malformed(_))), "{bad:?}");
        }
        let mut buffer = BytesMut::from(&b"MSG a 1 1025\r\n"[..]);
        assert_eq!(all(&mut Parser::new(1024), &mut buffer), Err(Fault::TooLarge { bytes: 1025, max: 1024 }));
        let mut buffer = BytesMut::from(&vec![b'x'; LINE_MAX + 1][..]);
        assert_eq!(all(&mut Parser::new(1024), &mut buffer), Err(Fault::LineTooLong));
    }
}
