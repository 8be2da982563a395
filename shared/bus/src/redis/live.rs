//! The live path: which channels are wanted, getting them subscribed and confirmed, and handing over what arrives.
//!
//! The registry here is the truth. The crate's own resubscription is not used: after a reconnect it may send an empty
//! subscribe whose error shifts all later replies by one.

use super::{
    Link, commands,
    connection::{COMMAND_TIMEOUT, bus_error},
    frame,
    history::bytes_of,
    watch::{self, Events},
};
use crate::{BusError, ConnectError, Health, Inlet, Signal, canary::Canary, meters};
use fred::{
    clients::{Client, WithOptions},
    interfaces::{ClientLike, ClusterInterface, PubsubInterface},
    types::{Message, config::Options},
    util::redis_keyslot,
};
use futures_util::{
    StreamExt, TryStreamExt,
    future::{self, Either},
    stream,
};
use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};
use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Instant};
use tokio::sync::{Notify, broadcast};
use weft_event::Room;

/// Channels in one SUBSCRIBE.
const BATCH: usize = 512;

/// Sharded subscriptions under way at once; each goes to the node that owns its slot.
const SLOTS_AT_ONCE: usize = 64;

pub(super) struct Live {
    pub(super) link: Arc<Link>,
    /// Runs SUBSCRIBE, UNSUBSCRIBE and PING only, and fails at once while it is away.
    pub(super) subscriber: WithOptions<Client>,
    pub(super) commands: commands::Exchange,
    pub(super) canary: Canary,
    pub(super) health: tokio::sync::watch::Sender<Health>,
    inlet: RwLock<Option<Arc<dyn Inlet>>>,
    channels: Mutex<FxHashMap<String, Purpose>>,
    /// Keeps SUBSCRIBE and UNSUBSCRIBE of one channel in the order in which the registry changed.
    wire: tokio::sync::Mutex<()>,
    /// No longer wanted, still subscribed; at most as many as were subscribed.
    leaving: Mutex<FxHashSet<(String, bool)>>,
    leave: Notify,
}

/// What a subscribed channel is for.
#[derive(Clone)]
enum Purpose {
    Room {
        room: Room,
        /// Calls of `follow` that wait for confirmation.
        waiting: u32,
        confirmed: bool,
    },
    Canary,
    Replies,
    Commands,
}

impl Live {
    pub(super) async fn start(link: Arc<Link>, subscriber: Client, mut events: Events) -> Result<Arc<Self>, ConnectError> {
        meters::describe();
        let system = [(link.names.canary(&link.process), Purpose::Canary), (link.names.replies(&link.process), Purpose::Replies)];
        let live = Arc::new(Self {
            subscriber: subscriber.with_options(&Options {
                fail_fast: true,
                timeout: Some(COMMAND_TIMEOUT),
                ..Options::default()
            }),
            commands: commands::Exchange::default(),
            canary: Canary::default(),
            health: tokio::sync::watch::channel(Health::Down).0,
            inlet: RwLock::default(),
            channels: Mutex::new(system.into_iter().collect()),
            wire: tokio::sync::Mutex::default(),
            leaving: Mutex::default(),
            leave: Notify::new(),
            link,
        });
        tokio::spawn(pump(live.clone(), events.take_messages()));
        watch::restore(&live).await.map_err(|error| {
            ConnectError::new(format!(
                "Redis does not give back what is published; may this user publish and subscribe to {:?}? {error}",
                live.link.names.canary("*")
            ))
        })?;
        live.health.send_replace(Health::Up);
        meters::up(true);
        events.forget();
        tokio::spawn(watch::supervise(live.clone(), events));
        tokio::spawn(take_leave(live.clone()));
        Ok(live)
    }

    pub(super) fn attach(&self, inlet: Arc<dyn Inlet>) {
        *self.inlet.write() = Some(inlet);
    }

