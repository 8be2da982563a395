//! WebSocket framing, as little of it as a client needs that only counts: frame headers, and small frames to send.

/// What stands at the front of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    /// Whether the payload is deflated.
    pub(crate) compressed: bool,
    pub(crate) payload: &'a [u8],
    /// Header and payload.
    pub(crate) length: usize,
}

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
const RSV1: u8 = 0x40;

/// The first frame of `bytes`; `None` while it is incomplete. Servers do not mask.
pub(crate) fn parse(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (payload, start) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        short => (u64::from(short), 2),
    };
    let length = start + usize::try_from(payload).ok()?;
    Some(Frame { opcode: first & 0x0F, compressed: first & RSV1 != 0, payload: bytes.get(start..length)?, length })
}

/// A final client frame. The mask is all zeros: legal, and the payload stays as it is; nothing here crosses a proxy
/// that masking would protect.
pub(crate) fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len(), 0x80);
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A final server frame.
pub(crate) fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len(), 0);
    frame.extend_from_slice(payload);
    frame
}

fn header(opcode: u8, length: usize, masked: u8) -> Vec<u8> {
    let mut header = vec![0x80 | opcode];
    match u16::try_from(length) {
        Ok(short @ 0..=125) => header.push(masked | short as u8),
        Ok(medium) => {
            header.push(masked | 126);
            header.extend_from_slice(&medium.to_be_bytes());
        }
        Err(_) => {
            header.push(masked | 127);
            header.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_found_and_incomplete_ones_waited_for() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = server_frame(TEXT, &payload);
            for cut in [0, 1, bytes.len() - 1] {
                assert_eq!(parse(&bytes[..cut]), None, "{length} cut at {cut}");
            }
            let whole = bytes.len();
            bytes.push(0x89);
            assert_eq!(parse(&bytes), Some(Frame { opcode: TEXT, compressed: false, payload: &payload, length: whole }));
            assert_eq!(client_frame(TEXT, &payload).len(), whole + 4, "four bytes of mask");
        }
    }
}
