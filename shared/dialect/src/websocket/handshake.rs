//! How a connection begins: the upgrade request's headers, and the answer (RFC 6455, section 4.2).

use super::offer;
use base64::{Engine as _, alphabet, engine};
use sha1::{Digest as _, Sha1};

/// What makes a key an answer (section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The one version (section 4.1), for `Sec-WebSocket-Version` in the answer to any other.
pub const VERSION: &str = "13";

/// Padded, and forgiving about the bits that do not count: some clients draw the key's characters at random.
const BASE64: engine::GeneralPurpose =
    engine::GeneralPurpose::new(&alphabet::STANDARD, engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Why a request cannot become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// `Connection` lacks the token `Upgrade`.
    #[error("the Connection header must hold Upgrade")]
    Connection,
    /// `Upgrade` lacks the token `websocket`.
    #[error("the Upgrade header must hold websocket")]
    Upgrade,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    /// `Sec-WebSocket-Key` is missing, doubled, or not 16 bytes in base64.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

impl Unacceptable {
    /// The HTTP status to refuse with. With 426 belongs `Sec-WebSocket-Version:` [`VERSION`] (section 4.4).
    #[must_use]
    pub const fn http(self) -> u16 {
        match self {
            Self::Upgrade | Self::Version => 426,
            Self::Connection | Self::Key => 400,
        }
    }
}

/// What to answer to a request that can be upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// `Sec-WebSocket-Accept`.
    pub accept: String,
    /// `Sec-WebSocket-Extensions`, if compression was offered in a form that we take; then frames may be compressed.
    pub extensions: Option<&'static str>,
}

impl Handshake {
    /// Checks a GET request's headers. `values` gives all values of a header by its lower-case name, in order.
    ///
    /// With `deflate` an offer to compress is taken where one is fit. The subprotocol is the caller's to choose, see
    /// [`choose_subprotocol`].
    pub fn accept<'h, V>(values: impl Fn(&'static str) -> V, deflate: bool) -> Result<Self, Unacceptable>
    where
        V: IntoIterator<Item = &'h [u8]>,
    {
        if !has_token(values("connection"), "upgrade") {
            return Err(Unacceptable::Connection);
        }
        if !has_token(values("upgrade"), "websocket") {
            return Err(Unacceptable::Upgrade);
        }
        if only(values("sec-websocket-version")) != Some(VERSION.as_bytes()) {
            return Err(Unacceptable::Version);
        }
        let accept = only(values("sec-websocket-key")).and_then(accept_key).ok_or(Unacceptable::Key)?;
        let extensions = deflate.then(|| offer::negotiate(values("sec-websocket-extensions"))).flatten();
        Ok(Self { accept, extensions })
    }
}

/// `Sec-WebSocket-Accept` for a key; `None` if it is not 16 bytes in base64.
#[must_use]
pub fn accept_key(key: &[u8]) -> Option<String> {
    let mut decoded = [0; 18];
    if key.len() != 24 || BASE64.decode_slice(key, &mut decoded) != Ok(16) {
        return None;
    }
    Some(BASE64.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()))
}

/// The first subprotocol of a client's list (`Sec-WebSocket-Protocol`, all its values) that is one of `ours`: the client
/// lists them as it prefers them. What is not ours, a token above all, is never echoed.
pub fn choose_subprotocol<'h, 'o>(offered: impl IntoIterator<Item = &'h [u8]>, ours: &[&'o str]) -> Option<&'o str> {
    let chosen = |offer: &[u8]| ours.iter().copied().find(|ours| ours.as_bytes() == offer);
    offered.into_iter().find_map(|value| elements(value).find_map(chosen))
}

/// Whether a header of tokens holds this one, in any case.
fn has_token<'h>(values: impl IntoIterator<Item = &'h [u8]>, token: &str) -> bool {
    values.into_iter().any(|value| elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes())))
}

/// The elements of a list without quoted strings.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The one value of a header that may appear once.
fn only<'h>(values: impl IntoIterator<Item = &'h [u8]>) -> Option<&'h [u8]> {
    let mut values = values.into_iter();
    values.next().filter(|_| values.next().is_none()).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[(&str, &str)] = &[
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn accept(headers: &[(&str, &str)]) -> Result<Handshake, Unacceptable> {
        let values = |name: &'static str| headers.iter().filter(move |(of, _)| *of == name).map(|(_, value)| value.as_bytes());
        Handshake::accept(values, true)
    }

    #[test]
    fn the_example_of_section_1_3() {
        let handshake = accept(GOOD).expect("accepted");
        assert_eq!(handshake, Handshake { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into(), extensions: None });
    }

    #[test]
    fn each_header_is_needed_and_checked() {
        for (name, value, fault) in [
            ("connection", None, Unacceptable::Connection),
            ("connection", Some("keep-alive"), Unacceptable::Connection),
            ("connection", Some("upgraded"), Unacceptable::Connection),
            ("upgrade", None, Unacceptable::Upgrade),
            ("upgrade", Some("h2c"), Unacceptable::Upgrade),
            ("sec-websocket-version", None, Unacceptable::Version),
            ("sec-websocket-version", Some("8"), Unacceptable::Version),
            ("sec-websocket-version", Some("13, 8"), Unacceptable::Version),
            ("sec-websocket-key", None, Unacceptable::Key),
            ("sec-websocket-key", Some(""), Unacceptable::Key),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"), Unacceptable::Key),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZTEy"), Unacceptable::Key),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25j-Q=="), Unacceptable::Key),
            ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub2=="), Unacceptable::Key),
        ] {
            let mut headers: Vec<_> = GOOD.iter().copied().filter(|(of, _)| *of != name).collect();
            headers.extend(value.map(|value| (name, value)));
            assert_eq!(accept(&headers), Err(fault), "{name}: {value:?}");
        }
        let twice = |name: &str| [GOOD, &[*GOOD.iter().find(|(of, _)| *of == name).expect(name)]].concat();
        assert_eq!(accept(&twice("sec-websocket-key")), Err(Unacceptable::Key));
        assert_eq!(accept(&twice("sec-websocket-version")), Err(Unacceptable::Version));
        assert!(accept(&twice("connection")).is_ok());
        assert_eq!((Unacceptable::Version.http(), Unacceptable::Key.http()), (426, 400));
    }

    #[test]
    fn tokens_may_come_in_several_headers_and_a_key_with_loose_bits() {
        let mut headers = GOOD.to_vec();
        headers[0].1 = "keep-alive";
        headers.push(("connection", " , UPGRADE ,"));
        headers[3].1 = "  AAAAAAAAAAAAAAAAAAAAAZ== ";
        assert!(accept(&headers).is_ok());
    }

    #[test]
    fn the_first_subprotocol_that_is_ours_is_chosen() {
        let ours = ["weft.v1.json", "weft.v1.msgpack"];
        for (offered, chosen) in [
            (&["chat, weft.v1.msgpack", "weft.v1.json"][..], Some("weft.v1.msgpack")),
            (&["token.abc", "weft.v1.json"], Some("weft.v1.json")),
            (&["WEFT.v1.json", ",,", ""], None),
            (&[], None),
        ] {
            assert_eq!(choose_subprotocol(offered.iter().map(|value| value.as_bytes()), &ours), chosen, "{offered:?}");
        }
    }
}
