//! One lean client: a socket and what it has seen of its rooms, a few hundred bytes. No buffer of its own unless a
//! frame is cut, no task and no timer; the loop that holds many of them is the [`swarm`](crate::swarm).

mod chunk;
pub(crate) mod connection;
pub(crate) mod frame;
pub(crate) mod inflate;
pub(crate) mod mark;
pub(crate) mod seen;
pub(crate) mod speech;
pub(crate) mod token;

use crate::swarm::{
    common::Common,
    order::{Follow, Rooms},
};
use connection::Connection;
use frame::{CLOSE, PING, PONG};
use mark::Mark;
use memchr::memmem;
use seen::{Seen, Sight};
use speech::{Asked, From, Said, Session};
use std::io;

/// Between two messages of an event stream.
const BLANK_LINE: &[u8] = b"\n\n";

/// A client, connected or not.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection,
    /// Which server it goes to.
    pub(crate) server: u32,
    pub(crate) follow: Follow,
    /// When its connection ended or was left, until it has an event that was due after that; 0 otherwise.
    pub(crate) cut_us: u64,
    /// Whether a connection of its has ended that was not meant to.
    pub(crate) was_cut: bool,
    /// Whether it may ask for rooms: it is in its namespace, where there are any.
    is_in: bool,
    /// What Socket.IO's clients keep to have their session back, where clients come back.
    session: Option<Box<Session>>,
    rooms: Box<[Followed]>,
}

/// What a client knows of a room it follows.
#[derive(Debug)]
struct Followed {
    room: u32,
    seen: Seen,
    /// The last offset, where clients come back. Boxed twice: most runs keep none.
    #[allow(clippy::box_collection, reason = "eight bytes for each of millions instead of twenty-four")]
    offset: Option<Box<Vec<u8>>>,
}

/// What reading has led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The upgrade was granted just now.
    pub(crate) opened: bool,
    /// At least one event came.
    pub(crate) events: bool,
}

impl Client {
    pub(crate) fn new(number: u32, rooms: &Rooms) -> Self {
        let rooms = rooms.of(number).map(|room| Followed { room, seen: Seen::default(), offset: None }).collect();
        Self {
            connection: Connection::default(),
            server: 0,
            follow: Follow::Later,
            cut_us: 0,
            was_cut: false,
            is_in: false,
            session: None,
            rooms,
        }
    }

    /// Reads what there is, at most `scratch`, and acts on it.
    pub(crate) fn read(&mut self, scratch: &mut [u8], common: &mut Common, number: u32) -> io::Result<Progress> {
        let mut progress = Progress::default();
        let Some(length) = self.connection.read(scratch)? else { return Ok(progress) };
        common.counts.bytes += length as u64;
        let joined = self.connection.joined(&scratch[..length]);
        let mut rest = joined.as_deref().unwrap_or(&scratch[..length]);
        if !self.connection.is_open() {
            match connection::granted(rest, common.setup.speech.is_stream())? {
                Some(after) => rest = after,
                None => return self.connection.keep(rest).map(|()| progress),
            }
            progress.opened = true;
            self.opened(common, number)?;
        }
        let stream = common.setup.speech.is_stream();
        progress.events = if stream { self.chunks(rest, common, number) } else { self.frames(rest, common, number) }?;
        Ok(progress)
    }

    /// Whether any of these frames of a WebSocket brought an event.
    fn frames(&mut self, mut rest: &[u8], common: &mut Common, number: u32) -> io::Result<bool> {
        let mut events = false;
        while let Some(frame) = frame::parse(rest) {
            rest = &rest[frame.length..];
            match frame.opcode {
                PING => self.connection.send(&frame::client_frame(PONG, frame.payload))?,
                CLOSE => return Err(io::Error::other(close_reason(frame.payload))),
                // Whole messages and pieces of one: a mark is never cut, an event being a single frame everywhere.
                opcode if opcode < CLOSE => events |= self.payload(frame.payload, frame.compressed, common, number)?,
                _ => {}
            }
        }
        self.connection.keep(rest).map(|()| events)
    }

