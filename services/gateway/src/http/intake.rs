//! How many sockets are taken, whatever is said over them: of this process, and of each address.
//!
//! A connection is counted when it is asked for (`Hub::admit`). A socket is there before: silent, in the middle of a handshake,
//! or kept alive between requests. Each costs a descriptor and some memory, so each is counted when it is accepted. Whom there
//! is no place for is told so, as many at once as there are permits; further ones are closed at once.
//!
//! Behind a trusted proxy an address is known only from a request's head: there connections count by address, sockets do not.
//! Listeners of operators have a count of their own, so that clients cannot take their place.

use super::{admission, answer::Refusal, stream};
use crate::{metrics::TurnedAway, transport::Counted};
use axum::{
    Router,
    http::{HeaderMap, HeaderValue, header},
    response::IntoResponse,
};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weft_dialect::told;
use weft_guard::limits::{AddressShare, Limits};

/// Sockets at once that are told that there is no place.
const TOLD_AT_ONCE: usize = 64;
/// How long one of these may take to say what it came for.
pub const TELLING_TIME: Duration = Duration::from_secs(2);
/// Sockets of operators at once.
const OPERATORS_MAX: usize = 64;
/// Seconds after which an address that has as many sockets as it may is to come back.
const CROWDED_SECS: u64 = 10;

/// The bounds of one listener.
#[derive(Clone)]
pub struct Intake {
    /// Sockets of the process at which no more are taken.
    most: usize,
    by_address: Option<Arc<Limits>>,
    /// Places of this listener alone, where it has such.
    own: Option<Arc<Semaphore>>,
    telling: Arc<Semaphore>,
}

/// The place of a socket, for as long as HTTP is spoken on it.
#[derive(Debug)]
pub struct Seat {
    _counted: Counted,
    _address: Option<AddressShare>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Why a socket has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// The process has as many as it may.
    Process,
    /// Its address has as many as it may.
    Address,
}

impl Intake {
    fn new(most: usize) -> Self {
        Self { most, by_address: None, own: None, telling: Arc::new(Semaphore::new(TOLD_AT_ONCE)) }
    }

    /// Of clients: so many of the process, and what `limits` say of each address.
    #[must_use]
    pub fn of_clients(most: usize, limits: Arc<Limits>) -> Self {
        Self { by_address: Some(limits), ..Self::new(most) }
    }

    /// Of other gateways, who share the process's places with clients.
    #[must_use]
    pub fn of_peers(most: usize) -> Self {
        Self::new(most)
    }

    /// Of operators, who have places of their own.
    #[must_use]
    pub fn of_operators() -> Self {
        Self { own: Some(Arc::new(Semaphore::new(OPERATORS_MAX))), ..Self::new(usize::MAX) }
    }

    /// A place for a socket from this address.
    ///
    /// # Errors
    /// There is none; it is counted.
    pub fn admit(&self, peer: IpAddr) -> Result<Seat, Crowded> {
        let full = |crowded: Crowded| {
            crowded.reason().count();
            crowded
        };
        let counted = Counted::one();
        if Counted::open() > self.most {
            return Err(full(Crowded::Process));
        }
        let permit = self.own.clone().map(|own| own.try_acquire_owned().map_err(|_| full(Crowded::Process))).transpose()?;
        let address = self.by_address.as_ref().map(|limits| limits.accept(peer).map_err(|_| full(Crowded::Address)));
        Ok(Seat { _counted: counted, _address: address.transpose()?, _permit: permit })
    }

    /// The place of one that is only told that there is none; `None`: there are too many of these.
    pub fn tell(&self) -> Option<Seat> {
        let permit = self.telling.clone().try_acquire_owned().ok()?;
        Some(Seat { _counted: Counted::one(), _address: None, _permit: Some(permit) })
    }
}

impl Crowded {
    fn reason(self) -> TurnedAway {
        match self {
            Self::Process => TurnedAway::Capacity,
            Self::Address => TurnedAway::Client,
        }
    }

    /// Answers every request so. An `EventSource` takes any error for final, and is sent away by the end of a stream.
    pub fn router(self) -> Router {
        Router::new().fallback(move |headers: HeaderMap| async move {
            if stream::is_wanted(&headers) {
                return stream::come_again(admission::pause());
            }
            let refusal = match self {
                Self::Process => Refusal::plain(told::OVERLOADED).retry_after(admission::pause().as_secs().max(1)),
                Self::Address => Refusal::plain(told::RATE_LIMITED).retry_after(CROWDED_SECS),
            };
            let mut response = refusal.into_response();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_guard::limits::Bounds;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn each_address_has_its_share_and_proxies_have_none() {
        let proxies = weft_guard::address::Proxies::new(vec!["10.0.0.0/8".parse().expect("a block")]);
        let limits = Arc::new(Limits::new(Bounds { sockets_per_address: 2, proxies, ..Bounds::default() }));
        let intake = Intake::of_clients(usize::MAX, limits);
        let mut seats: Vec<Seat> = (0..2).map(|_| intake.admit(address("192.0.2.1")).expect("a place")).collect();
        assert_eq!(intake.admit(address("192.0.2.1")).err(), Some(Crowded::Address));
        for free in ["192.0.2.2", "10.1.1.1", "10.1.1.1", "10.1.1.1", "127.0.0.1", "127.0.0.1", "127.0.0.1"] {
            seats.push(intake.admit(address(free)).expect(free));
        }
        drop(seats);
        assert!(intake.admit(address("192.0.2.1")).is_ok(), "places are given back");
    }

    #[test]
    fn operators_have_places_of_their_own_and_so_many_are_told() {
        let intake = Intake::of_operators();
        let seats: Vec<_> = (0..OPERATORS_MAX).filter_map(|_| intake.admit(address("127.0.0.1")).ok()).collect();
        assert_eq!((seats.len(), intake.admit(address("127.0.0.1")).err()), (OPERATORS_MAX, Some(Crowded::Process)));
        let told: Vec<_> = (0..TOLD_AT_ONCE).filter_map(|_| intake.tell()).collect();
        assert!(told.len() == TOLD_AT_ONCE && intake.tell().is_none());
        drop((seats, told));
        assert!(intake.admit(address("127.0.0.1")).is_ok() && intake.tell().is_some());
    }
}
