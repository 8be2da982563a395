//! One client process, as the run that started it sees it.

use super::{
    common::{histogram, read_histogram},
    order::{Counts, Setup, Strain, Told},
};
use crate::error::Failure;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use std::{collections::HashMap, process::Stdio, sync::Arc};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::oneshot,
};

/// What has been heard of all client processes, beside their last counts.
pub(crate) struct Heard {
    /// By half second since the machine's start.
    pub(crate) latency: Vec<(u64, Histogram<u64>)>,
    /// The same of clients whose connection was never cut, where clients come back.
    pub(crate) stayed: Vec<(u64, Histogram<u64>)>,
    pub(crate) outage: Histogram<u64>,
    pub(crate) strain: Vec<(u64, Strain)>,
}

/// The answer to an order that has a ticket.
pub(super) enum Answer {
    Counts(Box<Counts>),
    Missing(Missing),
}

/// What of the published events was not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) events: u64,
    /// One client's, in words.
    pub(crate) example: Option<String>,
}

/// Who waits for which answer; gone when the process is.
type Tickets = Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>;

pub(super) struct Member {
    pub(super) child: Child,
    input: tokio::sync::Mutex<ChildStdin>,
    pub(super) tickets: Tickets,
    pub(super) last: Arc<Mutex<Counts>>,
    pub(super) first: u32,
    pub(super) clients: u32,
}

impl Member {
    pub(super) async fn start(setup: &Setup, heard: &Arc<Mutex<Heard>>) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(Failure::io("find this program"))?;
        let mut command = Command::new(program);
        command.arg("swarm").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(Failure::io("start a client process"))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Failure::Swarm("a client process has no pipes".into()))?;
        let (tickets, last) = (Tickets::default(), Arc::default());
        tokio::spawn(hear(BufReader::new(output).lines(), tickets.clone(), Arc::clone(&last), heard.clone()));
        let (first, clients) = (setup.first, setup.clients);
        let member = Self { child, input: tokio::sync::Mutex::new(input), tickets, last, first, clients };
        member.send(setup).await?;
        Ok(member)
    }

    pub(super) async fn send(&self, order: &impl serde::Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(order).map_err(|error| Failure::Swarm(error.to_string()))?;
        line.push(b'\n');
        self.input.lock().await.write_all(&line).await.map_err(Failure::io("tell a client process"))
    }
}

/// Takes down what a client process says until it ends.
async fn hear(mut lines: Lines<BufReader<ChildStdout>>, tickets: Tickets, last: Arc<Mutex<Counts>>, heard: Arc<Mutex<Heard>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Told>(&line) {
            Ok(Told::Tick { counts, strain, latency, stayed, outage }) => {
                heard.lock().tick(counts.at_us, strain, [&latency, &stayed, &outage]);
                *last.lock() = counts;
            }
            Ok(Told::Counted { ticket, counts }) => {
                *last.lock() = counts.clone();
                answer(&tickets, ticket, Answer::Counts(Box::new(counts)));
            }
            Ok(Told::Checked { ticket, missing: events, example }) => {
                answer(&tickets, ticket, Answer::Missing(Missing { events, example }));
            }
            // Cannot be: both ends are the same program. Whoever waits is told by the end of the tickets.
            Err(_) => break,
        }
    }
    tickets.lock().clear();
}

fn answer(tickets: &Tickets, ticket: u64, answer: Answer) {
    if let Some(waiting) = tickets.lock().remove(&ticket) {
        // Whoever has stopped waiting does not need it.
        let _ = waiting.send(answer);
    }
}

impl Heard {
    pub(super) fn new() -> Self {
        Self { latency: Vec::new(), stayed: Vec::new(), outage: histogram(), strain: Vec::new() }
    }

    fn tick(&mut self, at_us: u64, strain: Strain, [latency, stayed, outage]: [&str; 3]) {
        for (told, kept) in [(latency, &mut self.latency), (stayed, &mut self.stayed)] {
            kept.extend(read_histogram(told).filter(|told| !told.is_empty()).map(|told| (at_us, told)));
        }
        if let Some(outage) = read_histogram(outage) {
            // Both have the same bounds.
            let _ = self.outage.add(outage);
        }
        self.strain.push((at_us, strain));
    }
}