    /// Whether any of these chunks of an event stream brought an event. A message may be cut by whoever passes it on.
    fn chunks(&mut self, mut rest: &[u8], common: &mut Common, number: u32) -> io::Result<bool> {
        let (mut events, mut cut) = (false, Vec::new());
        while let Some(chunk) = chunk::parse(rest)? {
            rest = &rest[chunk.length..];
            if chunk.payload.is_empty() {
                return Err(io::Error::other("the stream has ended"));
            }
            cut.extend_from_slice(if cut.is_empty() { &[] } else { chunk.payload });
            let text = if cut.is_empty() { chunk.payload } else { &cut };
            let whole = memmem::rfind(text, BLANK_LINE).map_or(0, |at| at + BLANK_LINE.len());
            events |= self.messages(&text[..whole], common, number)?;
            cut = text[whole..].to_vec();
        }
        if cut.is_empty() {
            return self.connection.keep(rest).map(|()| events);
        }
        let kept = [&chunk::chunk(&cut), rest].concat();
        self.connection.keep(&kept).map(|()| events)
    }

    fn messages(&mut self, mut text: &[u8], common: &mut Common, number: u32) -> io::Result<bool> {
        let mut events = false;
        while let Some(end) = memmem::find(text, BLANK_LINE) {
            events |= self.message(&text[..end], common, number)?;
            text = &text[end + BLANK_LINE.len()..];
        }
        Ok(events)
    }

    /// The request that begins its connection.
    pub(crate) fn request(&self, common: &Common, number: u32) -> String {
        let speech = common.setup.speech;
        let host = common.setup.servers[self.server as usize].to_string();
        let token = if speech.greets_with_token() { None } else { common.token(number) };
        let asked = Asked { host: &host, rooms: &self.asked(common), deflate: common.setup.deflate, token: token.as_deref() };
        speech.request(&asked)
    }

    fn opened(&mut self, common: &mut Common, number: u32) -> io::Result<()> {
        let speech = common.setup.speech;
        self.connection.set_open();
        common.counts.open += 1;
        let token = if speech.greets_with_token() { common.token(number) } else { None };
        self.connection.send(&speech.greeting(token.as_deref(), self.session.as_deref()))?;
        self.is_in = false;
        if speech.is_socket_io() {
            return Ok(());
        }
        if speech.follows_by_connecting() {
            common.counts.subscribed += self.rooms.len() as u64;
        }
        self.entered(common)
    }

    /// It is connected, all told.
    fn entered(&mut self, common: &mut Common) -> io::Result<()> {
        self.is_in = true;
        common.counts.connected += 1;
        if self.follow == Follow::Later { Ok(()) } else { self.subscribe(common) }
    }

    /// It is in its namespace, maybe with the session that it had before.
    fn joined(&mut self, payload: &[u8], common: &mut Common) -> io::Result<()> {
        let pid = common.setup.speech.pid(payload).filter(|_| common.setup.come_back.is_some());
        if let Some(pid) = pid {
            let offset = self.session.take().map_or_else(Vec::new, |session| {
                common.counts.recovered += u64::from(session.pid == pid);
                session.offset
            });
            self.session = Some(Box::new(Session { pid, offset }));
        }
        // Also of what was recovered: applications ask for their rooms whenever they are connected.
        self.entered(common)
    }

    /// Its rooms, each with where to go on.
    fn asked(&self, common: &Common) -> Vec<(String, From<'_>)> {
        let first = if self.follow == Follow::FromStart { From::Start } else { From::Now };
        let asked = self.rooms.iter().map(|followed| {
            let from = followed.offset.as_ref().map_or(first, |offset| From::After(offset));
            (common.setup.rooms.name(followed.room), from)
        });
        asked.collect()
    }

    /// Follows its rooms, after the last offsets it has seen; later, if it is not in yet.
    pub(crate) fn subscribe(&mut self, common: &Common) -> io::Result<()> {
        if !self.is_in {
            return Ok(());
        }
        let frames = common.setup.speech.subscribe(&self.asked(common));
        self.connection.send(&frames)
    }

    /// Says something of about so many bytes.
    pub(crate) fn say(&mut self, bytes: u32, common: &Common) -> io::Result<()> {
        if !self.is_in {
            return Ok(());
        }
        self.connection.send(&common.setup.speech.say(bytes as usize))
    }

    /// Whether the message brought an event.
    fn payload(&mut self, payload: &[u8], compressed: bool, common: &mut Common, number: u32) -> io::Result<bool> {
        if !compressed {
            return self.message(payload, common, number);
        }
        let mut inflater = common.inflater.take().unwrap_or_else(inflate::Inflater::new);
        let events = inflater.inflate(payload).and_then(|message| self.message(message, common, number));
        common.inflater = Some(inflater);
        events
    }

