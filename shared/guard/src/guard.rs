//! All of it together: from a token to a [`Caller`], and from a caller and a room to a [`Verdict`].

use crate::{
    Access, BadSetting, Caller, GuardSettings, Identity, Pattern, Refused, Revoked, Rules, Token, access,
    bearer::Places,
    check::{Check, holds},
    files::KeyFiles,
    hook::{Decision, Hook, NoAnswer},
    journal::{self, Pace, unix_secs},
    jwks::Jwks,
    keys::KeySet,
    meters,
    owners::Owners,
    verified::Verified,
};
use std::{sync::Arc, time::Duration};
use weft_bus::{Bus, BusError};
use weft_event::Room;

/// Before a token expires its client is told so.
pub const WARNED_BEFORE: Duration = Duration::from_secs(30);
/// Subscriptions of one connection that may wait for their rooms to become known.
pub const PENDING_MAX: usize = 16;

/// Whether somebody may follow a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Yes,
    /// Not as far as is known: the room is not known yet, or somebody else's, which must look the same. A subscription waits
    /// and asks again when something happens in the room, until its deadline; a request is answered 404.
    Pending,
    /// It may not, whatever else becomes known.
    No,
}

/// Whether somebody may follow cannot be found out at the moment: nobody does, and it is worth another try.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unanswered {
    /// The bus is away.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The hook gave no answer.
    #[error(transparent)]
    Hook(#[from] NoAnswer),
}

/// Tokens, keys, revocations and access of one process.
pub struct Guard {
    is_open: bool,
    rules: Rules,
    files: Arc<KeyFiles>,
    jwks: Option<Arc<Jwks>>,
    /// Where signatures may be dear: there are public keys.
    verified: Option<Verified>,
    revoked: Revoked,
    pace: Pace,
    hook: Option<Hook>,
    owners: Owners,
    public: Vec<Pattern>,
    places: Places,
    /// How long a subscription may be pending.
    pub pending: Duration,
}

impl Guard {
    /// Opens what the settings name; they have been checked. `is_durable`: whether the bus stores anything.
    ///
    /// # Errors
    /// A key or a URL that cannot be used.
    pub fn open(settings: &GuardSettings, is_durable: bool) -> Result<Self, BadSetting> {
        let stale = Duration::from_secs(u64::from(settings.revocation_stale_secs));
        let can_revoke = is_durable && settings.is_jwt();
        meters::describe();
        Ok(Self {
            is_open: !settings.is_jwt(),
            rules: settings.rules(is_durable),
            files: Arc::new(settings.key_files()?),
            jwks: settings.jwks()?.map(Arc::new),
            verified: settings.has_public_keys().then(Verified::default),
            revoked: if can_revoke { Revoked::new(stale) } else { Revoked::never() },
            pace: settings.pace(),
            hook: settings.hook()?,
            owners: Owners::default(),
            public: settings.anonymous()?,
            places: settings.places(),
            pending: Duration::from_secs(u64::from(settings.pending_timeout)),
        })
    }

    /// Keeps keys and revocations up to date, for the life of the process; ends at once where there is nothing to keep.
    pub async fn keep(&self, bus: &Bus) {
        let files = async {
            if !self.is_open {
                self.files.keep().await;
            }
        };
        let jwks = async {
            if let Some(jwks) = &self.jwks {
                jwks.keep().await;
            }
        };
        let revocations = async {
            if self.revoked.is_possible() {
                journal::keep(&self.revoked, bus, self.pace).await;
            }
        };
        tokio::join!(files, jwks, revocations);
    }

