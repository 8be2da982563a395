//! A token taken apart (RFC 7515, compact form). Strict: what is not needed is refused, never skipped, where it would
//! change what the token means.

use crate::{
    Refused, Token,
    check::{Check, holds},
    object,
    token::BYTES_MAX,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use std::borrow::Cow;

/// Longest `kid` that is looked up.
const KID_BYTES_MAX: usize = 256;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Reads `alg`, which is case-sensitive. `none` is no algorithm.
    #[must_use]
    pub fn parse(alg: &str) -> Option<Self> {
        match alg {
            "HS256" => Some(Self::Hs256),
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A token's three parts, nothing of them verified.
#[derive(Debug)]
pub struct Parts<'t> {
    /// What it says it is signed with.
    pub algorithm: Algorithm,
    /// Which key it says it is signed with: only ever a key of a map.
    pub key_id: Option<Box<str>>,
    /// What is signed.
    pub message: &'t str,
    /// The claims, still encoded.
    pub claims: &'t str,
    /// The signature.
    pub signature: Vec<u8>,
}

/// The header's fields that mean something to us. Those that only point elsewhere (`jku`, `x5u`, `jwk`) are not looked
/// at; a field that is there twice makes the header illegal.
#[derive(Deserialize)]
struct Header<'t> {
    #[serde(borrow)]
    alg: Cow<'t, str>,
    #[serde(default, borrow, deserialize_with = "present")]
    typ: Option<Cow<'t, str>>,
    #[serde(default, borrow, deserialize_with = "present")]
    kid: Option<Cow<'t, str>>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    zip: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    enc: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    cty: Option<IgnoredAny>,
}

/// A field that is there, be it `null`: `null` is then a value of the wrong form, not a missing one.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Decodes base64url without padding, and without bits that mean nothing: one text for one value.
pub(crate) fn decoded(text: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Refused::Malformed)
}

impl<'t> Parts<'t> {
    /// Takes a token apart.
    pub fn of(token: &'t Token) -> Result<Self, Refused> {
        let text = token.expose();
        if holds(Check::Length) && text.len() > BYTES_MAX {
            return Err(Refused::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refused::Malformed)?;
        if claims.contains('.') || header.is_empty() {
            return Err(Refused::Malformed);
        }
        let header = decoded(header)?;
        let header: Header<'_> = object::read(&header).ok_or(Refused::Algorithm)?;
        let algorithm = header.algorithm()?;
        let key_id = header.kid.as_deref().map(Into::into);
        Ok(Self { algorithm, key_id, message, claims, signature: decoded(signature)? })
    }
}

impl Header<'_> {
    /// Refuses what asks for something that we do not do: `crit` (RFC 7515, section 4.1.11), `b64` (RFC 7797),
    /// compression, encryption, tokens in tokens, other types.
    fn algorithm(&self) -> Result<Algorithm, Refused> {
        let is_jwt = |typ: &str| {
            let typ = typ.get(..12).filter(|start| start.eq_ignore_ascii_case("application/")).map_or(typ, |_| &typ[12..]);
            typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("at+jwt")
        };
        let extras = [&self.crit, &self.b64, &self.zip, &self.enc, &self.cty];
        let asks_more = extras.iter().any(|extra| extra.is_some());
        let kid_is_short = self.kid.as_ref().is_none_or(|kid| kid.len() <= KID_BYTES_MAX);
        let is_legal = !asks_more && kid_is_short && self.typ.as_deref().is_none_or(is_jwt);
        if holds(Check::Header) && !is_legal {
            return Err(Refused::Algorithm);
        }
        Algorithm::parse(&self.alg).ok_or(Refused::Algorithm)
    }
}
