//! What a token says, once it is verified. A claim of the wrong form is never taken for one that is missing, and one that
//! is there twice is wrong.

use crate::{
    Pattern, Refused,
    access::Scopes,
    check::{Check, holds},
    jws::present,
    object,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;
use weft_event::{Invalid, Room, RoomKind, id};

/// Most rooms or patterns that a claim may name, and most audiences.
const LIST_MAX: usize = 256;
/// Longest `jti` in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = 256;
/// Largest NumericDate; beyond it a number is a slip, such as milliseconds, and would be valid for ever.
const SECONDS_MAX: u64 = 1 << 36;

/// Claims that mean something else and so can hold no user.
pub const RESERVED: [&str; 10] = ["exp", "iat", "nbf", "iss", "aud", "jti", "tenant", "rooms", "publish", "scope"];

/// What tokens must say, from the settings.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `iss` must be one of these, if there are any.
    pub issuers: Vec<String>,
    /// `aud` must hold one of these, if there are any.
    pub audiences: Vec<String>,
    /// The claim that holds the user, `sub` by default.
    pub user_claim: String,
    /// Whether `tenant` must be there.
    pub needs_tenant: bool,
    /// Where tokens can be revoked: the longest life of a token in seconds, as long as revocations are kept. `iat` must
    /// then be there.
    pub life_secs_max: Option<u64>,
    /// Seconds by which an issuer's clock may be ahead of ours. Not granted to `exp`: who is a little early gets a new
    /// token in time, and expired is expired.
    pub leeway_secs: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            user_claim: "sub".into(),
            needs_tenant: false,
            life_secs_max: None,
            leeway_secs: 10,
        }
    }
}

/// Who a verified token stands for, and what it allows by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub subject: Box<str>,
    /// The tenant, part of every broker name.
    pub tenant: Option<Box<str>>,
    /// Rooms that it may follow.
    pub rooms: Box<[Pattern]>,
    /// What narrows its publishing, if anything does.
    pub publish: Option<Box<[Pattern]>>,
    /// What it may do.
    pub scopes: Scopes,
    /// `jti`.
    pub token_id: Option<Box<str>>,
    /// `iat`, Unix seconds.
    pub issued_at: Option<u64>,
    /// `exp`, Unix seconds.
    pub expires_at: u64,
}

#[derive(Deserialize)]
struct Claims {
    exp: Seconds,
    #[serde(default, deserialize_with = "present")]
    iat: Option<Seconds>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Seconds>,
    #[serde(default, deserialize_with = "present")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Audience>,
    #[serde(default, deserialize_with = "present")]
    sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    jti: Option<String>,
    #[serde(default, deserialize_with = "present")]
    tenant: Option<String>,
    #[serde(default, deserialize_with = "present")]
    rooms: Option<Patterns>,
    #[serde(default, deserialize_with = "present")]
    publish: Option<Patterns>,
    #[serde(default, deserialize_with = "present")]
    scope: Option<String>,
}

impl Identity {
    /// Reads the claims of a token whose signature has been verified; `now` is Unix seconds.
    pub fn from_claims(json: &[u8], rules: &Rules, now: u64) -> Result<Self, Refused> {
        let claims: Claims = object::read(json).ok_or(Refused::Claims)?;
        check_times(&claims, rules, now)?;
        let is_issuer = || claims.iss.as_ref().is_some_and(|issuer| rules.issuers.contains(issuer));
        if holds(Check::Issuer) && !rules.issuers.is_empty() && !is_issuer() {
            return Err(Refused::Claims);
        }
        let is_for_us = || claims.aud.as_ref().is_some_and(|aud| aud.0.iter().any(|one| rules.audiences.contains(one)));
        if holds(Check::Audience) && !rules.audiences.is_empty() && !is_for_us() {
            return Err(Refused::Claims);
        }
        let subject = if rules.user_claim == "sub" { claims.sub } else { user_claim(json, &rules.user_claim)? };
        let subject = subject.ok_or(Refused::Claims)?;
        // A subject that can be no room's id could not be told from another that a mapping made the same.
        if holds(Check::Subject) {
            id::check("sub", &subject).map_err(|_| Refused::Claims)?;
        }
        check_tenant(claims.tenant.as_deref(), rules)?;
        if claims.jti.as_ref().is_some_and(|jti| jti.is_empty() || jti.len() > TOKEN_ID_BYTES_MAX) {
            return Err(Refused::Claims);
        }
        Ok(Self {
            subject: subject.into(),
            tenant: claims.tenant.map(Into::into),
            rooms: claims.rooms.map(|rooms| rooms.0).unwrap_or_default(),
            publish: claims.publish.map(|publish| publish.0),
            scopes: Scopes::parse(claims.scope.as_deref().unwrap_or_default()),
            token_id: claims.jti.map(Into::into),
            issued_at: claims.iat.map(|at| at.0),
            expires_at: claims.exp.0,
        })
    }

