//! Tokens that were verified a moment ago. A signature of P-256 or Ed25519 costs some 60 µs, and clients that all come back
//! after an outage, or publish by a request each, show the same token again: found here it costs about one.

use crate::{Identity, Token, keys::KeySet, token::BYTES_MAX};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use std::{collections::HashMap, sync::Arc};

/// Most tokens remembered; when full those that have expired are forgotten, and if none has, all.
const REMEMBERED_MAX: usize = 20_000;

/// What a token is remembered by: its hash, so that nobody finds tokens in our memory.
pub type Mark = [u8; 32];

/// Tokens whose signatures were looked at, each with the keys that were in force.
#[derive(Default)]
pub struct Verified {
    known: Mutex<HashMap<Mark, Known>>,
}

struct Known {
    identity: Arc<Identity>,
    keys: Arc<KeySet>,
}

impl Verified {
    /// A token's mark; none for what is too long to be one.
    #[must_use]
    pub fn mark(token: &Token) -> Option<Mark> {
        let text = token.expose().as_bytes();
        if text.len() > BYTES_MAX { None } else { digest(&SHA256, text).as_ref().try_into().ok() }
    }

    /// Who it was, if it has not expired at `now` and the keys that verified it are still in force.
    pub fn get(&self, mark: &Mark, now: u64, are_in_force: impl Fn(&Arc<KeySet>) -> bool) -> Option<Arc<Identity>> {
        let mut known = self.known.lock();
        let found = known.get(mark)?;
        if found.identity.expires_at > now && are_in_force(&found.keys) {
            return Some(found.identity.clone());
        }
        known.remove(mark);
        None
    }

    /// Remembers a token that these keys have verified.
    pub fn put(&self, mark: Mark, identity: Arc<Identity>, keys: Arc<KeySet>, now: u64) {
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_MAX {
            known.retain(|_, known| known.identity.expires_at > now);
        }
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(mark, Known { identity, keys });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Scopes;

    fn identity(expires_at: u64) -> Arc<Identity> {
        Arc::new(Identity {
            subject: "u".into(),
            tenant: None,
            rooms: Box::default(),
            publish: None,
            scopes: Scopes::default(),
            token_id: None,
            issued_at: None,
            expires_at,
        })
    }

    #[test]
    fn a_token_is_known_until_it_expires_or_its_keys_go() {
        let (verified, keys) = (Verified::default(), Arc::new(KeySet::default()));
        let mark = |text: &str| Verified::mark(&Token::new(text).expect("a token")).expect("short");
        let get = |text, now, keys: &Arc<KeySet>| verified.get(&mark(text), now, |known| Arc::ptr_eq(known, keys)).is_some();
        verified.put(mark("a"), identity(100), keys.clone(), 1);
        assert!(get("a", 99, &keys) && !get("b", 99, &keys));
        assert!(!get("a", 100, &keys) && !get("a", 99, &keys), "expired, and forgotten");
        verified.put(mark("a"), identity(100), keys.clone(), 1);
        assert!(!get("a", 1, &Arc::new(KeySet::default())), "other keys are in force, be they alike");
        assert!(Verified::mark(&Token::new(&"x".repeat(9000)).expect("a token")).is_none());
        for n in 0..REMEMBERED_MAX + 10 {
            verified.put(mark(&n.to_string()), identity(100), keys.clone(), 1);
        }
        assert!(verified.known.lock().len() <= REMEMBERED_MAX);
    }
}
