//! Subscriptions whose rooms are not known to be their client's: they wait, without data, until it is known or their time is
//! over. What does not exist and what is somebody else's look the same for as long.

use super::{
    Done, Session, access,
    begin::{self, Begun, Wanted},
    socketio::Space,
    subscription::{Place, Subscription},
};
use tokio::time::Instant;
use weft_dialect::{
    native::RoomRequest,
    told::{self, ErrorCode},
};
use weft_event::Resume;
use weft_guard::{
    Verdict,
    guard::{PENDING_MAX, Unanswered},
};

/// A subscribe that is being asked about.
pub(super) struct Asked {
    pub(super) key: u32,
    space: Space,
    request: RoomRequest,
    wanted: Wanted,
    /// Nothing else was asked for in the same message.
    is_alone: bool,
    reference: Option<String>,
    /// When it is refused.
    deadline: Instant,
    /// Where it begins once it may: where the room was when it was asked for, not when that became known.
    begun: Option<Begun>,
    /// The room's length when it was asked about last.
    seen_until: u64,
    is_waiting: bool,
    /// The token by which it was asked for last.
    token: u32,
}

/// What was found out about a subscribe.
pub(super) type Answered = (Box<Asked>, Result<Verdict, Unanswered>);

impl Session {
    /// Finds out whether a room may be followed, then follows it.
    pub(super) fn ask_first(
        &mut self,
        key: u32,
        space: Space,
        request: &RoomRequest,
        wanted: Wanted,
        is_alone: bool,
        reference: Option<&str>,
    ) {
        let asked = Asked {
            key,
            space,
            request: request.clone(),
            wanted,
            is_alone,
            reference: reference.map(str::to_owned),
            deadline: Instant::now() + self.shared.guard.pending,
            begun: None,
            seen_until: 0,
            is_waiting: false,
            token: 0,
        };
        self.ask(Box::new(asked));
    }

    fn ask(&mut self, mut asked: Box<Asked>) {
        let Some(subscription) = self.subscriptions.iter_mut().find(|of| of.key == asked.key) else { return };
        subscription.is_asked_about = true;
        let (room, shared) = (subscription.follower.room.clone(), self.shared.clone());
        let caller = self.caller(asked.space).clone();
        asked.seen_until = room.next_index();
        asked.token = self.token_number();
        self.operate(async move {
            // Opened first: what happens in it while it is asked about must not be missed.
            let is_open = room.wait_open().await.is_ok();
            if is_open && asked.begun.is_none() && asked.wanted.is_nothing() {
                asked.begun = Some(begin::live(&room));
            }
            let verdict = match asked.is_waiting {
                false => access::ask(&shared, &caller, &room.name).await,
                true => access::ask_again(&shared, &caller, &room.name).await,
            };
            Done::Asked(Box::new((asked, verdict)))
        });
    }

    /// It was found out, or not.
    pub(super) fn answered(&mut self, (asked, verdict): Answered) {
        let Some(index) = self.subscriptions.iter().position(|of| of.key == asked.key) else { return };
        if asked.token != self.token_number() {
            // Its client has shown another token meanwhile.
            return self.ask(asked);
        }
        self.subscriptions[index].is_asked_about = false;
        match verdict {
            Ok(Verdict::Yes) => {
                self.subscriptions[index].place = Place::Opening;
                self.look_for_pending();
                self.begin_allowed(*asked);
            }
            Ok(Verdict::No) => self.turn_down(asked.key, told::FORBIDDEN, asked.reference.as_deref()),
            Ok(Verdict::Pending) if asked.is_waiting => {
                if let Some(pass) = &mut self.pass {
                    pass.waiting.push(*asked);
                }
            }
            Ok(Verdict::Pending) => self.begin_waiting(index, asked),
            Err(error) => {
                tracing::warn!(%error, "whether a room may be followed cannot be found out");
                self.turn_down(asked.key, told::UNAVAILABLE, asked.reference.as_deref());
            }
        }
    }

    /// The client may follow this.
    pub(super) fn want(&self, key: u32) {
        if let Some(subscription) = self.subscriptions.iter().find(|of| of.key == key) {
            subscription.follower.room.want();
        }
    }

    fn begin_allowed(&mut self, asked: Asked) {
        let Asked { key, request, wanted, is_alone, reference, begun, .. } = asked;
        self.want(key);
        match begun {
            Some(begun) => self.begun(key, begun, &request, reference.as_deref()),
            None => self.begin_following(key, &request, wanted, is_alone, reference.as_deref()),
        }
    }

    /// Nothing is known of the room, or that it is somebody else's.
    fn begin_waiting(&mut self, index: usize, mut asked: Box<Asked>) {
        // A client that wants its session back is not kept waiting for it.
        if self.is_recovering(asked.space) {
            return self.turn_down(asked.key, told::FORBIDDEN, asked.reference.as_deref());
        }
        if self.subscriptions.iter().filter(|of| of.is_pending()).count() >= PENDING_MAX {
            return self.turn_down(asked.key, told::TOO_MANY_PENDING, asked.reference.as_deref());
        }
        self.subscriptions[index].place = Place::Unknown;
        self.copies.has_pending = true;
        asked.is_waiting = true;
        let (key, deadline, reference) = (asked.key, asked.deadline, asked.reference.clone());
        self.operate(async move {
            tokio::time::sleep_until(deadline).await;
            Done::Overdue(key, reference)
        });
        // Once more at once: it may have become known between the question and now.
        self.ask(asked);
    }

