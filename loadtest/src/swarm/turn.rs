//! The loop of a client process.

use super::{
    common::Common,
    order::{Counts, Follow, Order, Setup, Strain, Told, What},
};
use crate::{
    client::{Client, connection},
    clock,
};
use rustix::{buffer::spare_capacity, event::epoll, fd::OwnedFd, time::Timespec};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io::{self, Write as _},
};

const TICK_US: u64 = 500_000;
/// The longest wait for news, so that ticks come in time.
const WAIT_US: u64 = 50_000;
const EVENTS_A_TURN: usize = 1024;
const SCRATCH_BYTES: usize = 64 * 1024;
/// Stands for standard input among the clients' numbers.
const INPUT: u64 = u64::MAX;
/// A client that was refused or cut off while it connected tries again after this long.
const AGAIN_US: u64 = 100_000;

/// What is due for a client at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Connect(u32),
    Read(u32),
}

pub(crate) struct Swarm {
    common: Common,
    clients: Vec<Client>,
    epoll: OwnedFd,
    /// Clients that may connect as soon as fewer are at it.
    waiting: VecDeque<u32>,
    connecting: u32,
    due: BinaryHeap<Reverse<(u64, Due)>>,
    awaited: Vec<(u64, What, u64)>,
    input: Vec<u8>,
    strain: Strain,
    ticked_us: u64,
    cpu_us: u64,
}