    pub(super) fn health(&self) -> tokio::sync::watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        *self.health.borrow() == Health::Up
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(inlet) = &*self.inlet.read() {
            inlet.signal(signal);
        }
    }

    pub(super) async fn follow(&self, rooms: &[Room]) -> Result<(), BusError> {
        if rooms.is_empty() {
            return Ok(());
        }
        self.require_up()?;
        let enrolled = Enrolled::new(self, rooms);
        let channels: Vec<_> = rooms.iter().map(|room| (room.broker_name().to_owned(), true)).collect();
        self.subscribe(&channels).await?;
        enrolled.confirm();
        Ok(())
    }

    pub(super) fn unfollow(&self, room: &Room) {
        let channel = room.broker_name();
        if self.channels.lock().remove(channel).is_some() {
            self.leave(channel.to_owned(), true);
        }
    }

    pub(super) fn require_up(&self) -> Result<(), BusError> {
        if self.is_up() { Ok(()) } else { Err(BusError::Unavailable("reconnecting".into())) }
    }

    /// Subscribes to an address's commands.
    pub(super) async fn follow_commands(&self, channel: &str) -> Result<(), BusError> {
        self.require_up()?;
        self.channels.lock().insert(channel.to_owned(), Purpose::Commands);
        let result = self.subscribe(&[(channel.to_owned(), false)]).await;
        if result.is_err() {
            self.unfollow_commands(channel);
        }
        result
    }

    pub(super) fn unfollow_commands(&self, channel: &str) {
        if self.channels.lock().remove(channel).is_some() {
            self.leave(channel.to_owned(), false);
        }
    }

    fn leave(&self, channel: String, is_room: bool) {
        self.leaving.lock().insert((channel, is_room));
        self.leave.notify_one();
    }

    /// Every channel that is wanted, and whether it is a room's.
    fn wanted(&self) -> Vec<(String, bool)> {
        let channels = self.channels.lock();
        channels.iter().map(|(name, purpose)| (name.clone(), matches!(purpose, Purpose::Room { .. }))).collect()
    }

    /// Subscribes to everything again, on a new connection.
    pub(super) async fn subscribe_all(&self) -> Result<(), BusError> {
        self.subscribe(&self.wanted()).await
    }

    /// Subscribes, and waits for the confirmation of it.
    async fn subscribe(&self, channels: &[(String, bool)]) -> Result<(), BusError> {
        let order = self.wire.lock().await;
        if self.link.is_cluster() {
            // Our script publishes to the shard; a raw PUBLISH goes to everyone. Both must be heard.
            stream::iter(by_slot(channels))
                .map(|batch| self.subscriber.ssubscribe(batch))
                .buffer_unordered(SLOTS_AT_ONCE)
                .try_for_each(|()| async { Ok(()) })
                .await
                .map_err(|error| bus_error(&error))?;
        }
        let mut batches = channels.chunks(BATCH).map(|batch| self.subscribe_batch(batch));
        let last = batches.next_back();
        for batch in batches {
            batch.await?;
        }
        let barrier = pin!(self.barrier());
        let Some(last) = last else {
            return barrier.await;
        };
        // A refused SUBSCRIBE is answered by an error that the crate gives to whatever waits for a reply, or to nobody:
        // the barrier must be under way by then, so it is sent at once, right behind.
        match future::select(pin!(last), barrier).await {
            Either::Left((sent, barrier)) => {
                drop(order);
                sent?;
                barrier.await
            }
            Either::Right((confirmed, last)) => {
                last.await?;
                confirmed
            }
        }
    }

    async fn subscribe_batch(&self, batch: &[(String, bool)]) -> Result<(), BusError> {
        let names: Vec<String> = batch.iter().map(|(name, _)| name.clone()).collect();
        self.subscriber.subscribe(names).await.map_err(|error| bus_error(&error))
    }

    async fn unsubscribe(&self, channels: &[(String, bool)]) -> Result<(), fred::error::Error> {
        for batch in channels.chunks(BATCH) {
            let names: Vec<String> = batch.iter().map(|(name, _)| name.clone()).collect();
            self.subscriber.unsubscribe(names).await?;
        }
        if self.link.is_cluster() {
            for batch in by_slot(channels) {
                self.subscriber.sunsubscribe(batch).await?;
            }
        }
        Ok(())
    }

    /// Waits for every node that may hold subscriptions to have worked off what was sent: replies come in order.
    pub(super) async fn barrier(&self) -> Result<(), BusError> {
        let ping = async |client: &WithOptions<Client>| {
            let answer: Result<(), _> = client.ping(None).await;
            answer.map_err(|error| bus_error(&error))
        };
        if !self.link.is_cluster() {
            return ping(&self.subscriber).await;
        }
        let routing = self.subscriber.cached_cluster_state();
        let nodes = routing.map(|routing| routing.unique_primary_nodes()).unwrap_or_default();
        if nodes.is_empty() {
            return Err(BusError::Unavailable("the cluster's nodes are not known".into()));
        }
        for node in nodes {
            let options =
                Options { fail_fast: true, timeout: Some(COMMAND_TIMEOUT), cluster_node: Some(node), ..Options::default() };
            ping(&self.subscriber.with_options(&options)).await?;
        }
        Ok(())
    }

    /// A fingerprint of which node owns which slots; constant where there are none.
    pub(super) fn slots(&self) -> u64 {
        let mut slots = String::new();
        for (node, (ranges, _)) in self.subscriber.cached_cluster_state().iter().flat_map(|routing| routing.pretty()) {
            slots.push_str(&format!("{}:{} {ranges:?}\n", node.host, node.port));
        }
        xxhash_rust::xxh3::xxh3_64(slots.as_bytes())
    }

    fn dispatch(&self, message: Message) {
        let purpose = self.channels.lock().get(&*message.channel).cloned();
        let Some(bytes) = bytes_of(message.value) else { return };
        match purpose {
            // On its way when its room was unfollowed.
            None => {}
            Some(Purpose::Room { room, .. }) => match frame::decode(room, bytes, &self.link.names.namespace) {
                Some(delivery) => {
                    if let Some(inlet) = &*self.inlet.read() {
                        inlet.event(delivery);
                    }
                }
                None => meters::dropped("foreign_frame", 1),
            },
            Some(Purpose::Canary) => self.canary.heard(&bytes),
            Some(Purpose::Replies) => self.commands.replied(&bytes),
            Some(Purpose::Commands) => commands::arrived(&self.link, &self.commands, &bytes),
        }
    }

    pub(super) async fn close(&self) {
        let quit: Result<(), _> = self.subscriber.quit().await;
        if let Err(error) = quit {
            tracing::debug!(%error, "the subscriber connection did not end politely");
        }
        self.health.send_replace(Health::Down);
        meters::up(false);
    }
}