    /// Whether some room still waits.
    pub(super) fn look_for_pending(&mut self) {
        self.copies.has_pending = self.copies.has_pending && self.subscriptions.iter().any(Subscription::is_pending);
    }

    /// Its time is over.
    pub(super) fn overdue(&mut self, key: u32, reference: Option<&str>) {
        if self.subscriptions.iter().any(|of| of.key == key && of.is_pending()) {
            self.turn_down(key, told::FORBIDDEN, reference);
        }
    }

    /// Asks again about rooms in which something has happened.
    pub(super) fn look_at_waiting(&mut self) {
        let Some(pass) = &mut self.pass else { return };
        if pass.waiting.is_empty() {
            return;
        }
        let length = |key: u32| self.subscriptions.iter().find(|of| of.key == key).map(|of| of.follower.room.next_index());
        // What has been left meanwhile is due as well, and is forgotten.
        let due: Vec<_> = pass.waiting.extract_if(.., |asked| length(asked.key) != Some(asked.seen_until)).collect();
        if pass.waiting.is_empty() {
            pass.waiting = Vec::new();
        }
        due.into_iter().for_each(|asked| self.ask(Box::new(asked)));
    }

    /// A subscription that has not begun does not.
    fn turn_down(&mut self, key: u32, code: ErrorCode, reference: Option<&str>) {
        let Some(index) = self.subscriptions.iter().position(|of| of.key == key) else { return };
        let mut subscription = self.subscriptions.swap_remove(index);
        self.look_for_pending();
        let (space, room) = (subscription.space, subscription.follower.room.name.clone());
        let leaving = subscription.take_leaving();
        self.refuse(space, code, code.sentence, Some(&room), reference);
        if let Some(leaving) = leaving {
            self.tell_unsubscribed(space, &room, &leaving);
        }
        for (_, subscribe) in subscription.take_again() {
            self.refuse(space, code, code.sentence, Some(&room), subscribe.reference.as_deref());
        }
        self.shared.hub.leave(subscription.follower);
    }

    /// Asks again about everything that is followed: a new token may allow less. What is being asked about is asked again
    /// when that is answered.
    pub(super) fn ask_again_for_all(&mut self) {
        let followed: Vec<_> = self
            .subscriptions
            .iter()
            .filter(|of| !of.is_pending() && !of.is_asked_about)
            .map(|of| (of.key, of.space, of.follower.room.name.clone()))
            .collect();
        for (key, space, room) in followed {
            let caller = self.caller(space).clone();
            if access::at_once(&self.shared, &caller, &room) == Some(Verdict::Yes) {
                continue;
            }
            let shared = self.shared.clone();
            self.operate(async move { Done::AskedAgain(key, access::ask(&shared, &caller, &room).await) });
        }
    }

    /// Whether what is followed may be followed still.
    pub(super) fn answered_again(&mut self, key: u32, verdict: &Result<Verdict, Unanswered>) {
        match verdict {
            Ok(Verdict::Yes) => {}
            Ok(_) => self.turn_down(key, told::FORBIDDEN, None),
            Err(error) => {
                tracing::warn!(%error, "whether a room may still be followed cannot be found out");
                self.turn_down(key, told::UNAVAILABLE, None);
            }
        }
    }

    /// A subscription that may begin: from now on other rooms leave to it what is its own.
    pub(super) fn begin_following(
        &mut self,
        key: u32,
        request: &RoomRequest,
        wanted: Wanted,
        is_alone: bool,
        reference: Option<&str>,
    ) {
        let Some(subscription) = self.subscriptions.iter_mut().find(|of| of.key == key) else { return };
        let (room, space) = (subscription.follower.room.clone(), subscription.space);
        // A returning client brings where its follow began, so other rooms need not wait to know it.
        if let Some(Resume::After(offset)) = wanted.resume {
            subscription.since = Some((offset.at.epoch, offset.since.unwrap_or(offset.at.seq)));
            self.note_resume();
        }
        // Where several are asked for at once, each must be known before the first is answered.
        if is_alone && wanted.is_nothing() && room.is_open() {
            return self.begun(key, begin::live(&room), request, reference);
        }
        let caller = self.caller(space).clone();
        let (shared, request, reference) = (self.shared.clone(), request.clone(), reference.map(str::to_owned));
        let reader = self.reader();
        self.operate(async move {
            if !wanted.is_nothing() {
                access::paced(&shared, &caller).await;
            }
            let begun = begin::begin(&shared.hub, &room, wanted, reader).await;
            Done::Begun(key, begun, request, reference)
        });
    }
}
