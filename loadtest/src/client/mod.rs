//! One lean client: a socket and what it has seen of its rooms, a few hundred bytes. No buffer of its own unless a
//! frame is cut, no task and no timer; the loop that holds many of them is the [`swarm`](crate::swarm).

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
use seen::{Seen, Sight};
use speech::{From, Said};
use std::io;

/// A client, connected or not.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection,
    /// Which server it goes to.
    pub(crate) server: u32,
    pub(crate) follow: Follow,
    /// When its connection ended or was left, until it has an event that was due after that; 0 otherwise.
    pub(crate) cut_us: u64,
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
        Self { connection: Connection::default(), server: 0, follow: Follow::Later, cut_us: 0, rooms }
    }

    /// Reads what there is, at most `scratch`, and acts on it.
    pub(crate) fn read(&mut self, scratch: &mut [u8], common: &mut Common, number: u32) -> io::Result<Progress> {
        let mut progress = Progress::default();
        let Some(length) = self.connection.read(scratch)? else { return Ok(progress) };
        common.counts.bytes += length as u64;
        let joined = self.connection.joined(&scratch[..length]);
        let mut rest = joined.as_deref().unwrap_or(&scratch[..length]);
        if !self.connection.is_open() {
            match connection::upgraded(rest)? {
                Some(after) => rest = after,
                None => return self.connection.keep(rest).map(|()| progress),
            }
            progress.opened = true;
            self.opened(common)?;
        }
        while let Some(frame) = frame::parse(rest) {
            rest = &rest[frame.length..];
            match frame.opcode {
                PING => self.connection.send(&frame::client_frame(PONG, frame.payload))?,
                CLOSE => return Err(io::Error::other(close_reason(frame.payload))),
                // Whole messages and pieces of one: a mark is never cut, an event being a single frame everywhere.
                opcode if opcode < CLOSE => {
                    progress.events |= self.payload(frame.payload, frame.compressed, common, number)?;
                }
                _ => {}
            }
        }
        self.connection.keep(rest).map(|()| progress)
    }

    fn opened(&mut self, common: &mut Common) -> io::Result<()> {
        self.connection.set_open();
        common.counts.connected += 1;
        common.counts.open += 1;
        self.connection.send(&common.setup.speech.greeting())?;
        if common.setup.speech.follows_by_connecting() {
            common.counts.subscribed += self.rooms.len() as u64;
        }
        if self.follow == Follow::Later { Ok(()) } else { self.subscribe(common) }
    }

    /// The names of its rooms.
    pub(crate) fn room_names(&self, rooms: &Rooms) -> Vec<String> {
        self.rooms.iter().map(|followed| rooms.name(followed.room)).collect()
    }

    /// Follows its rooms, after the last offsets it has seen.
    pub(crate) fn subscribe(&mut self, common: &Common) -> io::Result<()> {
        let rooms = &common.setup.rooms;
        let from = |followed: &Followed| match (&followed.offset, self.follow) {
            (Some(_), _) | (None, Follow::Later | Follow::Now) => From::Now,
            (None, Follow::FromStart) => From::Start,
        };
        let asked: Vec<_> = self
            .rooms
            .iter()
            .map(|followed| {
                let offset = followed.offset.as_ref().map(|offset| From::After(offset));
                (rooms.name(followed.room), offset.unwrap_or_else(|| from(followed)))
            })
            .collect();
        let frames = common.setup.speech.subscribe(&asked);
        drop(asked);
        self.connection.send(&frames)
    }

    /// Says something of about so many bytes.
    pub(crate) fn say(&mut self, bytes: u32, common: &Common) -> io::Result<()> {
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
            Some(Some(at)) if common.setup.come_back.is_some() => {
                if let Some(offset) = common.setup.speech.offset(payload) {
                    self.rooms[at].keep_offset(offset);
                }
            }
            Some(_) => {}
            None => self.answer(payload, common)?,
        }
        Ok(last.is_some())
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
        common.record_latency(mark.due_us, number);
        Some(at)
    }

    fn answer(&mut self, payload: &[u8], common: &mut Common) -> io::Result<()> {
        let speech = common.setup.speech;
        match speech.understand(payload) {
            Said::Subscribed { rooms, gap } => {
                common.counts.subscribed += u64::from(rooms);
                common.counts.gaps += u64::from(gap);
                let room = speech.room(payload).and_then(|name| common.setup.rooms.number(name));
                let followed = self.rooms.iter_mut().find(|followed| Some(followed.room) == room);
                // A tail is where to go on only for those who asked for nothing before it.
                let wanted = self.follow == Follow::Now && common.setup.come_back.is_some();
                if let (Some(followed), true, Some(offset)) = (followed, wanted, speech.offset(payload))
                    && followed.offset.is_none()
                {
                    followed.keep_offset(offset);
                }
            }
            Said::Gap => common.counts.gaps += 1,
            Said::Refused => {
                common.counts.errors += 1;
                common.remark(|| String::from_utf8_lossy(payload).into_owned());
            }
            Said::Expects(frame) => self.connection.send(&frame)?,
            Said::Other => {}
        }
        Ok(())
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
        let kept = self.offset.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(offset);
    }
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
