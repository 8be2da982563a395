//! Keys of every kind, and tokens signed with them whatever their headers say.

use crate::{
    Token,
    keys::{Key, KeySet},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// The time in all tables, Unix seconds.
pub const NOW: u64 = 1_000_000;
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A private and a public key in PEM.
pub fn pem_pair(arguments: &[&str]) -> (String, String) {
    let openssl = |arguments: &[&str], input: &str| {
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
        String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("PEM")
    };
    let private = openssl(&[&["genpkey"], arguments].concat(), "");
    let public = openssl(&["pkey", "-pubout"], &private);
    assert!(public.starts_with("-----BEGIN PUBLIC KEY"), "{arguments:?}");
    (private, public)
}

fn pem_body(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body).expect("base64")
}

pub fn encoded(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// One key of each algorithm, all in one set, and a published set of two.
pub struct Rig {
    pub secret: Key,
    pub rsa_public: Key,
    pub ec_public: Key,
    pub ed_public: Key,
    pub rsa_public_pem: String,
    /// All four.
    pub files: KeySet,
    /// Ed25519 keys `one`, ours, and `two`, somebody else's.
    pub published: KeySet,
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Rig {
    pub fn new() -> Self {
        let random = SystemRandom::new();
        let (rsa, rsa_public_pem) = pem_pair(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
        let (ec, ec_public) = pem_pair(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        let (ed, ed_public) = pem_pair(&["-algorithm", "ED25519"]);
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pem_body(&ec), &random).expect("a key");
        let ed = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pem_body(&ed)).expect("a key");
        let public = |pem: &str| Key::public_pem(pem).expect("a key");
        let secret = Key::secret(SECRET).expect("a key");
        let (rsa_public, ec_public, ed_public) = (public(&rsa_public_pem), public(&ec_public), public(&ed_public));
        let jwk = |kid: &str, x: &[u8]| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{}"}}"#, encoded(x));
        let jwks = format!(r#"{{"keys":[{},{}]}}"#, jwk("one", ed.public_key().as_ref()), jwk("two", &[0; 32]));
        Self {
            files: KeySet::new(vec![secret.clone(), rsa_public.clone(), ec_public.clone(), ed_public.clone()]),
            published: KeySet::of_jwks(jwks.as_bytes()).expect("two keys"),
            rsa: RsaKeyPair::from_pkcs8(&pem_body(&rsa)).expect("a key"),
            secret,
            rsa_public,
            ec_public,
            ed_public,
            rsa_public_pem,
            ec,
            ed,
        }
    }

    /// Claims that are accepted.
    pub fn claims(&self) -> String {
        format!(r#"{{"sub":"u","exp":{},"iat":{NOW},"iss":"me","aud":["x","weft"]}}"#, NOW + 60)
    }

    pub fn hmac(&self, header: &str, claims: &str) -> Token {
        self.hmac_with(SECRET, header, claims)
    }

    pub fn hmac_with(&self, secret: &[u8], header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> Token {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        signed(header, claims, |message| hmac::sign(&key, message).as_ref().to_vec())
    }

    pub fn rsa(&self, header: &str, claims: &str) -> Token {
        signed(header, claims, |message| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("signed");
            signature
        })
    }

    pub fn ec(&self, header: &str, claims: &str) -> Token {
        signed(header, claims, |message| self.ec.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec())
    }

    pub fn ed(&self, header: &str, claims: &str) -> Token {
        signed(header, claims, |message| self.ed.sign(message).as_ref().to_vec())
    }
}

fn signed(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>, sign: impl Fn(&[u8]) -> Vec<u8>) -> Token {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = encoded(sign(message.as_bytes()));
    Token::new(&format!("{message}.{signature}")).expect("not empty")
}
