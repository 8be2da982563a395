//! What a connection came in with: who it is, until when, and its share of what one address and one user may take.
//!
//! Where nobody authenticates there is none of this.

use super::{End, Session, pending::Asked, socketio::Space};
use crate::transport::WebSocketLimits;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use weft_dialect::{
    native::Secret,
    told::{self, CloseCode},
};
use weft_guard::{
    Caller, Refused, Token,
    guard::WARNED_BEFORE,
    limits::{AddressShare, Full, Limits, UserShare},
    share::Share,
};

/// Who somebody is, for as long as the token says.
pub struct Badge {
    /// Who.
    pub caller: Caller,
    /// When its token expires, on a clock that does not go back.
    until: Option<Instant>,
    is_warned: bool,
    _share: UserShare,
}

impl Badge {
    /// For a caller that has just been admitted.
    ///
    /// # Errors
    /// The user has as many connections as it may.
    pub fn new(caller: Caller, limits: &Limits) -> Result<Self, Full> {
        let share = limits.join(&caller)?;
        Ok(Self::with(caller, share))
    }

    fn with(caller: Caller, share: UserShare) -> Self {
        let until = caller.time_left().and_then(|left| Instant::now().checked_add(left));
        Self { caller, until, is_warned: false, _share: share }
    }

    /// The same user with another token. One that ends no later has been warned of already.
    fn renew(&mut self, caller: Caller) {
        let share = std::mem::replace(&mut self._share, Share::uncounted());
        let (until, is_warned) = (self.until, self.is_warned);
        *self = Self::with(caller, share);
        // Both were reckoned from whole seconds.
        let until = until.and_then(|until| until.checked_add(Duration::from_secs(1)));
        self.is_warned = is_warned && self.until.is_some() && self.until <= until;
    }

    /// Whether the client is to be told that its token expires soon; the code to close with if it has.
    fn keep_time(&mut self, now: Instant) -> Result<bool, CloseCode> {
        let Some(until) = self.until else { return Ok(false) };
        if now >= until {
            return Err(told::TOKEN_REQUIRED);
        }
        let is_due = !self.is_warned && now + WARNED_BEFORE >= until;
        self.is_warned |= is_due;
        Ok(is_due)
    }

    /// Whole seconds until it must be looked at.
    fn due_in(&self, now: Instant) -> Option<u32> {
        let left = self.until?.saturating_duration_since(now);
        let next = if self.is_warned { left } else { left.saturating_sub(WARNED_BEFORE) };
        Some(u32::try_from(next.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
    }
}

/// What a connection came in with.
pub struct Pass {
    /// Who it is; of Socket.IO, who asked for the connection.
    pub badge: Badge,
    /// Of Socket.IO: why that one was not believed. Its client can only be told in a namespace.
    pub refused: Option<Refused>,
    /// Subscriptions that wait for their rooms to become known.
    pub(super) waiting: Vec<Asked>,
    /// Seconds in which it must have shown a token; none: it need not.
    auth_secs: Option<u32>,
    auth_by: Option<u32>,
    /// What it may send once it has.
    full: Option<Arc<WebSocketLimits>>,
    /// A token is being looked at.
    is_asking: bool,
    /// Tokens that have taken the place of another.
    renewals: u32,
    /// Second of the wheel in which expiry was last looked at; 0: look at it now.
    looked_at: u32,
    /// Second in which it must be looked at next.
    due: u32,
    _address: AddressShare,
}

impl Pass {
    /// For a caller with its share of its address; `None` where there is nothing to be remembered.
    pub fn of(badge: Badge, address: AddressShare) -> Option<Box<Self>> {
        let is_plain = matches!(badge.caller, Caller::Everyone) && !address.is_counted();
        (!is_plain).then(|| Box::new(Self::new(badge, address)))
    }

    fn new(badge: Badge, address: AddressShare) -> Self {
        let (waiting, auth_secs, auth_by, full) = (Vec::new(), None, None, None);
        Self {
            badge,
            refused: None,
            waiting,
            auth_secs,
            auth_by,
            full,
            is_asking: false,
            renewals: 0,
            looked_at: 0,
            due: u32::MAX,
            _address: address,
        }
    }

    /// For somebody who has not shown a token yet and must, within so many seconds; `full` is what it may send then.
    pub fn to_be_shown(address: AddressShare, secs: u32, full: Arc<WebSocketLimits>) -> Box<Self> {
        let pass = Self::new(Badge::with(Caller::Guest, Share::uncounted()), address);
        Box::new(Self { auth_secs: Some(secs), full: Some(full), ..pass })
    }

    /// Whether a token is still to be shown.
    #[must_use]
    pub fn is_to_be_shown(&self) -> bool {
        self.auth_secs.is_some()
    }

    /// For a connection of Socket.IO, whose clients show tokens in their namespaces.
    pub fn of_socketio(
        caller: Option<Caller>,
        refused: Option<Refused>,
        address: AddressShare,
        full: Arc<WebSocketLimits>,
    ) -> Option<Box<Self>> {
        let badge = Badge::with(caller.unwrap_or(Caller::Guest), Share::uncounted());
        let pass = Self::of(badge, address)?;
        Some(Box::new(Self { refused, full: Some(full), ..*pass }))
    }
}

impl Session {
    /// Who speaks in this namespace; of other dialects, who is connected.
    pub(super) fn caller(&self, space: Space) -> &Caller {
        match (&self.socketio, &self.pass) {
            (Some(socketio), _) => socketio.caller(space),
            (None, Some(pass)) => &pass.badge.caller,
            (None, None) => &Caller::Everyone,
        }
    }

    /// Gives a session what its connection came in with.
    pub(super) fn admit(&mut self, pass: Option<Box<Pass>>) {
        let now = self.now();
        self.pass = pass.map(|mut pass| {
            pass.auth_by = pass.auth_secs.map(|secs| now + secs);
            pass
        });
        // Taken back between its admission and now: what comes later is heard as an order.
        self.heeded = self.shared.orders.version();
        if self.is_revoked() {
            self.lost = Some(&told::TOKEN_REQUIRED);
        }
    }

    /// Whether nothing may be asked of it before a token was shown.
    pub(super) fn is_unknown(&self) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.auth_by.is_some())
    }

