//! The bus on NATS: JetStream (stored) and core (fire and forget).
//!
//! In JetStream mode an event is published to `<prefix>.<room>`, stored by the events stream, and repeated by the
//! stream on `<prefix>.live.<room>` with its sequence and the room's previous one; that is what `follow` subscribes
//! to, over a connection of our own ([`wire`]), so a plain `nats pub` is stored and delivered like any other. In core mode
//! there is only `<prefix>.<room>`.
//!
//! Streams are `<PREFIX>_EVENTS`, `_HEADS`, `_EPOCH`, `_PRESENCE`, `_RECORDS` and `_JOURNALS`, made where they are
//! missing. With the prefix `weft`, rights that suffice beside its own inbox ([`BusConfig::inbox`], `_INBOX.>`): both subscribe
//! and publish `weft.canary.*`, by which a process proves its path; a gateway subscribes `weft.live.*`
//! and publishes `weft.cmd.*`, `weft.head.*`, `weft.own.>`, `weft.present.>`, `weft.record.>`,
//! `weft.journal.*`, `weft.epoch.*`, `$JS.API.STREAM.INFO.*`, `$JS.API.STREAM.MSG.GET.*`, `$JS.API.DIRECT.GET.>`,
//! `$JS.API.STREAM.PURGE.WEFT_PRESENCE` and `$JS.API.STREAM.PURGE.WEFT_RECORDS`; an executor also publishes `weft.*` and subscribes `weft.cmd.*`; whoever
//! makes the streams may also use `$JS.API.STREAM.CREATE.*` and `$JS.API.STREAM.UPDATE.*`.
//!
//! Core mode keeps no announcements ([`BusError::NotDurable`]); commands work in both.

mod api;
mod commands;
mod connection;
mod credentials;
mod heads;
mod history;
mod inbox;
mod live;
mod message;
mod names;
mod presence;
mod publish;
mod records;
mod stream;
mod watch;
mod wire;

use crate::*;
use connection::{Clients, Refusals};
use inbox::Inbox;
use live::Live;
use names::Names;
use parking_lot::RwLock;
use publish::Lanes;
use std::{sync::atomic::AtomicU64, time::Instant};
use stream::Identity;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wire::Wire;

pub(crate) struct NatsBus {
    link: Arc<Link>,
    live: Arc<Live>,
}

/// What every part of the driver needs.
struct Link {
    /// Requests, publications and commands.
    data: Inbox,
    /// Followed rooms.
    live: Wire,
    mode: Mode,
    names: Names,
    events_stream: String,
    retention: Retention,
    dedup_window: Duration,
    record_age: Duration,
    journal_age: Duration,
    journal_lines: usize,
    replicas: usize,
    /// Names this connection among all processes.
    process: String,
    health: watch_channel::Sender<Health>,
    cancel: CancellationToken,
    lanes: Lanes,
    identity: RwLock<Identity>,
    /// The highest sequence known in this history.
    highest: AtomicU64,
    /// The history or the leader has changed.
    changed: Notify,
    /// The stream may be gone.
    suspect: Notify,
    refusals: Arc<Refusals>,
}

use tokio::sync::watch as watch_channel;

impl Link {
    /// Refuses what core NATS cannot do.
    fn durable(&self) -> Result<(), BusError> {
        if self.mode.is_durable() { Ok(()) } else { Err(BusError::NotDurable) }
    }

    fn epoch(&self) -> Epoch {
        self.identity.read().epoch
    }

    fn is_up(&self) -> bool {
        *self.health.borrow() == Health::Up
    }

    fn require_up(&self) -> Result<(), BusError> {
        if self.is_up() { Ok(()) } else { Err(BusError::Unavailable("reconnecting".into())) }
    }

    fn void(&self) -> String {
        self.names.void(&self.process)
    }

    /// The subject that a follower of a room listens to.
    fn live_subject(&self, room: &Room) -> String {
        if self.mode.is_durable() { self.names.live(room) } else { self.names.stored(room) }
    }

    /// Fails if the server refused one of these subjects.
    fn check_refusals(&self, mut subjects: impl Iterator<Item = String>) -> Result<(), BusError> {
        if self.refusals.is_empty() {
            return Ok(());
        }
        match subjects.find(|subject| self.refusals.take(subject)) {
            Some(subject) => Err(BusError::Refused(format!("no right to subscribe to {subject}"))),
            None => Ok(()),
        }
    }
}

/// Whether the URL can be used, as far as that is known before anything is connected.
pub(crate) fn check(config: &BusConfig) -> Result<(), ConnectError> {
    connection::check(config)
}

impl NatsBus {
    pub(crate) async fn connect(config: &BusConfig) -> Result<Self, ConnectError> {
        meters::describe();
        let Clients { data, live, first, reports, refusals } = connection::clients(config).await?;
        let failed = |error: async_nats::SubscribeError| ConnectError::new(format!("{}: {error}", config.url_shown()));
        let names = Names::new(&config.prefix);
        let link = Arc::new(Link {
            data: Inbox::open(data).await.map_err(failed)?,
            live,
            mode: config.mode(),
            events_stream: names.stream("EVENTS"),
            names,
            retention: config.retention,
            dedup_window: config.dedup_window,
            record_age: config.record_age,
            journal_age: config.journal_age,
            journal_lines: config.journal_lines,
            replicas: config.replicas,
            process: uuid::Uuid::new_v4().simple().to_string(),
            health: watch_channel::channel(Health::Down).0,
            cancel: CancellationToken::new(),
            lanes: Lanes::default(),
            identity: RwLock::new(Identity { epoch: Epoch(0), events_max: -1, replicas: 0, leader: None }),
            highest: AtomicU64::new(0),
            changed: Notify::new(),
            suspect: Notify::new(),
            refusals,
        });
        let live = Arc::new(Live::new(link.clone()));
        let bus = Self { link: link.clone(), live: live.clone() };
        let (ears, cancel) = (live.clone(), link.cancel.clone());
        tokio::spawn(async move { ears.link.live.run(first, &*ears, &cancel).await });
        if link.mode.is_durable() {
            stream::ensure_all(&link).await?;
        }
        let ready = async {
            live.keep_canary();
            watch::restore(&live).await
        };
        ready.await.map_err(|error| ConnectError::new(format!("{}: {error}", config.url_shown())))?;
        link.health.send_replace(Health::Up);
        meters::up(true);
        tokio::spawn(watch::supervise(live, reports));
        Ok(bus)
    }