    fn message(&mut self, payload: &[u8], common: &mut Common, number: u32) -> io::Result<bool> {
        let mut last = None;
        let broken = mark::each(payload, |mark| last = Some(self.event(mark, common, number)));
        common.counts.errors += u64::from(broken);
        match last {
            Some(at) => self.keep_offset(at, payload, common),
            None => self.answer(payload, common)?,
        }
        Ok(last.is_some())
    }

    /// Keeps where to go on, where clients come back: of this room, or of the session.
    fn keep_offset(&mut self, room: Option<usize>, payload: &[u8], common: &Common) {
        if common.setup.come_back.is_none() {
            return;
        }
        let Some(offset) = common.setup.speech.offset(payload) else { return };
        match (&mut self.session, room) {
            (Some(session), _) => replace(&mut session.offset, offset),
            (None, Some(at)) => self.rooms[at].keep_offset(offset),
            (None, None) => {}
        }
    }

    /// Where the event's room stands among its own.
    fn event(&mut self, mark: Mark, common: &mut Common, number: u32) -> Option<usize> {
        let Some(at) = self.rooms.iter().position(|followed| followed.room == mark.room) else {
            common.counts.errors += 1;
            common.remark(|| format!("an event of room {} reached client {number}, who does not follow it", mark.room));
            return None;
        };
        match self.rooms[at].seen.note(mark.counter) {
            Sight::Again => {
                common.counts.duplicated += 1;
                return Some(at);
            }
            Sight::Late => common.counts.misordered += 1,
            Sight::Fresh => {}
        }
        common.counts.delivered += 1;
        if self.cut_us != 0 && mark.due_us > self.cut_us {
            // In order, so everything before it has come as well.
            common.record_outage(std::mem::take(&mut self.cut_us));
        }
        common.record_latency(mark.due_us, number, !self.was_cut);
        Some(at)
    }

    fn answer(&mut self, payload: &[u8], common: &mut Common) -> io::Result<()> {
        let speech = common.setup.speech;
        match speech.understand(payload) {
            Said::Joined => self.joined(payload, common)?,
            Said::Subscribed { rooms, gap } => {
                common.counts.subscribed += u64::from(rooms);
                common.counts.gaps += u64::from(gap);
                let room = speech.room(payload).and_then(|name| common.setup.rooms.number(name));
                self.keep_tail(self.rooms.iter().position(|followed| Some(followed.room) == room), payload, common);
            }
            Said::Tail => self.keep_tail(Some(0), payload, common),
            Said::Gap => common.counts.gaps += 1,
            Said::Refused => {
                common.counts.errors += 1;
                common.remark(|| String::from_utf8_lossy(payload).into_owned());
            }
            Said::Expects(frame) => self.connection.send(&frame)?,
            // Of Socket.IO's the last string of any event is an offset.
            Said::Other => self.keep_offset(None, payload, common),
        }
        Ok(())
    }

    /// A tail is where to go on only for those who asked for nothing before it.
    fn keep_tail(&mut self, room: Option<usize>, payload: &[u8], common: &Common) {
        let has_none = |at: &usize| self.rooms.get(*at).is_some_and(|followed| followed.offset.is_none());
        if self.follow == Follow::Now && room.as_ref().is_some_and(has_none) {
            self.keep_offset(room, payload, common);
        }
    }

    /// How many of the published events of its rooms it has not seen.
    pub(crate) fn missing(&self, published: &[u32]) -> u64 {
        self.rooms.iter().map(|followed| followed.seen.missing(of_room(published, followed.room))).sum()
    }

    /// The first of them: its room, its counter, and how many of the room are missing.
    pub(crate) fn first_missing(&self, published: &[u32]) -> Option<(u32, u32, u64)> {
        self.rooms.iter().find_map(|followed| {
            let published = of_room(published, followed.room);
            Some((followed.room, followed.seen.first_missing(published)?, followed.seen.missing(published)))
        })
    }
}

impl Followed {
    fn keep_offset(&mut self, offset: &[u8]) {
        replace(self.offset.get_or_insert_default(), offset);
    }
}

/// Keeps the memory that is there.
fn replace(kept: &mut Vec<u8>, by: &[u8]) {
    kept.clear();
    kept.extend_from_slice(by);
}

/// What was published to a room, where one number may stand for all.
fn of_room(published: &[u32], room: u32) -> u32 {
    published.get(room as usize).or(published.first()).copied().unwrap_or(0)
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            format!("closed with {} {}", u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason))
        }
        _ => "closed without a code".into(),
    }
}
