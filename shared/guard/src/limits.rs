//! What one client may take of this process: connections by address and by user, messages and events by the second.

use crate::{
    Caller,
    address::{Proxies, countable},
    meters,
    rate::{Rate, Rates},
    share::{Share, Shares},
};
use http::HeaderMap;
use std::net::IpAddr;

/// A user as connections are counted by: `[<tenant>/]<subject>`.
type User = Box<str>;

/// Why somebody gets no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many connections of one address or user as there may be: 429, or close 1008.
    #[error("too many connections of one address or user")]
    Connections,
    /// Too much at once: 429 with `Retry-After`, or close 1008.
    #[error("too fast; try again in {retry_ms} ms")]
    Rate {
        /// After so many milliseconds.
        retry_ms: u64,
    },
}

/// The bounds, from the settings; 0 is none.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// The proxies whose word about addresses is taken.
    pub proxies: Proxies,
    /// Connections of one address, or of one /64.
    pub per_address: u32,
    /// Connections of one user.
    pub per_user: u32,
    /// Sockets of one address, or of one /64, on which HTTP is spoken.
    pub sockets_per_address: u32,
    /// Connections that one address may open a second.
    pub connects: u32,
    /// Messages that a connection may send a second.
    pub messages: u32,
    /// Events that one user may publish a second.
    pub publishes: u32,
    /// Requests that read, of one user, or of one address for who has no name, a second.
    pub reads: u32,
    /// Pages of stored events that the subscriptions of one user may read a second.
    pub pages: u32,
}

/// The counts of this process.
pub struct Limits {
    proxies: Proxies,
    per_address: Shares<IpAddr>,
    per_user: Shares<User>,
    sockets: Shares<IpAddr>,
    connects: Rates<IpAddr>,
    publishes: Rates<String>,
    reads: Rates<String>,
    pages: Rates<String>,
    /// The rate of each connection's own [`crate::rate::Bucket`]; `None` is no bound.
    pub messages: Option<Rate>,
}

/// A connection's place among those of its address.
pub type AddressShare = Share<IpAddr>;
/// A connection's place among those of its user.
pub type UserShare = Share<User>;

impl Limits {
    /// Nothing taken yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        // A burst of a few seconds: pages open several things at once, then are quiet.
        let rate = |per_second: u32, seconds: u32| Rate { per_second, burst: per_second.saturating_mul(seconds) };
        Self {
            proxies: bounds.proxies,
            per_address: Shares::new(bounds.per_address),
            per_user: Shares::new(bounds.per_user),
            sockets: Shares::new(bounds.sockets_per_address),
            connects: Rates::new(rate(bounds.connects, 5)),
            publishes: Rates::new(rate(bounds.publishes, 2)),
            reads: Rates::new(rate(bounds.reads, 5)),
            pages: Rates::new(rate(bounds.pages, 5)),
            messages: (bounds.messages > 0).then(|| rate(bounds.messages, 4)),
        }
    }

    /// Whose connection or request this is.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.proxies.client(peer, headers)
    }

    /// A socket more that this peer has opened, until the answer is dropped. A proxy's are many clients' and not counted, nor
    /// are this machine's own.
    pub fn accept(&self, peer: IpAddr) -> Result<AddressShare, Full> {
        let address = countable(peer);
        if address.is_loopback() || peer.is_loopback() || self.proxies.trusts(peer) {
            return Ok(Share::uncounted());
        }
        self.sockets.take(&address).ok_or_else(|| limited("sockets", Full::Connections))
    }

    /// A connection more of this address, until the answer is dropped. This machine's own is not counted: behind it is a
    /// proxy that was not named, or a test.
    pub fn arrive(&self, client: IpAddr) -> Result<AddressShare, Full> {
        let address = countable(client);
        if address.is_loopback() || client.is_loopback() {
            return Ok(Share::uncounted());
        }
        self.connects.take(&address, 1).map_err(|retry_ms| limited("connects", Full::Rate { retry_ms }))?;
        self.per_address.take(&address).ok_or_else(|| limited("address", Full::Connections))
    }

    /// A connection more of this user, until the answer is dropped. Who has no name is counted by address alone.
    pub fn join(&self, caller: &Caller) -> Result<UserShare, Full> {
        match name(caller) {
            Some(user) => self.per_user.take(&user.into()).ok_or_else(|| limited("user", Full::Connections)),
            None => Ok(Share::uncounted()),
        }
    }

    /// Whether this user may publish at all just now: asked before a body is read, whose events are counted when they are
    /// known.
    pub fn may_publish(&self, caller: &Caller) -> Result<(), Full> {
        let Some(user) = name(caller) else { return Ok(()) };
        self.publishes.look(&*user).map_err(|retry_ms| limited("publish", Full::Rate { retry_ms }))
    }

    /// One request more that reads. Who has no name is counted by address, but for this machine's own.
    pub fn read(&self, caller: &Caller, client: IpAddr) -> Result<(), Full> {
        let address = countable(client);
        let key = match name(caller) {
            Some(user) => user,
            None if address.is_loopback() || client.is_loopback() => return Ok(()),
            // No name has such a character.
            None => format!("@{address}"),
        };
        self.reads.take(&*key, 1).map_err(|retry_ms| limited("reads", Full::Rate { retry_ms }))
    }

    /// One page more of stored events that a subscription of this user reads. Who has no name reads what is public, which is
    /// read once for all.
    pub fn page(&self, caller: &Caller) -> Result<(), Full> {
        let Some(user) = name(caller) else { return Ok(()) };
        self.pages.take(&*user, 1).map_err(|retry_ms| limited("pages", Full::Rate { retry_ms }))
    }

    /// So many events more that this user publishes. Who has no name may publish only where nobody authenticates.
    pub fn publish(&self, caller: &Caller, events: u32) -> Result<(), Full> {
        let Some(user) = name(caller) else { return Ok(()) };
        self.publishes.take(&*user, events).map_err(|retry_ms| limited("publish", Full::Rate { retry_ms }))
    }
}

