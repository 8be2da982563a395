//! The bytes of a WebSocket, carried between a client and the gateway that holds its session.
//!
//! Nothing of them is looked at but where frames end: a process that leaves closes its clients' WebSockets with a code, and can
//! put the close frame only between two others.

use crate::{
    hub::Hub,
    session::{Cause, farewell},
};
use std::{io, pin::pin, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use weft_dialect::{told, websocket::ControlFrame};

/// Bytes read at once.
const READ_BYTES: usize = 8 * 1024;
/// How long the rest of a frame, and then the client's own goodbye, are waited for.
const GOODBYE: Duration = Duration::from_secs(2);

/// Carries bytes both ways until either end is gone, or this process leaves: its client is then closed with 1012 and comes
/// back, as the others do and among them; its answer tells the other gateway.
pub async fn carry(hub: &Arc<Hub>, client: impl AsyncRead + AsyncWrite, owner: impl AsyncRead + AsyncWrite) -> io::Result<()> {
    let passage = hub.passage();
    let ((client_in, client_out), (owner_in, owner_out)) = (tokio::io::split(client), tokio::io::split(owner));
    let leave = CancellationToken::new();
    let mut both = pin!(async { tokio::try_join!(up(client_in, owner_out), down(owner_in, client_out, &leave)) });
    tokio::select! {
        carried = &mut both => return carried.map(drop),
        () = passage.ends() => leave.cancel(),
    }
    tokio::time::timeout(GOODBYE, both).await.unwrap_or(Ok(((), ()))).map(drop)
}

/// What the client sends, to its end.
async fn up(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// What the owner sends, to its end; or, once told to leave, to the end of a frame, and a goodbye after it.
async fn down(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, leave: &CancellationToken) -> io::Result<()> {
    let (mut frames, mut buffer) = (Frames::default(), vec![0; READ_BYTES]);
    while !leave.is_cancelled() || !frames.is_between() {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            () = leave.cancelled(), if frames.is_between() => break,
        };
        if read == 0 {
            return to.shutdown().await;
        }
        let upto = if leave.is_cancelled() { frames.rest_of(&buffer[..read]) } else { frames.pass(&buffer[..read]) };
        to.write_all(&buffer[..upto]).await?;
        // With TLS some may still lie in its buffer.
        to.flush().await?;
    }
    to.write_all(&ControlFrame::close(told::RESTARTING.code, &farewell(Cause::Drain.word(), 0))).await?;
    to.flush().await?;
    // The owner ends when it has the client's answer; until then the client must not be cut off from sending it.
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    to.shutdown().await
}

/// Where the frames of one direction end.
#[derive(Debug, Default)]
struct Frames {
    /// The header that has begun, up to the end of its length.
    header: [u8; 10],
    have: usize,
    /// Bytes of the frame after that.
    left: u64,
}

impl Frames {
    /// Whether what has passed ends where a frame does.
    fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Takes all of these; how many that are.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            at += self.rest_of(&bytes[at..]);
        }
        at
    }

    /// Takes these up to the end of the frame that has begun, or of the next one; how many that are.
    fn rest_of(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let some = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= some as u64;
                at += some;
            } else {
                self.header[self.have] = bytes[at];
                self.have += 1;
                at += 1;
                if let Some(left) = self.whole_header() {
                    (self.left, self.have) = (left, 0);
                } else {
                    continue;
                }
            }
            if self.is_between() {
                break;
            }
        }
        at
    }

    /// How many bytes follow, once the length is known.
    fn whole_header(&self) -> Option<u64> {
        let [_, second, ..] = self.header;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let length = match (self.have, second & 0x7f) {
            (2, length @ 0..=125) => u64::from(length),
            (4, 126) => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            (10, 127) => self.header[2..].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            _ => return None,
        };
        Some(length.saturating_add(mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_dialect::websocket::{HEADER_BYTES_MAX, Opcode, encode_header};

    fn frame(payload: usize) -> Vec<u8> {
        let mut header = [0; HEADER_BYTES_MAX];
        let length = encode_header(Opcode::Text, true, false, payload as u64, &mut header);
        [&header[..length], vec![b'x'; payload].as_slice()].concat()
    }

    #[test]
    fn frames_of_all_lengths_end_where_they_end() {
        let masked = [&[0x81, 0x83, 1, 2, 3, 4][..], b"abc"].concat();
        let all = [frame(0), frame(5), masked, frame(125), frame(126), frame(65_535), frame(65_536), frame(1)];
        for step in [1, 7, 1000, usize::MAX] {
            let mut frames = Frames::default();
            for frame in &all {
                for piece in frame.chunks(step.min(frame.len())) {
                    assert_eq!(frames.rest_of(piece), piece.len());
                }
                assert!(frames.is_between(), "{} bytes in steps of {step}", frame.len());
            }
        }
    }

    #[test]
    fn what_follows_a_frame_is_left() {
        let mut frames = Frames::default();
        let two = [frame(300), frame(2)].concat();
        assert_eq!(frames.pass(&two[..100]), 100);
        assert!(!frames.is_between());
        assert_eq!(frames.rest_of(&two[100..]), 304 - 100);
        assert!(frames.is_between());
    }

    #[tokio::test]
    async fn a_goodbye_waits_for_the_end_of_the_frame() {
        let (mut owner, from) = tokio::io::duplex(1024);
        let (to, mut client) = tokio::io::duplex(1024);
        let leave = CancellationToken::new();
        let carried = tokio::spawn({
            let leave = leave.clone();
            async move { down(from, to, &leave).await }
        });
        let sent = frame(10);
        owner.write_all(&sent[..5]).await.expect("written");
        let mut heard = vec![0; 5];
        client.read_exact(&mut heard).await.expect("the begin of a frame");
        leave.cancel();
        owner.write_all(&[&sent[5..], &frame(3)].concat()).await.expect("written");
        drop(owner);
        client.read_to_end(&mut heard).await.expect("the rest");
        let goodbye = ControlFrame::close(1012, "drain: come back after 0 ms");
        assert_eq!(heard, [&sent[..], &goodbye].concat());
        carried.await.expect("no panic").expect("carried");
    }
}
