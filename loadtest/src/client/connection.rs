//! A client's socket: connecting without waiting, the upgrade, and the few bytes that must be kept between turns.

use rustix::{event::epoll, fd::OwnedFd};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
};

/// A longer answer to an upgrade is none.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// What a slow client's kernel holds for it, so that not reading is felt.
const SLOW_BUFFER_BYTES: usize = 4096;
/// Ports are counted for each address; with several of loopback's there are enough for any number of clients.
pub(crate) const ADDRESSES_A_PROCESS: u32 = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Closed,
    Connecting,
    Upgrading,
    Open,
}

#[derive(Debug, Default)]
pub(crate) struct Connection {
    socket: Option<TcpStream>,
    stage: Stage,
    /// The bytes of a frame, or an answer, that is not whole yet.
    rest: Vec<u8>,
    unsent: Vec<u8>,
}

impl Connection {
    /// Begins to connect; the loop is told when there is news of it.
    pub(crate) fn begin(&mut self, to: SocketAddr, from: Option<IpAddr>, slow: bool) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        if let Some(from) = from {
            socket.bind(&SockAddr::from(SocketAddr::new(from, 0)))?;
        }
        if slow {
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
        }
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&SockAddr::from(to)) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => return Err(error),
            _ => {}
        }
        *self = Self { socket: Some(socket.into()), stage: Stage::Connecting, ..Self::default() };
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting | Stage::Upgrading)
    }

    pub(crate) fn set_open(&mut self) {
        self.stage = Stage::Open;
    }

    /// Whether the connection stands just now, so that the request can be sent.
    pub(crate) fn stands(&mut self) -> io::Result<bool> {
        let Some(socket) = &self.socket else { return Ok(false) };
        if self.stage != Stage::Connecting {
            return Ok(false);
        }
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        self.stage = Stage::Upgrading;
        Ok(true)
    }

    /// How many bytes were read; `None` when there is nothing to be read now.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(socket) = &mut self.socket else { return Ok(None) };
        match socket.read(scratch) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a close frame")),
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was kept, with these bytes after it; `None` when nothing was.
    pub(crate) fn joined(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.rest.is_empty() {
            return None;
        }
        self.rest.extend_from_slice(bytes);
        Some(std::mem::take(&mut self.rest))
    }

    /// Keeps what is not whole yet.
    pub(crate) fn keep(&mut self, rest: &[u8]) -> io::Result<()> {
        if !rest.is_empty() {
            self.rest = rest.to_vec();
        }
        Ok(())
    }

    /// Sends, or keeps what the socket does not take now.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        self.flush()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        while !self.unsent.is_empty() {
            match socket.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        // The next bytes to send are far away.
        self.unsent = Vec::new();
        Ok(())
    }

    /// What the loop should tell it about; `pausing` clients are told of nothing but the end.
    pub(crate) fn watch(&self, epoll: &OwnedFd, number: u32, pausing: bool, known: bool) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let mut flags = if pausing { epoll::EventFlags::empty() } else { epoll::EventFlags::IN };
        flags.set(epoll::EventFlags::OUT, self.stage == Stage::Connecting || !self.unsent.is_empty());
        let data = epoll::EventData::new_u64(u64::from(number));
        let told = if known { epoll::modify(epoll, socket, data, flags) } else { epoll::add(epoll, socket, data, flags) };
        told.map_err(io::Error::from)
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Forgets everything; the socket closes.
    pub(crate) fn close(&mut self) {
        *self = Self::default();
    }
}

/// What follows the head of the answer that grants the upgrade, or the stream; `None` while it is not whole.
pub(crate) fn granted(answer: &[u8], stream: bool) -> io::Result<Option<&[u8]>> {
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else {
        if answer.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("refused: an endless answer"));
        }
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    let granted = if stream {
        // Without chunks there is nothing to tell the messages of a stream from its end.
        head.starts_with("HTTP/1.1 200") && head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked")
    } else {
        head.starts_with("HTTP/1.1 101")
    };
    if granted {
        return Ok(Some(&answer[end + 4..]));
    }
    Err(io::Error::other(format!("refused: {}", head.lines().next().unwrap_or_default())))
}

/// The address that a client of a process connects from; the kernel's choice where the server is not on loopback.
pub(crate) fn source(process: u32, client: u32, to: SocketAddr) -> Option<IpAddr> {
    if !to.ip().is_loopback() || !to.is_ipv4() {
        return None;
    }
    // 127.10.1.1 and on: not what servers listen on.
    let (high, low) = (process / 250 % 200 + 10, process % 250 + 1);
    let octets = [127, high, low, client % ADDRESSES_A_PROCESS + 1].map(|octet| u8::try_from(octet).unwrap_or(1));
    Some(Ipv4Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_or_a_stream_is_granted_whole() {
        let upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nrest";
        let stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nrest";
        let page = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrest";
        for (answer, is_stream, expected) in [
            (&upgrade[..], false, Some(Some(&b"rest"[..]))),
            (&upgrade[..40], false, Some(None)),
            (upgrade, true, None),
            (stream, true, Some(Some(b"rest"))),
            (&stream[..30], true, Some(None)),
            (stream, false, None),
            (page, true, None),
            (&[b'x'; ANSWER_BYTES_MAX + 1], false, None),
        ] {
            assert_eq!(granted(answer, is_stream).ok(), expected, "{}", String::from_utf8_lossy(answer));
        }
        let refused = granted(b"HTTP/1.1 401 Unauthorized\r\n\r\n", false).expect_err("refused");
        assert_eq!(refused.to_string(), "refused: HTTP/1.1 401 Unauthorized");
    }

    #[test]
    fn each_process_has_addresses_of_its_own() {
        let to = SocketAddr::from(([127, 0, 0, 1], 80));
        assert_eq!(source(0, 0, to), Some(Ipv4Addr::new(127, 10, 1, 1).into()));
        assert_eq!(source(251, 9, to), Some(Ipv4Addr::new(127, 11, 2, 2).into()));
        assert_eq!(source(0, 0, SocketAddr::from(([10, 0, 0, 1], 80))), None);
    }
}
