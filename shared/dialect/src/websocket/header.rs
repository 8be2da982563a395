//! Reading the header of a client's frame.

use super::{Opcode, Violation, frame::CONTROL_BYTES_MAX};

/// Longest header of a client's frame, mask included, in bytes.
pub const CLIENT_HEADER_BYTES_MAX: usize = 14;

/// The header of one frame from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub opcode: Opcode,
    /// Whether it is the last of its message.
    pub fin: bool,
    /// Whether it begins a compressed message.
    pub rsv1: bool,
    /// Bytes of payload.
    pub payload_len: u64,
    /// What the payload is masked with.
    pub mask: [u8; 4],
}

/// Reads a header from the beginning of `bytes`, and how many bytes it takes. `None` asks for more.
///
/// Refuses as soon as the bytes at hand decide it (RFC 6455, section 5.2): with the first for reserved bits and
/// opcodes, with the second for a missing mask and for the rules on control frames.
pub fn decode(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(Violation::ReservedOpcode)?;
    let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
    if first & 0x30 != 0 || rsv1 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(Violation::ReservedBit);
    }
    if opcode.is_control() && !fin {
        return Err(Violation::FragmentedControl);
    }
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & 0x7F;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(Violation::ControlTooLong);
    }
    let Some((payload_len, mask_at)) = payload_len(short, &bytes[2..])? else { return Ok(None) };
    let Some(mask) = bytes[2 + mask_at..].first_chunk::<4>() else { return Ok(None) };
    Ok(Some((Header { opcode, fin, rsv1, payload_len, mask: *mask }, 2 + mask_at + 4)))
}

/// The length from its 7 bits and what follows them, and how many bytes follow. "The minimal number of bytes MUST be
/// used."
fn payload_len(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let (len, bytes, least) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(len) => (u64::from(u16::from_be_bytes(*len)), 2, 126),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(len) => (u64::from_be_bytes(*len), 8, 0x1_0000),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, 0),
    };
    if len < least {
        return Err(Violation::LengthNotMinimal);
    }
    // "The most significant bit MUST be 0."
    if len >> 63 != 0 {
        return Err(Violation::LengthOverflow);
    }
    Ok(Some((len, bytes)))
}

/// Applies a mask, in place. It is its own inverse.
pub fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u128::from_ne_bytes([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<16>();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d].into_iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_from_the_byte_that_completes_it() {
        for (bytes, len) in [
            (&[0x81, 0x85, 1, 2, 3, 4][..], 5),
            (&[0x81, 0xFE, 0, 126, 1, 2, 3, 4], 126),
            (&[0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], 65536),
            (&[0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4], i64::MAX as u64),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "{cut} of {bytes:?}");
            }
            let header = Header { opcode: Opcode::Text, fin: true, rsv1: false, payload_len: len, mask: [1, 2, 3, 4] };
            assert_eq!(decode(bytes), Ok(Some((header, bytes.len()))));
        }
    }

    #[test]
    fn a_fault_is_found_with_the_byte_that_decides_it() {
        for (bytes, fault) in [
            (&[0x83][..], Violation::ReservedOpcode),
            (&[0x8B], Violation::ReservedOpcode),
            (&[0x91], Violation::ReservedBit),
            (&[0xA1], Violation::ReservedBit),
            (&[0xC0], Violation::ReservedBit),
            (&[0xC9], Violation::ReservedBit),
            (&[0x09], Violation::FragmentedControl),
            (&[0x08], Violation::FragmentedControl),
            (&[0x81, 0x05], Violation::Unmasked),
            (&[0x89, 0xFE], Violation::ControlTooLong),
            (&[0x88, 0xFF], Violation::ControlTooLong),
            (&[0x81, 0xFE, 0, 125], Violation::LengthNotMinimal),
            (&[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], Violation::LengthNotMinimal),
            (&[0x81, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0], Violation::LengthOverflow),
        ] {
            assert_eq!(decode(&bytes[..bytes.len() - 1]), Ok(None), "{bytes:?}");
            assert_eq!(decode(bytes), Err(fault), "{bytes:?}");
        }
    }

    #[test]
    fn masks_apply_at_every_length() {
        for len in 0..70usize {
            let plain: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let mut masked = plain.clone();
            unmask(&mut masked, [0xA5, 0x01, 0xFF, 0x30]);
            let expected: Vec<u8> = plain.iter().zip([0xA5u8, 0x01, 0xFF, 0x30].iter().cycle()).map(|(a, b)| a ^ b).collect();
            assert_eq!(masked, expected, "{len}");
        }
    }
}