    pub(crate) fn mode(&self) -> Mode {
        self.link.mode
    }

    pub(crate) fn attach(&self, inlet: Arc<dyn Inlet>) {
        self.live.attach(inlet);
    }

    pub(crate) async fn follow(&self, rooms: &[Room]) -> Result<(), BusError> {
        self.live.follow(rooms).await
    }

    pub(crate) fn unfollow(&self, room: &Room) {
        self.live.unfollow(room);
    }

    pub(crate) async fn read(&self, room: &Room, from: ReadFrom, limit: PageLimit) -> Result<Page, BusError> {
        history::read(&self.link, room, from, limit).await
    }

    pub(crate) async fn tails(&self, rooms: &[Room]) -> Result<Vec<Tail>, BusError> {
        history::tails(&self.link, rooms).await
    }

    pub(crate) async fn renew_epoch(&self, _room: &Room, old: Epoch) -> Result<Epoch, BusError> {
        // All rooms are one stream's and share its epoch.
        stream::renew_epoch(&self.link, old).await
    }

    pub(crate) async fn publish(&self, publication: Publication) -> Result<Ack, PublishError> {
        publish::one(&self.link, publication).await
    }

    pub(crate) async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<Ack, PublishError>> {
        publish::many(&self.link, publications).await
    }

    pub(crate) async fn load_head(&self, room: &Room) -> Result<Option<(Head, Revision)>, BusError> {
        heads::load(&self.link, room).await
    }

    pub(crate) async fn store_head(&self, head: &Head, expect: Expect) -> Result<Revision, StoreError> {
        heads::store(&self.link, head, expect).await
    }

    pub(crate) async fn claim(&self, room: &Room, owner: &Owner) -> Result<Owner, BusError> {
        heads::claim(&self.link, room, owner).await
    }

    pub(crate) async fn owner(&self, room: &Room) -> Result<Option<Owner>, BusError> {
        heads::owner(&self.link, room).await
    }

    pub(crate) async fn list_heads(&self, query: &HeadQuery) -> Result<Vec<Head>, BusError> {
        heads::list(&self.link, query).await
    }

    pub(crate) async fn announce(&self, kind: Presence, id: &str, value: bytes::Bytes) -> Result<(), BusError> {
        presence::announce(&self.link, kind, id, value).await
    }

    pub(crate) async fn withdraw(&self, kind: Presence, id: &str) -> Result<(), BusError> {
        presence::withdraw(&self.link, kind, id).await
    }

    pub(crate) async fn present(&self, kind: Presence) -> Result<Vec<(String, bytes::Bytes)>, BusError> {
        presence::present(&self.link, kind).await
    }

    pub(crate) async fn put_record(&self, kind: Record, id: &str, value: bytes::Bytes) -> Result<(), BusError> {
        records::put(&self.link, kind, id, value).await
    }

    pub(crate) async fn record(&self, kind: Record, id: &str) -> Result<Option<bytes::Bytes>, BusError> {
        records::get(&self.link, kind, id).await
    }

    pub(crate) async fn remove_record(&self, kind: Record, id: &str) -> Result<(), BusError> {
        records::remove(&self.link, kind, id).await
    }

    pub(crate) async fn write_line(&self, journal: Journal, line: bytes::Bytes) -> Result<(), PublishError> {
        records::write_line(&self.link, journal, line).await
    }

    pub(crate) async fn lines(&self, journal: Journal, after: Mark, limit: usize) -> Result<Lines, BusError> {
        records::lines(&self.link, journal, after, limit).await
    }

    pub(crate) async fn serve(&self, address: &Address, inbox: mpsc::Sender<Incoming>) -> Result<Serving, BusError> {
        commands::serve(&self.link, address, inbox).await
    }

    pub(crate) async fn request(&self, address: &Address, command: Command, timeout: Duration) -> Result<Reply, RequestError> {
        commands::request(&self.link, address, command, timeout).await
    }

    pub(crate) fn health(&self) -> watch_channel::Receiver<Health> {
        self.link.health.subscribe()
    }

    pub(crate) async fn probe(&self) -> Result<Duration, BusError> {
        let begun = Instant::now();
        self.link.data.barrier(self.link.void()).await.map_err(BusError::Unavailable)?;
        Ok(begun.elapsed())
    }

    pub(crate) async fn close(&self) {
        self.link.cancel.cancel();
        self.live.unfollow_all();
        // Drain flushes what is under way.
        if let Err(error) = self.link.data.client.drain().await {
            tracing::debug!(%error, "the connection did not end politely");
        }
        self.link.health.send_replace(Health::Down);
        meters::up(false);
    }
}

impl Drop for NatsBus {
    fn drop(&mut self) {
        self.link.cancel.cancel();
        self.live.unfollow_all();
    }
}
