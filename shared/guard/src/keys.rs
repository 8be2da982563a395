//! The keys that tokens are verified with. Each key has exactly one algorithm, so that a token cannot choose how it is
//! looked at (RFC 8725, section 3.1).

use crate::{
    Identity, Refused, Rules, Token,
    check::{Check, holds},
    der::{self, PublicKey},
    jws::{Algorithm, Parts, decoded},
};
use ring::{hmac, signature};
use serde::Deserialize;
use std::fmt;

/// Shortest HS256 secret in bytes (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Shortest RSA modulus in bits (RFC 7518, section 3.3).
const RSA_BITS_MIN: usize = 2048;
/// Longest RSA modulus in bits; larger ones take long to verify with.
const RSA_BITS_MAX: usize = 8192;
/// Most keys of one source; a rotation has two or three.
const KEYS_MAX: usize = 64;
/// Most keys that one token is tried with: without a `kid`, all of its algorithm might be.
const TRIES_MAX: usize = 8;

/// Why a key cannot be used, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadKey(pub String);

/// One key with its one algorithm.
#[derive(Clone)]
pub struct Key {
    id: Option<Box<str>>,
    verifier: Verifier,
}

#[derive(Clone)]
enum Verifier {
    Hs256(hmac::Key),
    Rs256(signature::RsaPublicKeyComponents<Vec<u8>>),
    Es256(signature::UnparsedPublicKey<Vec<u8>>),
    EdDsa(signature::UnparsedPublicKey<Vec<u8>>),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.algorithm(), self.id)
    }
}

impl Key {
    /// A shared secret, for HS256. White space around it, as editors leave it, is not part of it.
    ///
    /// # Errors
    /// It is too short, or a PEM file.
    pub fn secret(bytes: &[u8]) -> Result<Self, BadKey> {
        let bytes = bytes.trim_ascii();
        if bytes.starts_with(b"-----BEGIN") {
            return Err(BadKey("this is a PEM file: a public key must not serve as a secret".into()));
        }
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(BadKey(format!("an HS256 secret has at least {SECRET_BYTES_MIN} bytes, this one {}", bytes.len())));
        }
        Ok(Self { id: None, verifier: Verifier::Hs256(hmac::Key::new(hmac::HMAC_SHA256, bytes)) })
    }

    /// A public key in PEM: RSA (RS256), P-256 (ES256) or Ed25519 (EdDSA).
    ///
    /// # Errors
    /// It is none of these, too short or too long, or a private key.
    pub fn public_pem(pem: &str) -> Result<Self, BadKey> {
        if pem.contains("PRIVATE KEY") {
            return Err(BadKey("this is a private key; a gateway needs the public one only".into()));
        }
        let key = der::public_key(pem)
            .ok_or_else(|| BadKey("this is no public RSA, P-256 or Ed25519 key in PEM (a certificate is none)".into()))?;
        Self::public(None, key)
    }

    fn public(id: Option<Box<str>>, key: PublicKey) -> Result<Self, BadKey> {
        let unparsed = |algorithm, point| signature::UnparsedPublicKey::new(algorithm, point);
        let verifier = match key {
            PublicKey::Rsa { modulus, exponent } => {
                let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
                if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                    return Err(BadKey(format!("an RSA key has {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, this one {bits}")));
                }
                Verifier::Rs256(signature::RsaPublicKeyComponents { n: modulus, e: exponent })
            }
            PublicKey::P256 { point } => Verifier::Es256(unparsed(&signature::ECDSA_P256_SHA256_FIXED, point)),
            PublicKey::Ed25519 { point } => Verifier::EdDsa(unparsed(&signature::ED25519, point)),
        };
        Ok(Self { id, verifier })
    }

    fn algorithm(&self) -> Algorithm {
        match self.verifier {
            Verifier::Hs256(_) => Algorithm::Hs256,
            Verifier::Rs256(_) => Algorithm::Rs256,
            Verifier::Es256(_) => Algorithm::Es256,
            Verifier::EdDsa(_) => Algorithm::EdDsa,
        }
    }

    /// Whether this key made the signature. Secrets are compared in constant time.
    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let outcome = match &self.verifier {
            Verifier::Hs256(key) => hmac::verify(key, message, signature),
            Verifier::Rs256(key) => key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature),
            Verifier::Es256(key) | Verifier::EdDsa(key) => key.verify(message, signature),
        };
        outcome.is_ok()
    }
}

