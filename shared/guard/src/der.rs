//! Public keys out of PEM and DER: just enough of X.690 for RFC 5280's `SubjectPublicKeyInfo` and PKCS #1, and for whoever
//! else has to look into DER.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The tag of a sequence.
pub const SEQUENCE: u8 = 0x30;
/// The tag of an integer.
pub const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_ID: u8 = 0x06;

/// 1.2.840.113549.1.1.1, rsaEncryption.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10045.2.1, ecPublicKey.
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// 1.2.840.10045.3.1.7, P-256.
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 1.3.101.112, Ed25519.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A public key as its parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256 { point: Vec<u8> },
    Ed25519 { point: Vec<u8> },
}

/// The key of one PEM block, `PUBLIC KEY` or `RSA PUBLIC KEY`.
pub(crate) fn public_key(pem: &str) -> Option<PublicKey> {
    let (label, rest) = pem.trim().strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).ok()?;
    match label {
        "PUBLIC KEY" => subject_public_key(&der),
        "RSA PUBLIC KEY" => rsa(&der),
        _ => None,
    }
}

fn subject_public_key(der: &[u8]) -> Option<PublicKey> {
    let (info, rest) = element(der, SEQUENCE)?;
    let (algorithm, key) = element(info, SEQUENCE)?;
    let (key, end) = element(key, BIT_STRING)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    // The first byte says how many bits of the last one are not used: none.
    let key = key.strip_prefix(&[0])?;
    let (id, parameters) = element(algorithm, OBJECT_ID)?;
    match id {
        RSA => rsa(key),
        EC if element(parameters, OBJECT_ID)?.0 == P256 => {
            (key.len() == 65 && key[0] == 4).then(|| PublicKey::P256 { point: key.to_vec() })
        }
        ED25519 => (key.len() == 32).then(|| PublicKey::Ed25519 { point: key.to_vec() }),
        _ => None,
    }
}

fn rsa(der: &[u8]) -> Option<PublicKey> {
    let (numbers, rest) = element(der, SEQUENCE)?;
    let (modulus, numbers) = element(numbers, INTEGER)?;
    let (exponent, end) = element(numbers, INTEGER)?;
    let is_whole = rest.is_empty() && end.is_empty();
    is_whole.then(|| PublicKey::Rsa { modulus: unsigned(modulus).to_vec(), exponent: unsigned(exponent).to_vec() })
}

/// A big-endian number without leading zeros.
pub(crate) fn unsigned(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// The content of the element that `der` begins with, if it has this tag and at most 64 KiB, and what follows it.
#[must_use]
pub fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*found == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_none() {
        let pem = |label: &str, der: &[u8]| format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
        let ed: Vec<u8> = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &[7; 32]].concat();
        assert_eq!(public_key(&pem("PUBLIC KEY", &ed)), Some(PublicKey::Ed25519 { point: vec![7; 32] }));
        for cut in 0..ed.len() {
            assert_eq!(public_key(&pem("PUBLIC KEY", &ed[..cut])), None, "{cut} bytes");
        }
        for (at, byte) in [(0, 0x31), (1, 0x84), (1, 0xff), (8, 0x71), (10, 0x22), (11, 0x01)] {
            let mut broken = ed.clone();
            broken[at] = byte;
            assert_eq!(public_key(&pem("PUBLIC KEY", &broken)), None, "{at}");
        }
        assert_eq!(public_key(&pem("PUBLIC KEY", &[&ed[..], &[0]].concat())), None, "something follows");
        for text in ["", "-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----\n%%\n-----END PUBLIC KEY-----", "x"] {
            assert_eq!(public_key(text), None, "{text}");
        }
        assert_eq!(public_key(&pem("CERTIFICATE", &ed)), None);
    }
}
