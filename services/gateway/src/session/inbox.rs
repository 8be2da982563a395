//! What a client says, and what is answered at once.

use super::{
    End, FOREIGN_MAX, Session, access,
    begin::{Begun, PageRead, Wanted},
    subscription::{Leaving, Place, Subscription, offset},
    timestamp,
};
use crate::{session::socketio::Space, transport::Dialect};
use weft_bus::BusError;
use weft_dialect::{
    native::{self, ClientMessage, Outcome, RoomRequest, Subscribe},
    told,
};
use weft_event::{Offset, Room};
use weft_guard::Verdict;

impl Session {
    /// Reads one message and does what it says.
    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<(), End> {
        let message = match native::decode(self.wire.encoding, bytes, &self.shared.limits.message) {
            Ok(message) => message,
            Err(refused) => {
                self.reply(refused.frame(self.wire.encoding, &timestamp()));
                self.foreign = if refused.is_protocol { 0 } else { self.foreign + 1 };
                return if self.foreign >= FOREIGN_MAX { Err(End::Close(told::NO_PROTOCOL)) } else { Ok(()) };
            }
        };
        self.foreign = 0;
        if self.is_unknown() && !matches!(message, ClientMessage::Auth { .. } | ClientMessage::Ping { .. }) {
            self.answer_refused(told::UNAUTHENTICATED, None);
            self.lost = Some(&told::TOKEN_REQUIRED);
            return Ok(());
        }
        match message {
            ClientMessage::Subscribe(subscribe) => self.subscribe(subscribe),
            ClientMessage::Unsubscribe { room, as_execution, reference } => {
                let room = self.at_home(Space::Main, room);
                self.unsubscribe(Space::Main, &room, Leaving { as_execution, reference })
            }
            ClientMessage::Ping { reference } => {
                self.reply(native::pong(self.wire.encoding, &timestamp(), reference.as_deref()));
            }
            ClientMessage::Auth { token, reference } => self.show(&token, reference),
            ClientMessage::ProvideInput { execution_id, request_id, value, reference } => {
                self.provide_input(Space::Main, &execution_id, &request_id, &value, reference);
            }
            ClientMessage::Cancel { execution_id, reason, reference } => {
                self.cancel(Space::Main, &execution_id, reason.as_deref(), reference);
            }
        }
        Ok(())
    }

    /// The same room in the tenant of who speaks: the one way from a client's words to a room.
    pub(super) fn at_home(&self, space: Space, room: Room) -> Room {
        match self.caller(space).tenant() {
            None => room,
            // A tenant of a verified token is a legal one.
            Some(tenant) => room.in_tenant(Some(tenant)).unwrap_or(room),
        }
    }

    fn subscribe(&mut self, subscribe: Subscribe) {
        let mut subscribe = subscribe;
        for request in &mut subscribe.rooms {
            request.room = self.at_home(Space::Main, request.room.clone());
        }
        for request in &subscribe.rooms {
            self.subscribe_one(Space::Main, request, &subscribe);
        }
    }

    pub(super) fn subscribe_one(&mut self, space: Space, request: &RoomRequest, subscribe: &Subscribe) {
        let already = self.subscriptions.iter_mut().find(|subscription| subscription.is_of(space, &request.room));
        match already {
            None => self.subscribe_anew(space, request, subscribe),
            Some(subscription) if subscription.has_begun() && !subscription.is_leaving() => {
                self.subscribe_again(space, request, subscribe);
            }
            Some(subscription) => {
                if !subscription.subscribe_later(request, subscribe) {
                    let message = "too many subscribes to a room that has not answered the first";
                    self.refuse(space, told::RATE_LIMITED, message, Some(&request.room), subscribe.reference.as_deref());
                }
            }
        }
    }

    /// Following twice is following once: nothing is told again.
    fn subscribe_again(&mut self, space: Space, request: &RoomRequest, subscribe: &Subscribe) {
        let index = self.subscriptions.iter().position(|subscription| subscription.is_of(space, &request.room));
        let at = index.and_then(|index| Some(offset(self.subscriptions[index].seen?, self.since(index))));
        if self.wire.dialect == Dialect::SocketIo {
            return self.tell_followed(space, at, subscribe.reference.as_deref());
        }
        self.tell_subscribed(request, subscribe.reference.as_deref(), Outcome::Live, true, at, &[]);
    }

    fn subscribe_anew(&mut self, space: Space, request: &RoomRequest, subscribe: &Subscribe) {
        if self.subscriptions.len() >= self.shared.limits.rooms {
            let message = format!("a connection follows at most {} rooms", self.shared.limits.rooms);
            return self.refuse(space, told::TOO_MANY_ROOMS, &message, Some(&request.room), subscribe.reference.as_deref());
        }
        let verdict = access::at_once(&self.shared, self.caller(space), &request.room);
        if matches!(verdict, Some(Verdict::No | Verdict::Pending)) {
            let (message, room) = (told::FORBIDDEN.sentence, Some(&request.room));
            return self.refuse(space, told::FORBIDDEN, message, room, subscribe.reference.as_deref());
        }
        let Ok(follower) = self.shared.hub.follow(&request.room, &self.cell) else {
            let (reference, room) = (subscribe.reference.as_deref(), Some(&request.room));
            return self.refuse(space, told::OVERLOADED, told::OVERLOADED.sentence, room, reference);
        };
        let key = self.next_key;
        self.next_key += 1;
        let subscription = Subscription::new(key, space, follower, subscribe);
        if self.subscriptions.len() == self.subscriptions.capacity() {
            // Most connections follow one room; what follows many wastes little.
            self.subscriptions.reserve_exact((self.subscriptions.len() / 8).clamp(1, 16));
        }
        self.subscriptions.push(subscription);
        let wanted = Wanted { resume: request.resume, snapshot: subscribe.snapshot, history_logs: subscribe.history_logs };
        let (is_alone, reference) = (subscribe.rooms.len() == 1, subscribe.reference.as_deref());
        match verdict {
            Some(Verdict::Yes) => {
                self.want(key);
                self.begin_following(key, request, wanted, is_alone, reference)
            }
            _ => self.ask_first(key, space, request, wanted, is_alone, reference),
        }
    }

