//! Turns to read history: so many at once in this process, and fair between those who want one.
//!
//! After a deploy thousands of clients ask for their past at once, one of them perhaps for 128 rooms. Turns go round by
//! reader, not by request: who asks for one room waits for one turn of everybody else's, not for all they want.

use crate::metrics::Shown;
use metrics::Gauge;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::oneshot;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The feed, which repairs a room for all who follow it: always the next.
    Feed,
    /// A client, by a number of its own.
    Client(u64),
}

/// The turns of a process.
pub struct Turns {
    state: Mutex<State>,
    waiting: Gauge,
}

#[derive(Default)]
struct State {
    free: usize,
    feed: VecDeque<oneshot::Sender<Turn>>,
    /// What each client waits for. Bounded by what the connections may have under way.
    clients: FxHashMap<u64, VecDeque<oneshot::Sender<Turn>>>,
    /// The clients that wait, in the order of their next turns.
    round: VecDeque<u64>,
}

impl State {
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        if let Some(first) = self.feed.pop_front() {
            return Some(first);
        }
        let client = self.round.pop_front()?;
        let queue = self.clients.get_mut(&client)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.clients.remove(&client);
        } else {
            self.round.push_back(client);
        }
        next
    }

    fn wait(&mut self, reader: Reader) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        match reader {
            Reader::Feed => self.feed.push_back(sender),
            Reader::Client(client) => {
                let queue = self.clients.entry(client).or_default();
                if queue.is_empty() {
                    self.round.push_back(client);
                }
                queue.push_back(sender);
            }
        }
        receiver
    }
}

/// A turn; given on when it is dropped.
pub struct Turn {
    turns: Arc<Turns>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.give_on();
    }
}

impl Turns {
    /// So many at once; `waiting` shows how many wait.
    #[must_use]
    pub fn new(at_once: usize, waiting: Gauge) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { free: at_once, ..State::default() }), waiting })
    }

    /// Waits for a turn.
    pub async fn take(self: &Arc<Self>, reader: Reader) -> Turn {
        let receiver = {
            let mut state = self.state.lock();
            // Where one is free nobody waits.
            if state.free > 0 {
                state.free -= 1;
                return Turn { turns: self.clone() };
            }
            state.wait(reader)
        };
        let _shown = Shown::on(&self.waiting);
        match receiver.await {
            Ok(turn) => turn,
            // The sender lives in `self` until it has sent.
            Err(_) => std::future::pending().await,
        }
    }

    fn give_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                let Some(next) = state.next() else {
                    state.free += 1;
                    return;
                };
                next
            };
            // Who has given up waiting is passed over. If that happens right now the turn comes back by its drop.
            if !next.is_closed() {
                let _ = next.send(Turn { turns: self.clone() });
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, future::BoxFuture};

    fn turns(at_once: usize) -> Arc<Turns> {
        Turns::new(at_once, Gauge::noop())
    }

    /// Asked for now, whenever it is awaited.
    fn asked(turns: &Arc<Turns>, reader: Reader) -> BoxFuture<'static, Turn> {
        let turns = turns.clone();
        let mut asked = async move { turns.take(reader).await }.boxed();
        assert!((&mut asked).now_or_never().is_none(), "no turn is free");
        asked
    }

    #[tokio::test]
    async fn turns_go_round_by_reader_and_the_feed_is_first() {
        let turns = turns(1);
        let first = turns.take(Reader::Client(1)).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut all = Vec::new();
        for (name, reader) in [
            ("a1", Reader::Client(1)),
            ("a2", Reader::Client(1)),
            ("a3", Reader::Client(1)),
            ("b1", Reader::Client(2)),
            ("feed", Reader::Feed),
        ] {
            let (asked, order) = (asked(&turns, reader), order.clone());
            all.push(async move {
                let _turn = asked.await;
                order.lock().push(name);
            });
        }
        drop(first);
        futures_util::future::join_all(all).await;
        assert_eq!(*order.lock(), ["feed", "a1", "b1", "a2", "a3"]);
        assert_eq!(turns.state.lock().free, 1);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_keeps_no_turn() {
        let turns = turns(1);
        let first = turns.take(Reader::Client(1)).await;
        let (gone, late) = (asked(&turns, Reader::Client(2)), asked(&turns, Reader::Client(3)));
        drop(gone);
        drop(first);
        // Its turn is on its way to it when it gives up.
        drop(late);
        assert_eq!(turns.state.lock().free, 1);
        assert!(turns.state.lock().clients.is_empty());
        let _again = turns.take(Reader::Client(4)).await;
    }
}
