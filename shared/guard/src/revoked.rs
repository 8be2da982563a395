//! What was taken back: filled from the bus's journal of revocations, asked for every token and every live connection.

use crate::{
    Identity, Refused,
    check::{Check, holds},
    claims::TOKEN_ID_BYTES_MAX,
    object,
};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use weft_event::{Invalid, id};

/// Most revocations held: twice what a journal holds. Beyond it nobody new is let in, because one would be forgotten.
pub(crate) const REVOCATIONS_MAX: usize = 200_000;

/// One revocation, as it stands in the journal. Tokens issued up to `at` are refused from then on.
///
/// With `subject` every token of that user, with `token` the one with that `jti`, with neither every token of the tenant.
/// Subjects and tokens are those of the tenant, or of the space without tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The tenant; none is the space without tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Box<str>>,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<str>>,
    /// The `jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Box<str>>,
    /// When, in Unix seconds.
    pub at: u64,
}

impl Revocation {
    /// Reads what an operator asks for, `{"subject"|"token"|"tenant": …}` with `tenant` beside either, as of `now`.
    ///
    /// # Errors
    /// Nothing or too much is named, or an id is none.
    pub fn asked(json: &[u8], now: u64) -> Result<Self, Invalid> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Asked {
            tenant: Option<Box<str>>,
            subject: Option<Box<str>>,
            token: Option<Box<str>>,
        }
        let Asked { tenant, subject, token } =
            object::read(json).ok_or(Invalid::new("body", "must be an object of `subject`, `token` or `tenant`, all text"))?;
        let revocation = Self { tenant, subject, token, at: now };
        revocation.check()?;
        Ok(revocation)
    }

    /// Reads a line of the journal: anything on a broker is input.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn parse(line: &[u8]) -> Result<Self, Invalid> {
        let revocation: Self = object::read(line).ok_or(Invalid::new("revocation", "is no revocation"))?;
        revocation.check()?;
        Ok(revocation)
    }

    /// The line for the journal.
    #[must_use]
    pub fn line(&self) -> bytes::Bytes {
        // Text and a number: nothing of it can fail to be written.
        serde_json::to_vec(self).map(Into::into).unwrap_or_default()
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.subject.is_some() && self.token.is_some() {
            return Err(Invalid::new("token", "must not stand beside `subject`"));
        }
        if self.tenant.is_none() && self.subject.is_none() && self.token.is_none() {
            return Err(Invalid::new("subject", "or `token` or `tenant` must be there"));
        }
        self.tenant.as_deref().map_or(Ok(()), id::check_tenant)?;
        self.subject.as_deref().map_or(Ok(()), |subject| id::check("subject", subject))?;
        match self.token.as_deref() {
            Some(token) if token.is_empty() || token.len() > TOKEN_ID_BYTES_MAX => {
                Err(Invalid::new("token", "must be 1 to 256 bytes"))
            }
            _ => Ok(()),
        }
    }
}

/// All revocations that may still matter.
pub struct Revoked {
    table: RwLock<Table>,
    read_at: Mutex<Option<Instant>>,
    /// How old the last complete reading may be; `None` where the bus stores nothing, so that nothing can be revoked.
    stale: Option<Duration>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Table {
    /// By tenant; the empty text, which is no tenant's name, is the space without.
    tenants: FxHashMap<Box<str>, OfTenant>,
    len: usize,
    /// Some were left out for want of room, and not all have been read again since.
    lacks_some: bool,
    /// How many were ever left out.
    left_out: u64,
}

#[derive(Default)]
struct OfTenant {
    all_until: Option<u64>,
    subjects: FxHashMap<Box<str>, u64>,
    tokens: FxHashMap<Box<str>, u64>,
}

impl Revoked {
    /// None so far. While the journal has not been read for `stale`, nobody new is let in.
    #[must_use]
    pub fn new(stale: Duration) -> Self {
        Self { stale: Some(stale), ..Self::never() }
    }