    pub(super) fn note_resume(&mut self) {
        if !std::mem::replace(&mut self.resumed, true) {
            self.shared.hub.metrics.reconnected();
        }
    }

    /// A subscription cannot be served, and no retry would change that.
    pub(super) fn give_up(&mut self, key: u32, error: &BusError, reference: Option<&str>) {
        let Some(index) = self.subscriptions.iter().position(|subscription| subscription.key == key) else { return };
        let subscription = self.subscriptions.swap_remove(index);
        let (space, room) = (subscription.space, subscription.follower.room.name.clone());
        tracing::error!(%room, %error, "a room cannot be followed");
        self.refuse(space, told::INTERNAL, told::INTERNAL.sentence, Some(&room), reference);
    }

    /// A further page was read.
    pub(super) fn paged(&mut self, key: u32, page: PageRead) {
        let Some(subscription) = self.subscriptions.iter_mut().find(|subscription| subscription.key == key) else { return };
        if page.gap.is_some() {
            // What the broker has just told us may be news to the room's log.
            self.shared.feed.suspect(subscription.follower.room.clone());
        }
        subscription.paged(page);
    }

    /// A subscription can begin: answer it, then let it read.
    pub(super) fn begun(&mut self, key: u32, begun: Begun, request: &RoomRequest, reference: Option<&str>) {
        let Some(index) = self.subscriptions.iter().position(|subscription| subscription.key == key) else { return };
        let space = self.subscriptions[index].space;
        let mut refreshed = Vec::new();
        if space == Space::Main && self.copies.look_at(&self.subscriptions) {
            // Offsets given out so far lack where their follow began; the client needs it from now on.
            let others = self.subscriptions.iter().filter(|other| other.key != key && other.stands_where_it_was_told());
            refreshed =
                others.filter_map(|other| Some((other.follower.room.name.clone(), offset(other.seen?, other.since)))).collect();
        }
        let since = begun.since.filter(|_| self.has_copies(space));
        let at = begun.seen.map(|at| offset(at, since));
        match self.wire.dialect {
            Dialect::Native => self.tell_subscribed(request, reference, begun.outcome, begun.recovered, at, &refreshed),
            Dialect::SocketIo => self.packet_begun(index, &begun, at, reference),
            _ => self.tell_beginning(at, begun.snapshot.is_some() || begun.gap.is_some()),
        }
        self.shared.hub.metrics.subscribed(begun.outcome.word());
        let subscription = &mut self.subscriptions[index];
        if begun.outcome == Outcome::Gap {
            self.shared.feed.suspect(subscription.follower.room.clone());
        }
        let goes_on_in_log = begun.outcome == Outcome::Resumed && matches!(begun.place, Place::Log(_));
        subscription.begin(begun);
        if goes_on_in_log {
            self.shared.hub.metrics.replayed(subscription.behind());
        }
        for (request, subscribe) in self.subscriptions[index].take_again() {
            self.subscribe_one(space, &request, &subscribe);
        }
        self.settle_recovery(space);
    }

    fn tell_subscribed(
        &mut self,
        request: &RoomRequest,
        reference: Option<&str>,
        outcome: Outcome,
        recovered: bool,
        at: Option<Offset>,
        offsets: &[(Room, Offset)],
    ) {
        let at = at.map(|at| at.to_string());
        let answer = native::Subscribed {
            room: &request.room,
            as_execution: request.as_execution,
            outcome,
            offset: at.as_deref(),
            recovered,
            timestamp: &timestamp(),
            reference,
            offsets,
        };
        self.reply(native::subscribed(self.wire.encoding, &answer));
    }

    pub(super) fn unsubscribe(&mut self, space: Space, room: &Room, leaving: Leaving) {
        match self.subscriptions.iter_mut().find(|subscription| subscription.is_of(space, room)) {
            // It has asked before; one answer is due for each.
            Some(subscription) if subscription.is_leaving() => self.tell_unsubscribed(space, room, &leaving),
            Some(subscription) => {
                subscription.leave(leaving);
                self.leave_rooms();
            }
            None => self.tell_unsubscribed(space, room, &leaving),
        }
    }

    /// Ends the follows that clients want ended, once each has delivered what other rooms left to it.
    pub(super) fn leave_rooms(&mut self) {
        while let Some(index) = self.subscriptions.iter().position(Subscription::may_leave) {
            let mut subscription = self.subscriptions.swap_remove(index);
            self.look_for_pending();
            let space = subscription.space;
            if space == Space::Main {
                self.copies.remember(&subscription);
            }
            if let Some(leaving) = subscription.take_leaving() {
                let room = subscription.follower.room.name.clone();
                self.tell_unsubscribed(space, &room, &leaving);
            }
            for (request, subscribe) in subscription.take_again() {
                self.subscribe_one(space, &request, &subscribe);
            }
        }
    }

    pub(super) fn tell_unsubscribed(&mut self, space: Space, room: &Room, leaving: &Leaving) {
        if self.wire.dialect == Dialect::SocketIo {
            return self.packet_left(space, room, leaving.reference.as_deref());
        }
        let answer = native::Unsubscribed {
            room,
            as_execution: leaving.as_execution,
            timestamp: &timestamp(),
            reference: leaving.reference.as_deref(),
        };
        self.reply(native::unsubscribed(self.wire.encoding, &answer));
    }
}