/// The rooms among the channels, in batches of one slot each, which is all that a sharded subscription may name.
fn by_slot(channels: &[(String, bool)]) -> Vec<Vec<String>> {
    let mut slots: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for (name, _) in channels.iter().filter(|(_, is_room)| *is_room) {
        slots.entry(redis_keyslot(name.as_bytes())).or_default().push(name.clone());
    }
    slots.into_values().flat_map(|names| names.chunks(BATCH).map(<[String]>::to_vec).collect::<Vec<_>>()).collect()
}

/// Rooms that one call of `follow` has put into the registry; those that nobody got confirmed leave it again.
struct Enrolled<'a> {
    live: &'a Live,
    rooms: &'a [Room],
    confirmed: bool,
}

impl<'a> Enrolled<'a> {
    fn new(live: &'a Live, rooms: &'a [Room]) -> Self {
        let mut channels = live.channels.lock();
        for room in rooms {
            let entry = channels.entry(room.broker_name().to_owned());
            let fresh = Purpose::Room { room: room.clone(), waiting: 0, confirmed: false };
            if let Purpose::Room { waiting, .. } = entry.or_insert(fresh) {
                *waiting += 1;
            }
        }
        Self { live, rooms, confirmed: false }
    }

    fn confirm(mut self) {
        self.confirmed = true;
    }
}

impl Drop for Enrolled<'_> {
    fn drop(&mut self) {
        let mut abandoned = Vec::new();
        let mut channels = self.live.channels.lock();
        for room in self.rooms {
            let Some(Purpose::Room { waiting, confirmed, .. }) = channels.get_mut(room.broker_name()) else { continue };
            *waiting = waiting.saturating_sub(1);
            *confirmed |= self.confirmed;
            if *waiting == 0 && !*confirmed {
                channels.remove(room.broker_name());
                abandoned.push(room.broker_name().to_owned());
            }
        }
        drop(channels);
        for channel in abandoned {
            self.live.leave(channel, true);
        }
    }
}

/// The reader task: hands over what arrives and never waits.
async fn pump(live: Arc<Live>, mut messages: broadcast::Receiver<Message>) {
    loop {
        let message = tokio::select! {
            () = live.link.cancel.cancelled() => return,
            message = messages.recv() => message,
        };
        match message {
            Ok(message) => live.dispatch(message),
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                meters::dropped("reader_behind", lost);
                // Everything is still subscribed, but any room may miss something.
                live.signal(Signal::Restored);
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Unsubscribes what is no longer wanted, in batches.
async fn take_leave(live: Arc<Live>) {
    loop {
        tokio::select! {
            () = live.link.cancel.cancelled() => return,
            () = live.leave.notified() => {}
        }
        live.commands.give_up(&live.link).await;
        let _order = live.wire.lock().await;
        let mut channels: Vec<_> = std::mem::take(&mut *live.leaving.lock()).into_iter().collect();
        channels.retain(|(name, _)| !live.channels.lock().contains_key(name));
        let begun = Instant::now();
        if let Err(error) = live.unsubscribe(&channels).await {
            // A lost connection has no subscriptions, and the new one gets only what is wanted; in case it was not
            // lost, they go with the next ones.
            live.leaving.lock().extend(channels.iter().cloned());
            tracing::debug!(%error, channels = channels.len(), took = ?begun.elapsed(), "could not unsubscribe");
        }
    }
}