    /// For a bus that stores nothing: nobody can be revoked, and nobody waits for it.
    #[must_use]
    pub fn never() -> Self {
        Self { table: RwLock::default(), read_at: Mutex::new(None), stale: None, changes: watch::Sender::new(0) }
    }

    /// Whether tokens can be revoked at all; where not, `POST /admin/revoke` is answered 501.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.stale.is_some()
    }

    /// The journal was read to its end as it was at `read_at`.
    pub fn is_current(&self, read_at: Instant) {
        *self.read_at.lock() = Some(read_at);
    }

    /// Whether what is known is recent enough to decide by.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let Some(stale) = self.stale else { return true };
        let is_recent = self.read_at.lock().is_some_and(|at| at.elapsed() <= stale);
        is_recent && !self.table.read().lacks_some
    }

    /// Whether some were left out for which there is room by now, so that all should be read again.
    pub(crate) fn has_room_for_what_it_lacks(&self) -> bool {
        let table = self.table.read();
        table.lacks_some && table.len < REVOCATIONS_MAX
    }

    /// How many were ever left out for want of room.
    pub(crate) fn left_out(&self) -> u64 {
        self.table.read().left_out
    }

    /// All have been read, which began when so many had been left out.
    pub(crate) fn all_were_read(&self, left_out: u64) {
        let mut table = self.table.write();
        table.lacks_some &= table.left_out != left_out;
    }

    /// Takes one in; those who wait for [`Revoked::changes`] are woken if it is new.
    pub fn add(&self, revocation: &Revocation) {
        let is_new = self.table.write().add(revocation);
        if is_new {
            self.changes.send_modify(|version| *version += 1);
        }
    }

    /// Forgets what is older than every token can be; `oldest` is Unix seconds.
    pub fn forget_before(&self, oldest: u64) {
        let mut table = self.table.write();
        if table.len == 0 {
            return;
        }
        for of in table.tenants.values_mut() {
            of.all_until = of.all_until.filter(|at| *at >= oldest);
            of.subjects.retain(|_, at| *at >= oldest);
            of.tokens.retain(|_, at| *at >= oldest);
        }
        table.tenants.retain(|_, of| of.len() > 0);
        table.len = table.tenants.values().map(OfTenant::len).sum();
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.read().len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes when there is a new one: then every live connection asks [`Revoked::covers`] again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// For a token that comes in now: refused if it was revoked, or if that cannot be known.
    pub fn admit(&self, identity: &Identity) -> Result<(), Refused> {
        if !self.is_fresh() {
            return Err(Refused::Stale);
        }
        if holds(Check::Revoked) && self.covers(identity) { Err(Refused::Revoked) } else { Ok(()) }
    }

    /// Whether this identity was revoked. A token without `iat` may be of any time, and so is taken for an old one.
    #[must_use]
    pub fn covers(&self, identity: &Identity) -> bool {
        let table = self.table.read();
        let Some(of) = table.tenants.get(identity.tenant.as_deref().unwrap_or_default()) else { return false };
        let was_issued_by = |at: &u64| identity.issued_at.unwrap_or(0) <= *at;
        of.all_until.as_ref().is_some_and(was_issued_by)
            || of.subjects.get(&*identity.subject).is_some_and(was_issued_by)
            || identity.token_id.as_ref().is_some_and(|token| of.tokens.contains_key(&**token))
    }
}

impl Table {
    /// Whether it is new, or later than the one there was.
    fn add(&mut self, revocation: &Revocation) -> bool {
        let is_full = self.len >= REVOCATIONS_MAX;
        let tenant = revocation.tenant.as_deref().unwrap_or_default();
        if is_full && !self.tenants.get(tenant).is_some_and(|of| of.has(revocation)) {
            self.left_out += 1;
            if !std::mem::replace(&mut self.lacks_some, true) {
                tracing::error!(
                    REVOCATIONS_MAX,
                    "too many revocations to remember: nobody new is let in until some have expired and all were read again"
                );
            }
            return false;
        }
        let of = self.tenants.entry(tenant.into()).or_default();
        let (before, at) = (of.len(), revocation.at);
        let last = match (&revocation.subject, &revocation.token) {
            (Some(subject), _) => of.subjects.insert(subject.clone(), at),
            (None, Some(token)) => of.tokens.insert(token.clone(), at),
            (None, None) => of.all_until.replace(at),
        };
        self.len += of.len() - before;
        // Lines may be read again, or in another order than they were written: the latest counts.
        match last {
            Some(last) if last >= at => {
                of.set(revocation, last);
                false
            }
            _ => true,
        }
    }
}

