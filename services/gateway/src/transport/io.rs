//! The byte stream beneath a transport: the bare socket, or whatever an upgraded connection ran on.

use socket2::SockRef;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

/// Unsent bytes above which the kernel takes no more of a socket. What it takes is out of our hands: an event cannot be
/// left to a cursor any more, and every slow socket holds it twice.
pub const UNSENT_BYTES_MAX: u32 = 32 * 1024;

/// Both directions of a stream that is not a bare socket, TLS for one.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Sockets that this process has open with clients and other gateways.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// One socket more, for as long as this lives. It takes no memory of a connection: descriptors are the process's, and so is
/// their count.
#[derive(Debug)]
pub struct Counted(());

impl Counted {
    /// Counts one.
    #[must_use]
    pub fn one() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// How many there are.
    #[must_use]
    pub fn open() -> usize {
        OPEN.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A byte stream, counted.
pub enum Io {
    /// A bare socket.
    Tcp(TcpStream, Counted),
    /// Anything else.
    Other(Box<dyn Stream>, Counted),
}

/// How long the kernel may try.
#[derive(Clone, Copy, Debug)]
pub struct SocketTimes {
    /// Until data that nobody acknowledges ends the connection. Longer than the limit at which a stalled peer is closed
    /// with a code.
    pub unacknowledged: Duration,
}

impl Io {
    /// A socket, set up for small frames that must not wait for each other.
    pub fn tcp(stream: TcpStream, times: SocketTimes) -> Self {
        Self::set_up(&stream, times);
        Self::Tcp(stream, Counted::one())
    }

    /// TLS over a socket, which is set up likewise.
    pub fn tls(stream: TlsStream<TcpStream>, times: SocketTimes) -> Self {
        Self::set_up(stream.get_ref().0, times);
        Self::other(stream)
    }

    /// Whatever else an upgraded connection ran on.
    pub fn other(stream: impl Stream) -> Self {
        Self::Other(Box::new(stream), Counted::one())
    }

    fn set_up(stream: &TcpStream, times: SocketTimes) {
        let socket = SockRef::from(stream);
        // Each only makes things better; a kernel that lacks one serves as well as it can.
        let _ = socket.set_tcp_nodelay(true);
        #[cfg(target_os = "linux")]
        {
            let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
            let _ = socket.set_tcp_user_timeout(Some(times.unacknowledged));
        }
    }

    /// Whether a read is worth its system call. Costs one look at a flag where the answer is no; the task was promised to
    /// be woken by the read that said "nothing more".
    pub fn may_be_read(&self) -> bool {
        match self {
            Self::Tcp(stream, _) => stream.try_io(Interest::READABLE, || Ok(())).is_ok(),
            Self::Other(..) => true,
        }
    }

    /// Reads what has come; 0 bytes are the end.
    pub fn poll_read(&mut self, context: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        let read = match self {
            Self::Tcp(stream, _) => Pin::new(stream).poll_read(context, &mut buffer),
            Self::Other(stream, _) => Pin::new(stream).poll_read(context, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }

    /// Writes what the stream takes of these slices.
    pub fn poll_write(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, slices) {
            (Self::Tcp(stream, _), [slice]) => Pin::new(stream).poll_write(context, slice),
            (Self::Tcp(stream, _), _) => Pin::new(stream).poll_write_vectored(context, slices),
            (Self::Other(stream, _), _) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    /// Pushes out what the stream itself may hold back. A socket holds nothing back.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(..) => Poll::Ready(Ok(())),
            Self::Other(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }

    /// Says that nothing more will be written.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream, _) => Pin::new(stream).poll_shutdown(context),
            Self::Other(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