/// A key of a JWKS (RFC 7517, 7518, 8037), in those of its fields that we use.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Jwk {
    /// The key; `None` for what is not for verifying signatures, or not of our algorithms.
    fn key(self) -> Option<Key> {
        let is_for_signatures = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        let bytes = |field: &Option<String>| decoded(field.as_deref()?).ok();
        let (alg, key) = match (&*self.kty, self.crv.as_deref()) {
            ("RSA", None) => {
                let (n, e) = (bytes(&self.n)?, bytes(&self.e)?);
                ("RS256", PublicKey::Rsa { modulus: der::unsigned(&n).to_vec(), exponent: der::unsigned(&e).to_vec() })
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                let point = (x.len() == 32 && y.len() == 32).then(|| [&[4], &*x, &*y].concat())?;
                ("ES256", PublicKey::P256 { point })
            }
            ("OKP", Some("Ed25519")) => {
                ("EdDSA", PublicKey::Ed25519 { point: bytes(&self.x).filter(|point| point.len() == 32)? })
            }
            // A shared secret that is published is none.
            _ => return None,
        };
        if !is_for_signatures || self.alg.as_deref().is_some_and(|said| said != alg) {
            return None;
        }
        Key::public(self.kid.map(Into::into), key).ok()
    }
}

/// All keys of one source.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// From a JWKS, which may have other keys by now.
    is_published: bool,
}

impl KeySet {
    /// These keys, which stay until somebody changes their files.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        Self { keys, is_published: false }
    }

    /// None yet of a JWKS.
    #[must_use]
    pub fn unpublished() -> Self {
        Self { keys: Vec::new(), is_published: true }
    }

    /// The usable keys of a JWKS (RFC 7517). Others are left out, as section 5 asks; a set without any is an error.
    ///
    /// # Errors
    /// It is no JWKS, has too many keys, or none that is usable.
    pub fn of_jwks(json: &[u8]) -> Result<Self, BadKey> {
        #[derive(Deserialize)]
        struct Jwks {
            keys: Vec<serde_json::Value>,
        }
        let set: Jwks = serde_json::from_slice(json).map_err(|error| BadKey(format!("this is no JWKS: {error}")))?;
        let all = set.keys.len();
        if all > KEYS_MAX {
            return Err(BadKey(format!("a JWKS has at most {KEYS_MAX} keys, this one {all}")));
        }
        let usable = |value| serde_json::from_value::<Jwk>(value).ok().and_then(Jwk::key);
        let keys: Vec<Key> = set.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(BadKey(format!("none of its {all} keys is an RSA, P-256 or Ed25519 key for signatures")));
        }
        Ok(Self { keys, is_published: true })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies a token and reads it; `now` is Unix seconds.
    ///
    /// # Errors
    /// [`Refused::UnknownKey`] if a key that it may have been signed with could have been published since.
    pub fn verify(&self, token: &Token, rules: &Rules, now: u64) -> Result<Identity, Refused> {
        let parts = Parts::of(token)?;
        let mut refused = self.refusal(&parts);
        for key in self.candidates(&parts).take(TRIES_MAX) {
            if !holds(Check::Signature) || key.has_signed(parts.message.as_bytes(), &parts.signature) {
                return Identity::from_claims(&decoded(parts.claims)?, rules, now);
            }
            refused = Refused::Signature;
        }
        // Without a `kid` the key may be one that has been published since.
        let may_be_newer = self.is_published && parts.key_id.is_none() && refused == Refused::Signature;
        Err(if may_be_newer { Refused::UnknownKey } else { refused })
    }

    /// What a token is told that no key is a candidate for.
    fn refusal(&self, parts: &Parts<'_>) -> Refused {
        let is_known = self.keys.iter().any(|key| key.algorithm() == parts.algorithm);
        // Secrets are not published, so that no fetch could bring one.
        let may_come = self.is_published && parts.algorithm != Algorithm::Hs256;
        if is_known || may_come { Refused::UnknownKey } else { Refused::Algorithm }
    }

    /// The keys that a token may have been signed with: of its algorithm, and of its `kid` where both name one.
    fn candidates<'k>(&'k self, parts: &'k Parts<'_>) -> impl Iterator<Item = &'k Key> {
        self.keys.iter().filter(move |key| {
            let is_named = match (&key.id, &parts.key_id) {
                (Some(id), Some(named)) => id == named,
                (Some(_), None) | (None, _) => true,
            };
            let is_of_algorithm = key.algorithm() == parts.algorithm || !holds(Check::Algorithm);
            is_of_algorithm && (is_named || !holds(Check::KeyId))
        })
    }
}