impl OfTenant {
    fn len(&self) -> usize {
        usize::from(self.all_until.is_some()) + self.subjects.len() + self.tokens.len()
    }

    fn has(&self, revocation: &Revocation) -> bool {
        match (&revocation.subject, &revocation.token) {
            (Some(subject), _) => self.subjects.contains_key(subject),
            (None, Some(token)) => self.tokens.contains_key(token),
            (None, None) => self.all_until.is_some(),
        }
    }

    fn set(&mut self, revocation: &Revocation, at: u64) {
        match (&revocation.subject, &revocation.token) {
            (Some(subject), _) => _ = self.subjects.insert(subject.clone(), at),
            (None, Some(token)) => _ = self.tokens.insert(token.clone(), at),
            (None, None) => self.all_until = Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::Scopes, check::without_here};

    fn identity(tenant: Option<&str>, subject: &str, token: Option<&str>, issued_at: Option<u64>) -> Identity {
        Identity {
            subject: subject.into(),
            tenant: tenant.map(Into::into),
            rooms: Box::default(),
            publish: None,
            scopes: Scopes::default(),
            token_id: token.map(Into::into),
            issued_at,
            expires_at: u64::MAX,
        }
    }

    const LINES: [&str; 6] = [
        r#"{"subject":"u","at":100}"#,
        r#"{"subject":"u","at":50}"#,
        r#"{"tenant":"acme","subject":"v","at":100}"#,
        r#"{"token":"t1","at":1}"#,
        r#"{"tenant":"gone","at":100}"#,
        r#"{"tenant":"acme","token":"t2","at":1}"#,
    ];

    /// What is wrong with the table's answers; empty where nothing is.
    fn wrong(revoked: &Revoked) -> Vec<String> {
        let cases = [
            (None, "u", None, Some(100), true),
            (None, "u", None, Some(101), false),
            (None, "u", None, None, true),
            (Some("acme"), "u", None, Some(1), false),
            (Some("acme"), "v", None, Some(1), true),
            (None, "v", None, Some(1), false),
            (None, "w", Some("t1"), Some(1000), true),
            (Some("acme"), "w", Some("t1"), Some(1000), false),
            (Some("acme"), "w", Some("t2"), Some(1000), true),
            (Some("gone"), "x", None, Some(100), true),
            (Some("gone"), "x", None, Some(101), false),
            (None, "gone", None, Some(1), false),
        ];
        let wrong = cases.into_iter().filter_map(|(tenant, subject, token, issued_at, expected)| {
            let identity = identity(tenant, subject, token, issued_at);
            let is_right = (revoked.admit(&identity) == Err(Refused::Revoked)) == expected;
            (!is_right).then(|| format!("{identity:?}"))
        });
        wrong.collect()
    }

    #[test]
    fn what_is_revoked_and_what_is_not() {
        let revoked = Revoked::new(Duration::from_secs(600));
        revoked.is_current(Instant::now());
        let changes = revoked.changes();
        for line in LINES {
            let revocation = Revocation::parse(line.as_bytes()).expect(line);
            assert_eq!(revocation.line(), line);
            revoked.add(&revocation);
        }
        assert_eq!((revoked.len(), *changes.borrow()), (5, 5), "the earlier one of the same subject is nothing new");
        assert_eq!(wrong(&revoked), Vec::<String>::new());
        assert!(!without_here(Check::Revoked, || wrong(&revoked)).is_empty(), "the table notices");
        for line in LINES {
            revoked.add(&Revocation::parse(line.as_bytes()).expect(line));
        }
        assert_eq!((revoked.len(), *changes.borrow()), (5, 5), "read again, nothing is new");
        revoked.forget_before(2);
        assert_eq!(revoked.len(), 3);
        revoked.forget_before(101);
        assert!(revoked.is_empty());
    }

    #[test]
    fn what_is_no_revocation_is_refused() {
        for (asked, expected) in [
            (r#"{"subject":"u"}"#, Ok(r#"{"subject":"u","at":7}"#)),
            (r#"{"tenant":"acme","token":"t"}"#, Ok(r#"{"tenant":"acme","token":"t","at":7}"#)),
            (r#"{"tenant":"acme"}"#, Ok(r#"{"tenant":"acme","at":7}"#)),
            ("{}", Err("subject")),
            ("", Err("body")),
            ("[]", Err("body")),
            (r#"[null,"u",null]"#, Err("body")),
            (r#"{"subject":"u","at":9}"#, Err("body")),
            (r#"{"subject":1}"#, Err("body")),
            (r#"{"subject":"u","subject":"v"}"#, Err("body")),
            (r#"{"subject":"u","token":"t"}"#, Err("token")),
            (r#"{"subject":"a b"}"#, Err("subject")),
            (r#"{"subject":""}"#, Err("subject")),
            (r#"{"tenant":"a/b"}"#, Err("tenant")),
            (r#"{"token":""}"#, Err("token")),
        ] {
            let read =
                Revocation::asked(asked.as_bytes(), 7).map(|revocation| revocation.line()).map_err(|invalid| invalid.field);
            assert_eq!(read, expected.map(bytes::Bytes::from), "{asked}");
        }
        for line in
            ["", "{}", r#"{"at":1}"#, r#"{"subject":"u"}"#, r#"{"subject":"u","at":-1}"#, r#"{"subject":"u","at":1,"x":1}"#]
        {
            assert!(Revocation::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_known_is_refused() {
        let revoked = Revoked::new(Duration::from_secs(60));
        let user = identity(None, "u", None, Some(1));
        assert_eq!(revoked.admit(&user), Err(Refused::Stale), "nothing was read yet");
        let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(61)) else { return };
        revoked.is_current(long_ago);
        assert_eq!(revoked.admit(&user), Err(Refused::Stale));
        revoked.is_current(Instant::now());
        assert_eq!(revoked.admit(&user), Ok(()));
        assert_eq!(Revoked::never().admit(&user), Ok(()));
    }

    #[test]
    fn more_than_can_be_remembered_lets_nobody_in() {
        let revoked = Revoked::new(Duration::from_secs(600));
        revoked.is_current(Instant::now());
        for n in 0..REVOCATIONS_MAX {
            revoked.add(&Revocation { token: Some(n.to_string().into()), at: 1, ..Revocation::default() });
        }
        let user = identity(None, "u", None, Some(1));
        assert_eq!(revoked.admit(&user), Ok(()));
        revoked.add(&Revocation { token: Some("0".into()), at: 2, ..Revocation::default() });
        assert_eq!(revoked.admit(&user), Ok(()), "one that is known takes no room");
        revoked.add(&Revocation { subject: Some("u".into()), at: 2, ..Revocation::default() });
        assert_eq!(revoked.admit(&user), Err(Refused::Stale));
        assert_eq!(revoked.len(), REVOCATIONS_MAX);
        revoked.forget_before(2);
        assert_eq!((revoked.admit(&user), revoked.len()), (Err(Refused::Stale), 1), "what was left out is not known yet");
        revoked.all_were_read(0);
        assert_eq!(revoked.admit(&user), Err(Refused::Stale), "that reading had begun before");
        revoked.all_were_read(revoked.left_out());
        assert_eq!(revoked.admit(&user), Ok(()));
    }
}