impl Swarm {
    /// `input` is what was read of the orders already.
    pub(crate) fn new(setup: Setup, input: Vec<u8>) -> io::Result<Self> {
        let clients = (setup.first..setup.first + setup.clients).map(|number| Client::new(number, &setup.rooms)).collect();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, rustix::stdio::stdin(), epoll::EventData::new_u64(INPUT), epoll::EventFlags::IN)?;
        let common = Common::new(setup);
        let ticked_us = common.now_us;
        Ok(Self {
            common,
            clients,
            epoll,
            waiting: VecDeque::new(),
            connecting: 0,
            due: BinaryHeap::new(),
            awaited: Vec::new(),
            input,
            strain: Strain::default(),
            ticked_us,
            cpu_us: 0,
        })
    }

    /// Until the input ends.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let (mut events, mut scratch) = (Vec::with_capacity(EVENTS_A_TURN), vec![0; SCRATCH_BYTES]);
        self.obey_lines()?;
        loop {
            self.wait(&mut events)?;
            let began = clock::now_us();
            for event in events.drain(..) {
                let (flags, number) = (event.flags, event.data.u64());
                self.common.now_us = clock::now_us();
                match u32::try_from(number) {
                    Ok(number) => self.ready(number, flags, &mut scratch),
                    Err(_) if !self.read_input(&mut scratch)? => return Ok(()),
                    Err(_) => {}
                }
            }
            self.common.now_us = clock::now_us();
            self.strain.turn_us_max = self.strain.turn_us_max.max(self.common.now_us - began);
            self.attend_due(&mut scratch);
            self.connect_waiting();
            self.tell_awaited()?;
            self.tick()?;
        }
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let due = self.due.peek().map_or(u64::MAX, |Reverse((due_us, _))| *due_us);
        let micros = due.saturating_sub(self.common.now_us).min(WAIT_US);
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::try_from(micros * 1000).unwrap_or(0) };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn ready(&mut self, number: u32, flags: epoll::EventFlags, scratch: &mut [u8]) {
        let at = number as usize;
        if flags.contains(epoll::EventFlags::OUT)
            && let Err(error) = self.writable(number)
        {
            return self.end(number, &error);
        }
        // A client that pauses learns of the end when it reads next.
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            let unsent = self.clients[at].connection.has_unsent();
            match self.read(number, scratch) {
                Ok(pauses) if !pauses && self.clients[at].connection.has_unsent() != unsent => self.watch(number, false),
                Ok(_) => {}
                Err(error) => self.end(number, &error),
            }
        }
    }

    fn writable(&mut self, number: u32) -> io::Result<()> {
        let client = &mut self.clients[number as usize];
        if client.connection.stands()? {
            let request = client.request(&self.common, self.common.setup.first + number);
            client.connection.send(request.as_bytes())?;
        }
        client.connection.flush()?;
        client.connection.watch(&self.epoll, number, false, true)
    }

    /// Whether the client pauses now.
    fn read(&mut self, number: u32, scratch: &mut [u8]) -> io::Result<bool> {
        let global = self.common.setup.first + number;
        let slow = self.common.setup.slow.filter(|_| self.common.is_slow(global) && !self.common.hurried);
        let limit = slow.map_or(scratch.len(), |slow| (slow.bytes as usize).min(scratch.len()));
        let client = &mut self.clients[number as usize];
        let progress = client.read(&mut scratch[..limit], &mut self.common, global)?;
        self.connecting -= u32::from(progress.opened);
        let Some(slow) = slow.filter(|_| progress.events) else { return Ok(false) };
        client.connection.watch(&self.epoll, number, true, true)?;
        self.due.push(Reverse((self.common.now_us + u64::from(slow.pause_ms) * 1000, Due::Read(number))));
        Ok(true)
    }

    /// The connection is over, though nobody here asked for that.
    fn end(&mut self, number: u32, error: &io::Error) {
        let client = &mut self.clients[number as usize];
        let (was_open, was_connecting) = (client.connection.is_open(), client.connection.is_connecting());
        client.connection.close();
        self.connecting -= u32::from(was_connecting);
        let Some(come_back) = self.common.setup.come_back else {
            self.common.counts.ended += 1;
            self.common.counts.open -= u64::from(was_open);
            return self.common.remark(|| error.to_string());
        };
        let mut after_us = AGAIN_US;
        if was_open {
            self.common.counts.open -= 1;
            self.common.counts.cut += 1;
            (client.cut_us, client.was_cut) = (self.common.now_us, true);
            // The numbers of clients spread them evenly.
            let spread_us = u64::from(come_back.spread_ms) * 1000 * u64::from(number) / self.common.setup.clients as u64;
            after_us = u64::from(come_back.after_ms) * 1000 + spread_us;
        }
        // As a balancer would have it, they go to all of the others.
        let servers = self.common.setup.servers.len() as u32;
        let further = 1 + number % servers.saturating_sub(1).max(1);
        client.server = (client.server + further) % servers;
        self.due.push(Reverse((self.common.now_us + after_us, Due::Connect(number))));
    }

    fn attend_due(&mut self, scratch: &mut [u8]) {
        while let Some(Reverse((due_us, due))) = self.due.peek().copied() {
            if due_us > self.common.now_us {
                return;
            }
            self.due.pop();
            match due {
                Due::Connect(number) => self.waiting.push_back(number),
                Due::Read(number) => match self.read(number, scratch) {
                    Ok(true) => {}
                    Ok(false) => self.watch(number, false),
                    Err(error) => self.end(number, &error),
                },
            }
        }
    }

    fn watch(&mut self, number: u32, pausing: bool) {
        if let Err(error) = self.clients[number as usize].connection.watch(&self.epoll, number, pausing, true) {
            self.end(number, &error);
        }
    }

    fn connect_waiting(&mut self) {
        while self.connecting < self.common.setup.connecting_max {
            let Some(number) = self.waiting.pop_front() else { return };
            self.connecting += 1;
            if let Err(error) = self.connect(number) {
                // Where the socket could not even be made, nothing of it is counted as connecting.
                self.connecting -= u32::from(!self.clients[number as usize].connection.is_connecting());
                self.end(number, &error);
            }
        }
    }

    fn connect(&mut self, number: u32) -> io::Result<()> {
        let (setup, client) = (&self.common.setup, &mut self.clients[number as usize]);
        let to = setup.servers[client.server as usize];
        let slow = self.common.is_slow(setup.first + number);
        client.connection.begin(to, connection::source(setup.process, number, to), slow)?;
        client.connection.watch(&self.epoll, number, false, false)
    }

    fn tell_awaited(&mut self) -> io::Result<()> {
        let counts = &mut self.common.counts;
        counts.at_us = self.common.now_us;
        let reached = |counts: &Counts, what| match what {
            What::Connected => counts.connected,
            What::Subscribed => counts.subscribed,
            What::Delivered => counts.delivered,
        };
        let (done, left) = self.awaited.drain(..).partition(|(_, what, count)| reached(counts, *what) >= *count);
        self.awaited = left;
        let done: Vec<(u64, What, u64)> = done;
        done.into_iter().try_for_each(|(ticket, ..)| tell(&Told::Counted { ticket, counts: counts.clone() }))
    }

    fn tick(&mut self) -> io::Result<()> {
        let since = self.common.now_us - self.ticked_us;
        if since < TICK_US {
            return Ok(());
        }
        self.ticked_us = self.common.now_us;
        let cpu_us = u64::try_from(clock::process_cpu().as_micros()).unwrap_or(u64::MAX);
        let strain = Strain { cpu_us: cpu_us - self.cpu_us, wall_us: since, ..std::mem::take(&mut self.strain) };
        self.cpu_us = cpu_us;
        self.common.counts.at_us = self.common.now_us;
        let [latency, stayed, outage] = self.common.take_histograms();
        tell(&Told::Tick { counts: self.common.counts.clone(), strain, latency, stayed, outage })
    }

    /// Whether there is more to come.
    fn read_input(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        let length = rustix::io::read(rustix::stdio::stdin(), &mut *scratch)?;
        self.input.extend_from_slice(&scratch[..length]);
        self.obey_lines()?;
        Ok(length > 0)
    }

    fn obey_lines(&mut self) -> io::Result<()> {
        while let Some(end) = memchr::memchr(b'\n', &self.input) {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            self.obey(serde_json::from_slice(&line)?)?;
        }
        Ok(())
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Connect { from, to, server, follow } => {
                for number in self.range(from, to) {
                    let client = &mut self.clients[number as usize];
                    (client.server, client.follow) = (server, follow);
                    self.waiting.push_back(number);
                }
            }
            Order::Follow => self.all_open(|client, common| {
                client.follow = Follow::Now;
                client.subscribe(common)
            }),
            Order::Say { bytes } => self.all_open(|client, common| client.say(bytes, common)),
            Order::Leave { from, to, back_after_ms } => self.leave(from, to, back_after_ms),
            Order::Hurry => self.common.hurried = true,
            Order::Await { ticket, what, count } => self.awaited.push((ticket, what, count)),
            Order::Count { ticket } => self.awaited.push((ticket, What::Connected, 0)),
            Order::Check { ticket, published, open } => {
                let asked = self.clients.iter().filter(|client| !open || client.connection.is_open());
                let missing = asked.map(|client| client.missing(&published)).sum();
                tell(&Told::Checked { ticket, missing, example: self.example_missing(&published) })?;
            }
        }
        Ok(())
    }

    fn example_missing(&self, published: &[u32]) -> Option<String> {
        let mut clients = self.clients.iter().enumerate();
        let (number, client, (room, counter, count)) =
            clients.find_map(|(number, client)| Some((number, client, client.first_missing(published)?)))?;
        let number = number + self.common.setup.first as usize;
        let state = if client.connection.is_open() { "is connected" } else { "is not connected" };
        Some(format!("client {number} {state} and misses {count} events of room {room}, the first of them number {counter}"))
    }

    fn range(&self, from: u32, to: u32) -> std::ops::Range<u32> {
        from..to.min(self.common.setup.clients)
    }

    fn all_open(&mut self, mut each: impl FnMut(&mut Client, &Common) -> io::Result<()>) {
        for number in self.range(0, u32::MAX) {
            let client = &mut self.clients[number as usize];
            if !client.connection.is_open() {
                continue;
            }
            if let Err(error) = each(client, &self.common) {
                self.end(number, &error);
            } else if client.connection.has_unsent() {
                self.watch(number, false);
            }
        }
    }

    fn leave(&mut self, from: u32, to: u32, back_after_ms: u32) {
        for number in self.range(from, to) {
            let client = &mut self.clients[number as usize];
            if client.connection.is_open() {
                client.connection.close();
                client.cut_us = self.common.now_us;
                self.common.counts.open -= 1;
                self.due.push(Reverse((self.common.now_us + u64::from(back_after_ms) * 1000, Due::Connect(number))));
            }
        }
    }
}

fn tell(told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    io::stdout().lock().write_all(&line)?;
    io::stdout().lock().flush()
}