/// `[<tenant>/]<subject>`: neither can hold the slash.
fn name(caller: &Caller) -> Option<String> {
    let subject = caller.subject()?;
    Some(caller.tenant().map_or_else(|| subject.to_owned(), |tenant| format!("{tenant}/{subject}")))
}

fn limited(limit: &'static str, full: Full) -> Full {
    meters::limited(limit);
    full
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, access::Scopes};

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn user(subject: &str, tenant: Option<&str>) -> Caller {
        Caller::User(std::sync::Arc::new(Identity {
            subject: subject.into(),
            tenant: tenant.map(Into::into),
            rooms: Box::default(),
            publish: None,
            scopes: Scopes::default(),
            token_id: None,
            issued_at: None,
            expires_at: 1,
        }))
    }

    #[test]
    fn addresses_have_their_share() {
        let limits = Limits::new(Bounds { per_address: 2, connects: 1, ..Bounds::default() });
        let taken: Vec<_> = (0..2).map(|_| limits.arrive(address("192.0.2.1")).expect("a place")).collect();
        assert_eq!(limits.arrive(address("192.0.2.1")).err(), Some(Full::Connections));
        let other = limits.arrive(address("192.0.2.2"));
        assert!(other.is_ok());
        drop(taken);
        let again: Vec<_> = (0..2).map(|_| limits.arrive(address("192.0.2.1"))).collect();
        assert!(again.iter().all(Result::is_ok));
        drop(again);
        assert!(matches!(limits.arrive(address("192.0.2.1")), Err(Full::Rate { retry_ms: 1..=1000 })), "five in a burst");
        let neighbours = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|text| limits.arrive(address(text)));
        assert_eq!(neighbours.iter().filter(|place| place.is_ok()).count(), 2, "a /64 is one client");
        let local: Vec<_> = (0..100).map(|_| limits.arrive(address("127.0.0.1"))).collect();
        assert!(local.iter().all(Result::is_ok));
    }

    #[test]
    fn users_have_their_share() {
        let limits = Limits::new(Bounds { per_user: 1, publishes: 10, ..Bounds::default() });
        let (one, other) = (user("u", None), user("u", Some("acme")));
        let place = limits.join(&one);
        assert!(place.is_ok() && limits.join(&other).is_ok(), "the same name in another tenant is another");
        assert_eq!(limits.join(&one).err(), Some(Full::Connections));
        drop(place);
        assert!(limits.join(&one).is_ok());
        assert_eq!((limits.may_publish(&one), limits.publish(&one, 20)), (Ok(()), Ok(())));
        assert!(matches!(limits.may_publish(&one), Err(Full::Rate { .. })), "before anything of it is read");
        assert!(matches!(limits.publish(&one, 1), Err(Full::Rate { .. })));
        assert_eq!((limits.publish(&other, 20), limits.publish(&Caller::Everyone, 1_000_000)), (Ok(()), Ok(())));
    }

    #[test]
    fn reading_has_its_rate() {
        let limits = Limits::new(Bounds { reads: 2, pages: 1, ..Bounds::default() });
        let (far, near) = (address("192.0.2.1"), address("127.0.0.1"));
        let many = |caller: &Caller, from| (0..20).filter(|_| limits.read(caller, from).is_ok()).count();
        assert_eq!((many(&Caller::Guest, far), many(&Caller::Everyone, near)), (10, 20), "a burst of five seconds");
        assert_eq!(many(&Caller::Everyone, address("192.0.2.2")), 10, "each address");
        let user = user("u", None);
        assert_eq!((many(&user, near), many(&user, far)), (10, 0), "a user has one rate, wherever it is");
        let pages = |caller: &Caller| (0..20).filter(|_| limits.page(caller).is_ok()).count();
        assert_eq!((pages(&user), pages(&Caller::Guest)), (5, 20));
    }

    #[test]
    fn without_bounds_nothing_is_refused() {
        let limits = Limits::new(Bounds::default());
        let all: Vec<_> = (0..1000).map(|_| limits.arrive(address("192.0.2.1"))).collect();
        assert!(all.iter().all(Result::is_ok) && limits.messages.is_none());
        assert!((0..1000).all(|_| limits.publish(&Caller::Everyone, 1_000_000).is_ok()));
    }
}