    /// The room that this client means by a name: always one of its own tenant. The one way from a client's words to a
    /// broker name.
    pub fn room(&self, name: &str) -> Result<Room, Invalid> {
        self.at_home(&Room::parse(name)?)
    }

    /// The same room inside this identity's tenant.
    pub fn at_home(&self, room: &Room) -> Result<Room, Invalid> {
        room.in_tenant(self.tenant.as_deref())
    }

    /// Whether `room` is this user's own, `user:<subject>`.
    #[must_use]
    pub fn is_own_room(&self, room: &Room) -> bool {
        (room.kind() == RoomKind::User || !holds(Check::RoomKind)) && room.id() == &*self.subject
    }

    /// Whether both are the same user of the same tenant: only then may one take the other's place.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.subject == other.subject && self.tenant == other.tenant
    }
}

fn check_times(claims: &Claims, rules: &Rules, now: u64) -> Result<(), Refused> {
    let soon = now.saturating_add(rules.leeway_secs);
    if holds(Check::Expiry) && claims.exp.0 <= now {
        return Err(Refused::Expired);
    }
    if holds(Check::NotBefore) && claims.nbf.as_ref().is_some_and(|from| from.0 > soon) {
        return Err(Refused::NotYet);
    }
    // One from the future would outlive the revocation of its subject.
    if holds(Check::IssuedAt) && claims.iat.as_ref().is_some_and(|at| at.0 > soon) {
        return Err(Refused::NotYet);
    }
    let Some(life_secs_max) = rules.life_secs_max else { return Ok(()) };
    let issued_at = claims.iat.as_ref().map(|at| at.0);
    let life = issued_at.map(|at| claims.exp.0.saturating_sub(at));
    if holds(Check::Life) && life.is_none_or(|life| life > life_secs_max) {
        return Err(Refused::Claims);
    }
    Ok(())
}

fn check_tenant(tenant: Option<&str>, rules: &Rules) -> Result<(), Refused> {
    match tenant {
        _ if !holds(Check::Tenant) => Ok(()),
        Some(tenant) => id::check_tenant(tenant).map_err(|_| Refused::Claims),
        None if rules.needs_tenant => Err(Refused::Claims),
        None => Ok(()),
    }
}

/// A NumericDate (RFC 7519, section 2): seconds, perhaps with a fraction.
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Seconds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds")
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                if seconds <= SECONDS_MAX { Ok(Seconds(seconds)) } else { Err(E::custom("too large")) }
            }

            fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<Seconds, E> {
                if (0.0..=SECONDS_MAX as f64).contains(&seconds) {
                    Ok(Seconds(seconds as u64))
                } else {
                    Err(E::custom("out of range"))
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// A list of texts; `aud` may also be one text.
struct Texts {
    may_be_one: bool,
}

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if self.may_be_one { Ok(vec![text.to_owned()]) } else { Err(E::custom("not a list")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            if texts.len() == LIST_MAX {
                return Err(A::Error::custom("too many"));
            }
            texts.push(text);
        }
        Ok(texts)
    }
}

struct Audience(Vec<String>);

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Texts { may_be_one: true }).map(Self)
    }
}

