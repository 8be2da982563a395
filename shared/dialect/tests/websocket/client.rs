//! A client that can send anything, and what a server has read of it.

use weft_dialect::websocket::{Limits, Message, Reader, Scratch, Violation};

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
pub const FIN: u8 = 0x80;
pub const RSV1: u8 = 0x40;

/// A masked frame with this first byte.
pub fn frame(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            bytes.push(0xFE);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0xFF);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A masked frame where the mask does not matter.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    frame(first, [0x37, 0xFA, 0x21, 0x3D], payload)
}

/// A message that has been read, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl From<Message<'_>> for Read {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_owned()),
            Message::Ping(payload) => Self::Ping(payload.to_owned()),
            Message::Pong(payload) => Self::Pong(payload.to_owned()),
            Message::Close(close) => Self::Close(close.code, close.reason.to_owned()),
        }
    }
}

/// Small limits, so that tests reach them.
pub const LIMITS: Limits =
    Limits { frame_bytes_max: 1 << 16, message_bytes_max: 100_000, fragments_max: 64, empty_fragments_max: 16 };

/// The server's side of one connection.
pub struct Server {
    pub reader: Reader,
    pub scratch: Scratch,
    pub limits: Limits,
    pub read: Vec<Read>,
}

impl Server {
    pub fn new(deflate: bool) -> Self {
        Self { reader: Reader::new(deflate), scratch: Scratch::default(), limits: LIMITS, read: Vec::new() }
    }

    /// Bytes arrive, in one piece.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut bytes = bytes.to_vec();
        let mut rest = &mut bytes[..];
        while let Some(message) = self.reader.read(&mut rest, &self.limits, &mut self.scratch)? {
            self.read.push(message.into());
        }
        assert!(rest.is_empty(), "Ok(None) means that everything was used up");
        Ok(())
    }

    /// Bytes arrive in pieces that end at `cuts`; `held` sees the reader after each.
    pub fn receive_cut(&mut self, bytes: &[u8], cuts: &[usize], mut held: impl FnMut(&Reader)) -> Result<(), Violation> {
        let mut from = 0;
        for &to in cuts.iter().chain([&bytes.len()]) {
            let to = to.clamp(from, bytes.len());
            self.receive(&bytes[from..to])?;
            held(&self.reader);
            from = to;
        }
        Ok(())
    }
}

/// What a server reads of `bytes`, however they are cut: byte by byte and at once must come to the same.
pub fn outcome(deflate: bool, bytes: &[u8]) -> (Vec<Read>, Result<(), Violation>) {
    let mut whole = Server::new(deflate);
    let result = whole.receive(bytes);
    let mut pieces = Server::new(deflate);
    let every: Vec<usize> = (1..bytes.len()).collect();
    assert_eq!(pieces.receive_cut(bytes, &every, |_| ()), result, "byte by byte: {bytes:02x?}");
    assert_eq!(pieces.read, whole.read, "byte by byte: {bytes:02x?}");
    (whole.read, result)
}
