//! A connection that is ended while its client still writes.
//!
//! A request may be answered before all of it has come: its body is too large, say. Closing a socket that holds unread bytes
//! resets the connection, and a reset may overtake the answer. So our half is closed first, and what still comes is thrown
//! away for a while, until the client has read the answer and closes its own (RFC 9112, section 9.6).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// How long a client may go on writing what nobody reads.
const TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes thrown away at most.
const BYTES_MAX: usize = 16 << 20;
/// Bytes thrown away by one read.
const AT_ONCE: usize = 8 * 1024;

/// A stream whose end waits for a client that was still writing.
pub struct Lingering<S> {
    stream: S,
    /// The last read brought something, so there may be more.
    is_speaking: bool,
    left_bytes: usize,
    /// Set once our half is closed.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Lingering<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, is_speaking: false, left_bytes: BYTES_MAX, until: None }
    }

    /// The stream itself, for whoever ends it in another way.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.is_speaking = buffer.filled().len() > before;
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.until.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.is_speaking {
                return Poll::Ready(Ok(()));
            }
        }
        let until = this.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(TIME_MAX)));
        let mut scratch = [0; AT_ONCE];
        while this.left_bytes > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return until.as_mut().poll(context).map(Ok),
                // Its end, or a connection that it has given up: either way it waits for nothing.
                Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => break,
                Poll::Ready(Ok(())) => this.left_bytes = this.left_bytes.saturating_sub(buffer.filled().len()),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// A server that has read the first of what its client says and now ends the connection.
    async fn half_read(says: usize) -> (tokio::io::DuplexStream, Lingering<tokio::io::DuplexStream>) {
        let (mut client, server) = duplex(says);
        client.write_all(&vec![b'x'; says]).await.expect("written");
        let mut server = Lingering::new(server);
        server.read_exact(&mut [0; 4]).await.expect("read");
        (client, server)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_writes_on_reads_its_answer_and_ends_it() {
        let (mut client, mut server) = half_read(16).await;
        let ending = tokio::spawn(async move {
            server.write_all(b"refused").await.expect("written");
            server.shutdown().await.expect("ended");
            server
        });
        for _ in 0..1000 {
            client.write_all(b"more of the body").await.expect("somebody still reads");
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        assert_eq!(answer, "refused");
        assert!(!ending.is_finished(), "it waits for the client's end");
        drop(client);
        ending.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_for_ever() {
        let (_client, mut server) = half_read(16).await;
        let began = tokio::time::Instant::now();
        server.shutdown().await.expect("ended");
        assert_eq!(began.elapsed().as_secs(), TIME_MAX.as_secs());

        let (mut client, mut server) = half_read(16).await;
        let flood = tokio::spawn(async move { while client.write_all(&[b'x'; AT_ONCE]).await.is_ok() {} });
        let began = tokio::time::Instant::now();
        server.shutdown().await.expect("ended");
        assert_eq!((server.left_bytes, began.elapsed().as_secs()), (0, 0));
        drop(server);
        flood.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_not_waited_for() {
        let (_client, mut server) = half_read(4).await;
        let nothing = tokio::time::timeout(Duration::from_millis(1), server.read(&mut [0; 4])).await;
        let began = tokio::time::Instant::now();
        server.shutdown().await.expect("ended");
        assert!(nothing.is_err() && began.elapsed().is_zero());
    }
}