/// Patterns. One that names nothing is left out.
struct Patterns(Box<[Pattern]>);

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = deserializer.deserialize_any(Texts { may_be_one: false })?;
        Ok(Self(texts.iter().filter_map(|text| Pattern::parse(text)).collect()))
    }
}

/// The text of a claim whose name is a setting; there at most once.
fn user_claim(json: &[u8], name: &str) -> Result<Option<String>, Refused> {
    struct One<'n>(&'n str);
    impl<'de> Visitor<'de> for One<'_> {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("claims")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<String>()? {
                if name != self.0 {
                    map.next_value::<IgnoredAny>()?;
                } else if found.replace(map.next_value::<String>()?).is_some() {
                    return Err(A::Error::custom("twice"));
                }
            }
            Ok(found)
        }
    }
    impl<'de> DeserializeSeed<'de> for One<'_> {
        type Value = Option<String>;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    One(name).deserialize(&mut deserializer).map_err(|_| Refused::Claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NOW: u64 = 1_000_000;

    fn read(claims: &Value, rules: &Rules) -> Result<Identity, Refused> {
        Identity::from_claims(claims.to_string().as_bytes(), rules, NOW)
    }

    #[test]
    fn what_a_token_says() {
        let claims = json!({"sub": "u", "exp": NOW + 60, "iat": NOW - 1, "jti": "t1", "tenant": "acme", "scope": "admin x events:publish",
            "rooms": ["execution:team-a-*", "kb:1", "*", "exec*", "user:*"], "publish": []});
        let identity = read(&claims, &Rules::default()).expect("accepted");
        assert_eq!((&*identity.subject, identity.tenant.as_deref(), identity.expires_at), ("u", Some("acme"), NOW + 60));
        assert_eq!(identity.rooms.len(), 3, "what leaves the family open names nothing: {:?}", identity.rooms);
        assert_eq!(identity.publish.as_deref(), Some(&[][..]), "an empty claim narrows to nothing");
        assert!(identity.scopes.admin && identity.scopes.publish && !identity.scopes.act);
        assert_eq!(identity.room("execution:e").expect("a room").broker_name(), "acme/execution:e");
        assert!(identity.room("other/execution:e").is_err(), "a client cannot name a tenant");
    }

    #[test]
    fn another_claim_may_hold_the_user() {
        let rules = Rules { user_claim: "email".into(), ..Rules::default() };
        let identity = read(&json!({"sub": "x|y", "email": "u@x.org", "exp": NOW + 1}), &rules).expect("accepted");
        assert_eq!(&*identity.subject, "u@x.org");
        assert_eq!(read(&json!({"sub": "u", "exp": NOW + 1}), &rules), Err(Refused::Claims));
        let twice = format!(r#"{{"exp":{},"email":"a","\u0065mail":"b"}}"#, NOW + 1);
        assert_eq!(Identity::from_claims(twice.as_bytes(), &rules, NOW), Err(Refused::Claims));
    }

    #[test]
    fn where_tokens_can_be_revoked_they_live_no_longer_than_revocations() {
        let rules = Rules { life_secs_max: Some(100), ..Rules::default() };
        for (claims, expected) in [
            (json!({"sub": "u", "exp": NOW + 60, "iat": NOW}), Ok(())),
            (json!({"sub": "u", "exp": NOW + 100, "iat": NOW}), Ok(())),
            (json!({"sub": "u", "exp": NOW + 101, "iat": NOW}), Err(Refused::Claims)),
            (json!({"sub": "u", "exp": NOW + 60}), Err(Refused::Claims)),
            (json!({"sub": "u", "exp": NOW + 60, "iat": NOW + 11}), Err(Refused::NotYet)),
        ] {
            assert_eq!(read(&claims, &rules).map(|_| ()), expected, "{claims}");
        }
    }
}
