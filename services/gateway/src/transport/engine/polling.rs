//! A session that is asked by HTTP: one poll that waits, one post whose packets are taken one by one, one WebSocket that
//! probes. What is to be told stays with the session until a poll takes it.

use super::{Ask, Frame, Gone, Received, Registered, State, WIRE, WebSocket, Written, how_it_ends, parsed};
use crate::transport::{Transport, WebSocketLimits};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::oneshot;
use weft_dialect::engine::{Action, Control, Ended, Input, Packet, Payload, Refusal};

type PollAnswer = oneshot::Sender<Result<Bytes, Refusal>>;
type Take<'t> = &'t mut dyn FnMut(Received<'_>) -> bool;

/// Most packets in one answer: Python's client (`max_decode_packets` of python-engineio) takes no more.
const PACKETS_MAX: usize = 16;

/// Parts the packets of a payload.
const SEPARATOR: u8 = 0x1e;

/// What carries a polling session.
pub(super) struct Polling {
    registered: Registered,
    /// The poll that waits.
    poll: Option<PollAnswer>,
    /// The packet with which the waiting poll is to be ended, after what else there is.
    last: Option<Control>,
    /// The post whose packets are being taken.
    post: Option<Post>,
    probe: Option<WebSocket>,
    /// To be written to the probing WebSocket.
    to_probe: VecDeque<Frame>,
    has_upgraded: bool,
    /// A poll was answered with the packet that ends it.
    has_ended_poll: bool,
    payload_bytes_max: usize,
}

/// A post, and what is left of it; `None` once its last packet was taken.
struct Post {
    left: Option<Bytes>,
    done: oneshot::Sender<Result<(), Refusal>>,
}

impl Post {
    /// The next packet's bytes.
    fn next(&mut self) -> Option<Bytes> {
        let left = self.left.as_mut()?;
        match left.iter().position(|byte| *byte == SEPARATOR) {
            Some(at) => {
                let packet = left.split_to(at);
                let _ = left.split_to(1);
                Some(packet)
            }
            None => self.left.take(),
        }
    }
}

/// Adds a frame; whether it had room.
fn push(payload: &mut Payload, frame: &Frame) -> bool {
    let parts = frame.without_header();
    if frame.is_binary() { payload.push_binary(&parts.concat()) } else { payload.push_text(&parts) }
}

impl Polling {
    pub(super) fn new(registered: Registered, payload_bytes_max: usize) -> Self {
        Self {
            registered,
            poll: None,
            last: None,
            post: None,
            probe: None,
            to_probe: VecDeque::new(),
            has_upgraded: false,
            has_ended_poll: false,
            payload_bytes_max,
        }
    }

    /// Its client has shown a token.
    pub(super) fn know(&mut self, limits: Arc<WebSocketLimits>) {
        self.registered.mailbox.know();
        if let Some(probe) = &mut self.probe {
            probe.set_limits(limits);
        }
    }

    pub(super) fn has_upgraded(&self) -> bool {
        self.has_upgraded
    }

    /// The WebSocket that is the session's from here on.
    pub(super) fn take_upgraded(&mut self) -> Option<WebSocket> {
        self.probe.take().filter(|_| self.has_upgraded)
    }

    pub(super) fn end_poll_with(&mut self, last: Control) {
        self.last = Some(last);
    }

    pub(super) fn close_probe(&mut self) {
        self.probe = None;
        self.to_probe.clear();
    }

    /// Takes what was asked, as [`Transport::poll_receive`] does.
    pub(super) fn poll_receive(
        &mut self,
        state: &mut State,
        context: &mut Context<'_>,
        take: Take<'_>,
    ) -> Poll<Result<(), Gone>> {
        loop {
            if self.post.is_some() && !self.take_post(state, take) {
                return Poll::Ready(Ok(()));
            }
            let Some(ask) = self.registered.mailbox.take(context) else { break };
            if !self.answer(state, ask, take) {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_probe(state, context);
        Poll::Pending
    }

    /// Whether more is taken.
    fn answer(&mut self, state: &mut State, ask: Ask, take: Take<'_>) -> bool {
        match ask {
            Ask::Poll(answer) => self.answer_poll(state, answer, take),
            Ask::Answered => self.act(state, Input::PollAnswered, None, take),
            Ask::AnswerLost => self.act(state, Input::Gone, None, take),
            // It may have been another one than that which waits.
            Ask::PollGone if self.poll.take_if(|poll| poll.is_closed()).is_some() => self.act(state, Input::PollGone, None, take),
            Ask::PollGone => true,
            Ask::Post(body, done) => {
                let mut refused = None;
                let more = self.act(state, Input::Post, Some(&mut refused), take);
                match refused {
                    Some(refusal) => _ = done.send(Err(refusal)),
                    None => self.post = Some(Post { left: Some(body), done }),
                }
                more
            }
            Ask::Probe(socket) => {
                let mut refused = None;
                let more = self.act(state, Input::ProbeOpened, Some(&mut refused), take);
                if refused.is_none() {
                    self.probe = Some(*socket);
                }
                more
            }
        }
    }

    fn answer_poll(&mut self, state: &mut State, answer: PollAnswer, take: Take<'_>) -> bool {
        let mut refused = None;
        let second = if self.poll.is_some() { Some(answer) } else { self.poll.replace(answer) };
        let more = self.act(state, Input::Poll, Some(&mut refused), take);
        if let Some(refusal) = refused {
            let answer = second.or_else(|| self.poll.take());
            answer.into_iter().for_each(|answer| _ = answer.send(Err(refusal)));
        }
        more
    }

    /// Does what the state machine says; whether more is taken.
    fn act(&mut self, state: &mut State, input: Input<'_>, refused: Option<&mut Option<Refusal>>, take: Take<'_>) -> bool {
        let (mut more, mut refusal) = (true, None);
        for action in state.session.take(state.now, &state.times, input) {
            match action {
                Action::AnswerPoll(last) => self.last = Some(last),
                Action::Refuse(why) => refusal = Some(why),
                Action::End(ended) => {
                    state.ended = Some(ended);
                    more &= take(how_it_ends(ended));
                }
                Action::SendProbe(control) => self.to_probe.push_back(WIRE.own(control.text().into())),
                Action::CloseProbe => self.close_probe(),
                Action::Upgraded => self.has_upgraded = true,
                Action::Deliver(_) | Action::Send(_) => {}
            }
        }
        if let Some(refused) = refused {
            *refused = refusal;
        }
        more
    }

    /// Takes the packets of the post; whether more is taken, of it or of others.
    fn take_post(&mut self, state: &mut State, take: Take<'_>) -> bool {
        while let Some(bytes) = self.post.as_mut().and_then(Post::next) {
            let more = state.packet(parsed(&bytes), take);
            if let Some(ended) = state.ended {
                let last = if ended == Ended::ByClient { Control::Noop } else { Control::Close };
                self.last = Some(last);
                let answer = if ended == Ended::Violation { Err(Refusal::BadRequest) } else { Ok(()) };
                self.post.take().into_iter().for_each(|post| _ = post.done.send(answer));
                return more;
            }
            if !more {
                return false;
            }
        }
        if let Some(post) = self.post.take() {
            let _ = post.done.send(Ok(()));
        }
        self.act(state, Input::PostDone, None, take)
    }

    /// Reads and writes the probing WebSocket.
    fn poll_probe(&mut self, state: &mut State, context: &mut Context<'_>) {
        let Some(mut probe) = self.probe.take() else { return };
        let mut is_open = true;
        let read = probe.poll_receive(context, &mut |received| {
            let input = match received {
                Received::Text(bytes) => parsed(bytes).map_or(Input::ProbeGone, Input::Probe),
                Received::Binary(bytes) => Input::Probe(Packet::binary(bytes)),
                Received::Alive | Received::Pong(_) => return true,
                Received::Faulty(_) | Received::Closed(_) => Input::ProbeGone,
            };
            is_open &= !matches!(input, Input::ProbeGone);
            // Nothing of a probe ends the session.
            for action in state.session.take(state.now, &state.times, input) {
                match action {
                    Action::AnswerPoll(last) => self.last = Some(last),
                    Action::SendProbe(control) => self.to_probe.push_back(WIRE.own(control.text().into())),
                    Action::CloseProbe => is_open = false,
                    Action::Upgraded => self.has_upgraded = true,
                    _ => {}
                }
            }
            is_open && !self.has_upgraded
        });
        if let Poll::Ready(Err(_)) = read {
            let _ = state.session.take(state.now, &state.times, Input::ProbeGone);
            is_open = false;
        }
        if self.has_upgraded {
            // It has no more use for polls; what there is to tell goes by the WebSocket.
            self.answer_with(Control::Noop);
        }
        if is_open && probe.poll_write(context, &mut self.to_probe).is_ok() {
            self.probe = Some(probe);
        } else if !self.has_upgraded {
            let _ = state.session.take(state.now, &state.times, Input::ProbeGone);
            self.to_probe.clear();
        } else {
            // Its first write has failed; its first read says so as well.
            self.probe = Some(probe);
        }
    }

    /// Answers the waiting poll with this packet alone.
    fn answer_with(&mut self, control: Control) {
        self.last = None;
        if let Some(poll) = self.poll.take() {
            let _ = poll.send(Ok(Bytes::from_static(control.text().as_bytes())));
            self.has_ended_poll = true;
        }
    }

    pub(super) fn has_more(&self, ping: bool) -> bool {
        (self.poll.is_some() && (ping || self.last.is_some())) || !self.to_probe.is_empty()
    }

    /// Answers the waiting poll with what there is, as much as it may hold.
    pub(super) fn write(
        &mut self,
        state: &mut State,
        context: &mut Context<'_>,
        frames: &mut VecDeque<Frame>,
    ) -> Result<Written, Gone> {
        if let Some(probe) = &mut self.probe
            && !self.to_probe.is_empty()
        {
            probe.poll_write(context, &mut self.to_probe)?;
            self.to_probe.clear();
        }
        let mut written = Written::default();
        if self.poll.is_none() {
            // The next poll takes what waits, and only then is more read.
            written.blocked = !frames.is_empty();
            return Ok(written);
        }
        // Room for the packet that ends it.
        let mut payload = Payload::new(self.payload_bytes_max.saturating_sub(8));
        let mut packets = usize::from(self.last.is_some());
        for text in state.first_texts() {
            let _ = payload.push_text(&[&text]);
            packets += 1;
        }
        while packets < PACKETS_MAX
            && let Some(frame) = frames.front()
            && push(&mut payload, frame)
        {
            packets += 1;
            written.bytes += frame.wire_bytes();
            written.events += u64::from(frame.events);
            frames.pop_front();
        }
        if let Some(last) = self.last.take() {
            self.has_ended_poll = true;
            if last != Control::Noop || payload.is_empty() {
                let _ = payload.push_text(&[last.text().as_bytes()]);
            }
        }
        if !payload.is_empty()
            && let Some(poll) = self.poll.take()
        {
            // Its client is gone, and what was for it is lost: the session is over, as it is for the client.
            poll.send(Ok(payload.into_bytes().into())).map_err(|_| Gone(io::ErrorKind::ConnectionReset.into()))?;
        }
        written.blocked = !frames.is_empty();
        Ok(written)
    }

    pub(super) fn begin_close(&mut self, state: &mut State) {
        // Whoever posts is answered before it is told to go.
        self.act(state, Input::Close, None, &mut |_| true);
        if let Some(last) = self.last {
            self.answer_with(last);
        }
    }

    /// Waits for a poll that fetches the goodbye. That of a client which has said it may have been overtaken by it.
    pub(super) fn poll_close(&mut self, state: &mut State, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let is_over = match state.ended {
                None => false,
                Some(Ended::ByClient) => self.has_ended_poll,
                Some(_) => true,
            };
            if is_over {
                return Poll::Ready(());
            }
            match (self.registered.mailbox.take(context), state.ended) {
                (None, _) => return Poll::Pending,
                (Some(Ask::Poll(answer)), Some(_)) => {
                    self.poll = Some(answer);
                    self.answer_with(Control::Noop);
                }
                (Some(_), Some(_)) => {}
                (Some(ask), None) => _ = self.answer(state, ask, &mut |_| false),
            }
            if let Some(last) = self.last {
                self.answer_with(last);
            }
        }
    }
}