    /// A number for the token that is in force, another one for each.
    pub(super) fn token_number(&self) -> u32 {
        self.pass.as_ref().map_or(0, |pass| pass.renewals)
    }

    /// Whether what comes next depends on a token that is being looked at.
    pub(super) fn is_being_admitted(&self) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.is_asking)
    }

    /// What may be sent from now on, once after a client has shown its token.
    pub(super) fn take_full_limits(&mut self) -> Option<Arc<WebSocketLimits>> {
        let is_nowhere = self.socketio.as_ref().is_some_and(|socketio| socketio.is_nowhere());
        let pass = self.pass.as_mut().filter(|pass| pass.auth_by.is_none() && !is_nowhere)?;
        pass.full.take()
    }

    /// A token in a message: the first, or one that takes the place of another.
    pub(super) fn show(&mut self, token: &Secret, reference: Option<String>) {
        let (Some(pass), Some(token)) = (&mut self.pass, Token::new(token.expose())) else {
            // Without authentication there is no token to replace.
            return self.acknowledge(reference.as_deref());
        };
        pass.is_asking = true;
        let (shared, caller) = (self.shared.clone(), pass.badge.caller.clone());
        self.operate(async move { super::Done::Shown(Box::new((shared.guard.renew(&caller, &token).await, reference))) });
    }

    /// A token that was shown has been looked at.
    pub(super) fn shown(&mut self, renewed: Result<Caller, Refused>, reference: Option<&str>) {
        let limits = self.shared.bounds.clone();
        let Some(pass) = &mut self.pass else { return };
        pass.is_asking = false;
        let was_unknown = pass.auth_by.is_some();
        let caller = match renewed {
            Ok(caller) => caller,
            Err(refused) => {
                tracing::debug!(%refused, "a token was not accepted");
                let code = if refused.is_passing() { told::OVERLOADED } else { told::UNAUTHENTICATED };
                if was_unknown {
                    self.lost = Some(if refused.is_passing() { &told::TRY_AGAIN_LATER } else { &told::TOKEN_REQUIRED });
                }
                return self.answer_refused(code, reference);
            }
        };
        if pass.badge.caller.subject().is_some() {
            pass.badge.renew(caller);
        } else {
            match Badge::new(caller, &limits) {
                Ok(badge) => pass.badge = badge,
                Err(full) => {
                    tracing::debug!(%full, "a user has too many connections");
                    self.lost = Some(&told::POLICY);
                    return;
                }
            }
        }
        pass.auth_by = None;
        pass.renewals += 1;
        self.look_at_expiry();
        if self.is_revoked() {
            self.lost = Some(&told::TOKEN_REQUIRED);
            return;
        }
        self.acknowledge(reference);
        self.ask_again_for_all();
    }

    /// A token that takes the place of the one by which a client of Socket.IO is in a namespace. Who is there without a name
    /// comes anew with it: a name would change whose session it is.
    pub(super) fn show_in(&mut self, space: Space, token: &Secret, reference: Option<String>) {
        let caller = self.caller(space).clone();
        if matches!(caller, Caller::Everyone) {
            return self.tell_done(space, reference.as_deref());
        }
        let Some(token) = Token::new(token.expose()).filter(|_| caller.subject().is_some()) else {
            return self.refuse(space, told::UNAUTHENTICATED, told::UNAUTHENTICATED.sentence, None, reference.as_deref());
        };
        let guard = self.shared.guard.clone();
        self.operate(async move { super::Done::Renewed(Box::new((space, guard.renew(&caller, &token).await, reference))) });
    }

    /// A token that was shown in a namespace has been looked at.
    pub(super) fn renewed_in(&mut self, space: Space, renewed: Result<Caller, Refused>, reference: Option<&str>) {
        // It may have left meanwhile, and somebody else have come.
        let is_same = |caller: &Caller| match (caller.identity(), self.caller(space).identity()) {
            (Some(new), Some(old)) => new.is_same(old),
            _ => false,
        };
        let renewed = renewed.and_then(|caller| if is_same(&caller) { Ok(caller) } else { Err(Refused::OtherSubject) });
        let caller = match renewed {
            Ok(caller) => caller,
            Err(refused) => {
                tracing::debug!(%refused, "a token was not accepted");
                let code = if refused.is_passing() { told::OVERLOADED } else { told::UNAUTHENTICATED };
                return self.refuse(space, code, code.sentence, None, reference);
            }
        };
        let Some(badge) = self.seat_badge(space) else { return };
        badge.renew(caller);
        if let Some(pass) = &mut self.pass {
            pass.renewals += 1;
        }
        self.look_at_expiry();
        if self.is_revoked() {
            self.lost = Some(&told::TOKEN_REQUIRED);
            return;
        }
        self.tell_done(space, reference);
        self.ask_again_for_all();
    }

    /// Who has not shown a token in time, or whose token has expired, goes. Warns who is about to. Looks at most once a
    /// second, whatever is delivered meanwhile.
    pub(super) fn keep_admitted(&mut self, now: u32) -> Result<(), End> {
        let Some(pass) = self.pass.as_mut().filter(|pass| pass.looked_at != now) else { return Ok(()) };
        pass.looked_at = now;
        if pass.auth_by.is_some_and(|by| now >= by) {
            return Err(End::Close(told::TOKEN_REQUIRED));
        }
        let clock = Instant::now();
        let mut due = pass.auth_by.unwrap_or(u32::MAX);
        for space in Space::ALL {
            let Some(badge) = self.badge(space) else { continue };
            let is_to_be_warned = badge.keep_time(clock).map_err(End::Close)?;
            due = badge.due_in(clock).map_or(due, |secs| due.min(now.saturating_add(secs)));
            if is_to_be_warned {
                self.warn_of_expiry(space);
            }
        }
        if let Some(pass) = &mut self.pass {
            pass.due = due;
        }
        Ok(())
    }

    /// Who is in a namespace; of other dialects, who is connected is in the main one.
    fn badge(&mut self, space: Space) -> Option<&mut Badge> {
        match (&self.socketio, space) {
            (Some(_), _) => self.seat_badge(space),
            (None, Space::Main) => self.pass.as_mut().map(|pass| &mut pass.badge),
            (None, Space::Executions) => None,
        }
    }

    /// Somebody new is in, or with another token: when that ends is to be looked at.
    pub(super) fn look_at_expiry(&mut self) {
        if let Some(pass) = &mut self.pass {
            pass.looked_at = 0;
        }
    }

    /// When it must be looked at again, as a second of the wheel.
    pub(super) fn admitted_until(&self) -> Option<u32> {
        self.pass.as_ref().map(|pass| pass.due)
    }

    /// Whether what any of its clients showed was taken back.
    pub(super) fn is_revoked(&mut self) -> bool {
        let guard = self.shared.guard.clone();
        let own = self.pass.as_ref().is_some_and(|pass| guard.is_revoked(&pass.badge.caller));
        own || Space::ALL.into_iter().any(|space| self.seat_badge(space).is_some_and(|badge| guard.is_revoked(&badge.caller)))
    }
}
