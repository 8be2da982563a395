//! Ids of sessions: who holds the session, 128 random bits, and a MAC, so that a forged one costs nobody a look-up.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use weft_event::{Invalid, id};

/// Bytes of the random part, and of the MAC, which is cut to as many bits as there are to guess.
const PART_BYTES: usize = 16;
/// Characters of either part.
const PART_CHARS: usize = 22;

/// Shortest fleet key in bytes.
pub const KEY_BYTES_MIN: usize = 32;

/// The key that every gateway of the fleet holds (`WEFT_FLEET_KEY_FILE`). Not shown by `Debug`.
#[derive(Clone)]
pub struct FleetKey(Hmac<Sha256>);

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetKey(***)")
    }
}

impl FleetKey {
    /// A key of at least [`KEY_BYTES_MIN`] bytes.
    pub fn new(key: &[u8]) -> Result<Self, Invalid> {
        let short = || Invalid::new("fleet key", format!("must be at least {KEY_BYTES_MIN} bytes"));
        if key.len() < KEY_BYTES_MIN {
            return Err(short());
        }
        Hmac::new_from_slice(key).map(Self).map_err(|_| short())
    }

    fn mac(&self, purpose: Purpose, random: &[u8], instance: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        // The parts before the instance are of fixed length, so that no two inputs run together.
        mac.update(b"weft session id 1 ");
        mac.update(&[purpose as u8]);
        mac.update(random);
        mac.update(instance.as_bytes());
        mac
    }
}

/// What an id is for; an id for one purpose is forged for every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Engine.IO's `sid`: a secret that lets its holder speak for the session.
    Engine = b'e',
    /// Socket.IO's `sid`: public, told to whoever asks; never good for anything.
    Socket = b's',
    /// The `pid`: a secret that lets its holder have the session back, with a token of the same user.
    Recovery = b'r',
    /// What one gateway shows to another when it passes a request on. Made for one receiver and one moment.
    Peer = b'p',
}

/// An id that was made here, or verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    text: Box<str>,
}

impl SessionId {
    /// Makes an id of the session that `instance` holds. `random` comes from a cryptographic source.
    #[must_use]
    pub fn make(key: &FleetKey, purpose: Purpose, instance: &str, random: [u8; PART_BYTES]) -> Self {
        let mac = key.mac(purpose, &random, instance).finalize().into_bytes();
        let mut text = String::with_capacity(2 * PART_CHARS + instance.len());
        URL_SAFE_NO_PAD.encode_string(random, &mut text);
        URL_SAFE_NO_PAD.encode_string(&mac[..PART_BYTES], &mut text);
        text.push_str(instance);
        Self { text: text.into() }
    }

    /// Reads an id of a client; `None` if it was not made for this purpose with this key. Takes the same time whichever
    /// byte of the MAC is wrong.
    #[must_use]
    pub fn verify(key: &FleetKey, purpose: Purpose, text: &str) -> Option<Self> {
        let (random, rest) = text.split_at_checked(PART_CHARS)?;
        let (mac, instance) = rest.split_at_checked(PART_CHARS)?;
        id::check("instance", instance).ok()?;
        let random = part(random)?;
        key.mac(purpose, &random, instance).verify_truncated_left(&part(mac)?).ok()?;
        Some(Self { text: text.into() })
    }

    /// As clients know it; safe in a URL's query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The gateway that made it, by its `WEFT_INSTANCE`.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.text[2 * PART_CHARS..]
    }

    /// A name for the record of this session on the bus, that does not give the secret away to whoever lists names.
    #[must_use]
    pub fn record_name(&self, key: &FleetKey) -> String {
        let mut mac = key.0.clone();
        mac.update(b"weft session record 1 ");
        mac.update(self.text.as_bytes());
        URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..PART_BYTES])
    }
}

fn part(text: &str) -> Option<[u8; PART_BYTES]> {
    let mut bytes = [0; PART_BYTES];
    let written = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (written == PART_BYTES).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> FleetKey {
        FleetKey::new(&[byte; KEY_BYTES_MIN]).expect("long enough")
    }

    #[test]
    fn an_id_is_verified_and_names_its_instance() {
        let made = SessionId::make(&key(1), Purpose::Engine, "gateway-1.a:b@c~_", [7; 16]);
        let text = made.as_str();
        assert_eq!(text.len(), 44 + "gateway-1.a:b@c~_".len());
        let read = SessionId::verify(&key(1), Purpose::Engine, text).expect("ours");
        assert_eq!((read.instance(), &read), ("gateway-1.a:b@c~_", &made));
        assert!(SessionId::verify(&key(2), Purpose::Engine, text).is_none());
        assert!(SessionId::verify(&key(1), Purpose::Recovery, text).is_none());
        for at in 0..text.len() {
            let mut forged = text.as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("ASCII");
            assert!(SessionId::verify(&key(1), Purpose::Engine, &forged).is_none(), "{at}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let made = SessionId::make(&key(1), Purpose::Engine, "g", [0; 16]);
        for text in
            ["", "__proto__", "constructor", &made.as_str()[..44], &"\u{fc}".repeat(40), &"A".repeat(300), &"=".repeat(60)]
        {
            assert!(SessionId::verify(&key(1), Purpose::Engine, text).is_none(), "{text}");
        }
        assert!(FleetKey::new(b"short").is_err());
        assert_eq!(format!("{:?}", key(1)), "FleetKey(***)");
        let name = made.record_name(&key(1));
        assert!(name.len() == 22 && !made.as_str().contains(&name));
    }
}