    /// Whether somebody could be let in: keys and revocations have been read. A gateway is not ready before, and stays ready
    /// from then on: an outage of the provider or the broker is the same for all gateways.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.jwks.as_ref().is_none_or(|jwks| jwks.keys().is_ok()) && self.revoked.is_fresh()
    }

    /// Where requests may carry tokens.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What was taken back.
    #[must_use]
    pub fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// The moment for a revocation that is made at `now`, in Unix seconds. Clocks of issuers may be ahead by the leeway: a token
    /// that is out already must not count as a later one.
    #[must_use]
    pub fn revokes_at(&self, now: u64) -> u64 {
        now.saturating_add(self.rules.leeway_secs)
    }

    /// Who that is without a token; `None`: it must bring one before anything else.
    #[must_use]
    pub fn stranger(&self) -> Option<Caller> {
        match () {
            () if self.is_open => Some(Caller::Everyone),
            () if !self.public.is_empty() => Some(Caller::Guest),
            () => None,
        }
    }

    /// Verifies a token. Waits only where a key is unknown and may have been published since.
    pub async fn admit(&self, token: &Token) -> Result<Caller, Refused> {
        if self.is_open {
            return Ok(Caller::Everyone);
        }
        let admitted = match self.verify(token).await {
            Ok(identity) => self.revoked.admit(&identity).map(|()| identity),
            Err(refused) => Err(refused),
        };
        meters::token(admitted.as_ref().map(|_| ()).map_err(|refused| *refused));
        admitted.map(Caller::User)
    }

    /// Verifies a token that takes the place of `caller`'s: of the same user and tenant, or a guest's first. What the
    /// connection follows must be asked about again, because the new token may allow less.
    pub async fn renew(&self, caller: &Caller, token: &Token) -> Result<Caller, Refused> {
        let renewed = self.admit(token).await?;
        match (caller, &renewed) {
            (Caller::User(old), Caller::User(new)) if !old.is_same(new) => Err(Refused::OtherSubject),
            _ => Ok(renewed),
        }
    }

    async fn verify(&self, token: &Token) -> Result<Arc<Identity>, Refused> {
        let now = unix_secs();
        let remembered = self.verified.as_ref().and_then(|verified| Some((verified, Verified::mark(token)?)));
        if let Some((verified, mark)) = &remembered
            && let Some(identity) = verified.get(mark, now, |keys| self.are_in_force(keys))
        {
            return Ok(identity);
        }
        let (identity, keys) = self.verify_anew(token, now).await?;
        let identity = Arc::new(identity);
        if let Some((verified, mark)) = remembered {
            verified.put(mark, identity.clone(), keys, now);
        }
        Ok(identity)
    }

    /// Looks at the signature; which keys it was verified with.
    async fn verify_anew(&self, token: &Token, now: u64) -> Result<(Identity, Arc<KeySet>), Refused> {
        let with = |keys: Arc<KeySet>| keys.verify(token, &self.rules, now).map(|identity| (identity, keys));
        let refused = match with(self.files.keys()) {
            Err(refused @ (Refused::Algorithm | Refused::UnknownKey | Refused::Signature)) => refused,
            decided => return decided,
        };
        let Some(jwks) = &self.jwks else { return Err(refused) };
        let keys = jwks.keys()?;
        match with(keys.clone()) {
            Err(Refused::UnknownKey) if jwks.look_again(&keys).await => with(jwks.keys()?),
            decided => decided,
        }
    }

    fn are_in_force(&self, keys: &Arc<KeySet>) -> bool {
        let are_published = || self.jwks.as_ref().and_then(|jwks| jwks.keys().ok()).is_some_and(|now| Arc::ptr_eq(&now, keys));
        Arc::ptr_eq(&self.files.keys(), keys) || are_published()
    }

    /// Whether what this caller showed was taken back meanwhile; asked of every connection when
    /// [`Revoked::changes`] changes, and of one that has just begun.
    #[must_use]
    pub fn is_revoked(&self, caller: &Caller) -> bool {
        matches!(caller, Caller::User(identity) if self.revoked.covers(identity))
    }

    /// May it follow this room, read its history and its state? Asked on every subscribe, resume, recovery, history and
    /// state, and again after a renewal.
    ///
    /// # Errors
    /// It cannot be found out now; nothing may be delivered.
    pub async fn follow(&self, bus: &Bus, caller: &Caller, room: &Room) -> Result<Verdict, Unanswered> {
        let identity = match caller {
            Caller::Everyone => return Ok(Verdict::Yes),
            Caller::Guest => return Ok(self.follow_as_guest(room)),
            Caller::User(identity) => identity,
        };
        let access = access::follow(identity, room);
        if let Some(hook) = &self.hook
            && access != Access::No
        {
            match hook.ask(identity, room).await? {
                Decision::Allow => return Ok(Verdict::Yes),
                Decision::Deny => return Ok(Verdict::Pending),
                Decision::Abide => {}
            }
        }
        match access {
            Access::Yes => Ok(Verdict::Yes),
            Access::No => Ok(if self.is_public(room) { Verdict::Yes } else { Verdict::No }),
            Access::IfOwner(of) => {
                let may = self.owns(bus, identity, &of).await? || self.is_public(room);
                Ok(if may { Verdict::Yes } else { Verdict::Pending })
            }
        }
    }

    /// The same where it needs neither the bus nor the hook.
    #[must_use]
    pub fn follow_at_once(&self, caller: &Caller, room: &Room) -> Option<Verdict> {
        match caller {
            Caller::Everyone => Some(Verdict::Yes),
            Caller::Guest => Some(self.follow_as_guest(room)),
            Caller::User(identity) if self.hook.is_none() => match access::follow(identity, room) {
                Access::Yes => Some(Verdict::Yes),
                Access::No | Access::IfOwner(_) => self.is_public(room).then_some(Verdict::Yes),
            },
            Caller::User(_) => None,
        }
    }

    /// May it answer prompts of this execution (an `execution:` room), or cancel it?
    ///
    /// # Errors
    /// The bus is away.
    pub async fn act(&self, bus: &Bus, caller: &Caller, execution: &Room) -> Result<bool, BusError> {
        match caller {
            Caller::Everyone => Ok(true),
            Caller::Guest => Ok(false),
            Caller::User(identity) => match access::act(identity, execution) {
                Access::Yes => Ok(true),
                Access::No => Ok(false),
                Access::IfOwner(of) => self.owns(bus, identity, &of).await,
            },
        }
    }

    /// May it publish anything at all over HTTP?
    #[must_use]
    pub fn publishes(&self, caller: &Caller) -> bool {
        match caller {
            Caller::Everyone => true,
            Caller::Guest => false,
            Caller::User(identity) => access::publishes(identity),
        }
    }

    /// May it publish over HTTP an event that reaches `room`, one of several perhaps, and whose `userId` is `user`?
    #[must_use]
    pub fn publish(&self, caller: &Caller, room: &Room, user: Option<&str>) -> bool {
        match caller {
            Caller::Everyone => true,
            Caller::Guest => false,
            Caller::User(identity) => access::publish(identity, room, user),
        }
    }

    async fn owns(&self, bus: &Bus, identity: &Identity, room: &Room) -> Result<bool, BusError> {
        Ok(!holds(Check::Ownership) || self.owners.owns(bus, &identity.subject, room).await?)
    }

    fn follow_as_guest(&self, room: &Room) -> Verdict {
        // Not pending: what is public is a setting, and tells nothing about what there is.
        if self.is_public(room) { Verdict::Yes } else { Verdict::No }
    }

    fn is_public(&self, room: &Room) -> bool {
        access::follow_anonymously(&self.public, room) == Access::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::Scopes, check::without_here};
    use weft_bus::BusConfig;

    fn caller(tenant: Option<&str>, scope: &str) -> Caller {
        Caller::User(Arc::new(Identity {
            subject: "u".into(),
            tenant: tenant.map(Into::into),
            rooms: [Pattern::parse("execution:covered")].into_iter().flatten().collect(),
            publish: None,
            scopes: Scopes::parse(scope),
            token_id: None,
            issued_at: Some(1),
            expires_at: u64::MAX,
        }))
    }

    fn guard() -> Guard {
        let rules = Rules::default();
        Guard {
            is_open: false,
            rules,
            files: Arc::new(KeyFiles::open(crate::files::Places::default()).expect("no files")),
            jwks: None,
            verified: None,
            revoked: Revoked::never(),
            pace: Pace { every: Duration::from_secs(1), life: Duration::from_secs(1) },
            hook: None,
            owners: Owners::default(),
            public: Vec::new(),
            places: Places::default(),
            pending: Duration::from_secs(1),
        }
    }

    /// What somebody may who should not, of everything that can be asked.
    async fn leaks() -> Vec<String> {
        let bus = Bus::connect(BusConfig::parse("memory:").expect("a bus")).await.expect("connected");
        let guard = guard();
        let mut leaks = Vec::new();
        for asked in [None, Some("acme")] {
            let callers = [caller(asked, ""), caller(asked, "executions:run"), Caller::Guest];
            for caller in callers {
                for home in [None, Some("acme"), Some("bolt")] {
                    for name in ["execution:e", "agent:a:e", "user:v", "kb:k", "execution:u", "kb:u", "agent:u:u"] {
                        let room = Room::parse(name).and_then(|room| room.in_tenant(home)).expect("a room");
                        if guard.follow(&bus, &caller, &room).await.expect("answered") == Verdict::Yes {
                            leaks.push(format!("{caller:?} follows {room:?}"));
                        }
                    }
                    let covered = Room::parse("execution:covered").and_then(|room| room.in_tenant(home)).expect("a room");
                    if guard.act(&bus, &caller, &covered).await.expect("answered") {
                        leaks.push(format!("{caller:?} acts on {covered:?}"));
                    }
                    if guard.publish(&caller, &covered, Some("u")) {
                        leaks.push(format!("{caller:?} publishes to {covered:?}"));
                    }
                    let own = Room::user("u").and_then(|room| room.in_tenant(home)).expect("a room");
                    let is_home = caller.tenant() == home && caller.subject().is_some();
                    if (guard.follow(&bus, &caller, &own).await.expect("answered") == Verdict::Yes) != is_home {
                        leaks.push(format!("{caller:?} and its own {own:?}"));
                    }
                }
            }
        }
        leaks
    }

    #[test]
    fn nobody_may_what_is_not_its_own_and_each_check_is_needed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        assert_eq!(runtime.block_on(leaks()), Vec::<String>::new());
        for check in [Check::RoomTenant, Check::RoomKind, Check::Ownership, Check::Acting, Check::Publishing] {
            let leaks = without_here(check, || runtime.block_on(leaks()));
            assert!(!leaks.is_empty(), "nobody notices that {check:?} is missing");
        }
    }

    /// Every check that there is has been left out in one of the tables.
    #[test]
    fn no_check_is_without_a_table() {
        let tables =
            [include_str!("hostile/mod.rs"), include_str!("guard.rs"), include_str!("revoked.rs"), include_str!("address.rs")];
        // What follows the import is tests.
        let tables = tables.map(|text| text.split_once("without_here").map_or("", |(_, tests)| tests));
        for check in Check::ALL {
            let name = format!("Check::{check:?}");
            assert!(tables.iter().any(|tests| tests.contains(&name)), "{name}");
        }
    }
}
