//! The bus on Redis or Valkey: Redis Streams (stored) and pub/sub (fire and forget), on one primary, behind
//! Sentinel, or on a cluster.
//!
//! An event is stored and published by one script, so that a room's order is the primary's order and nothing is
//! published that is not stored. `follow` subscribes to the room's channel, whose name is the room's, so that a raw
//! `PUBLISH` reaches clients too. In pub/sub mode the payload travels alone: trace context only in the event itself.
//!
//! Keys begin with the prefix; room keys share the room's hash tag. Rights that suffice: keys `~<prefix>:*`, channels
//! `&<prefix>:*` and those of the rooms (`&execution:*`, `&user:*`, `&agent:*`, `&kb:*`, with tenants `&<tenant>/*`),
//! commands `+@all -@dangerous`. `maxmemory-policy` must be `noeviction` or `volatile-ttl`.

mod commands;
mod connection;
mod frame;
mod heads;
mod history;
mod live;
mod names;
mod presence;
mod publish;
mod records;
mod scripts;
mod watch;

use crate::{endpoint::Endpoint, *};
use connection::{Clients, bus_error};
use fred::{
    clients::{Client, WithOptions},
    interfaces::ClientLike,
    types::config::Options,
};
use live::Live;
use names::Names;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) struct RedisBus {
    link: Arc<Link>,
    live: Arc<Live>,
}

/// What every part of the driver needs.
struct Link {
    /// Data commands: each fails at once while the primary is away, so that nothing is acknowledged late.
    data: WithOptions<Client>,
    mode: Mode,
    topology: RedisTopology,
    names: Names,
    retention: Retention,
    dedup_window: Duration,
    record_age: Duration,
    journal_age: Duration,
    journal_lines: usize,
    /// Names this connection among all processes.
    process: String,
    /// As Redis shows it in CLIENT LIST.
    client_name: String,
    cancel: CancellationToken,
}

impl Link {
    /// Refuses what pub/sub cannot do.
    fn durable(&self) -> Result<(), BusError> {
        if self.mode.is_durable() { Ok(()) } else { Err(BusError::NotDurable) }
    }

    fn is_cluster(&self) -> bool {
        self.topology == RedisTopology::Cluster
    }
}

/// Whether the URL can be used, as far as that is known before anything is connected.
pub(crate) fn check(config: &BusConfig) -> Result<(), ConnectError> {
    connection::check(config)
}

impl RedisBus {
    pub(crate) async fn connect(config: &BusConfig) -> Result<Self, ConnectError> {
        let Clients { data, subscriber } = connection::clients(config)?;
        let failed = |error: fred::error::Error| connection::connect_error(config, &error);
        // The receivers must exist before the first event can be missed.
        let events = watch::Events::of(&subscriber);
        data.init().await.map_err(failed)?;
        subscriber.init().await.map_err(failed)?;
        let database = Endpoint::parse(&config.url, 6379)?
            .path
            .and_then(|path| path.rsplit('/').next().and_then(|text| text.parse().ok()))
            .unwrap_or(0);
        let link = Arc::new(Link {
            data: data.with_options(&Options { fail_fast: true, ..Options::default() }),
            mode: config.mode(),
            topology: config.topology(),
            names: Names::new(&config.prefix, database),
            retention: config.retention,
            dedup_window: config.dedup_window,
            record_age: config.record_age,
            journal_age: config.journal_age,
            journal_lines: config.journal_lines,
            process: uuid::Uuid::new_v4().simple().to_string(),
            client_name: config.client_name.replace(|sign: char| !sign.is_ascii_graphic(), "-"),
            cancel: CancellationToken::new(),
        });
        let live = Live::start(link.clone(), subscriber, events).await?;
        Ok(Self { link, live })
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

    pub(crate) async fn renew_epoch(&self, room: &Room, old: Epoch) -> Result<Epoch, BusError> {
        history::renew_epoch(&self.link, room, old).await
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
        presence::list(&self.link, kind, Some(id)).await.map(|_| ())
    }

    pub(crate) async fn present(&self, kind: Presence) -> Result<Vec<(String, bytes::Bytes)>, BusError> {
        presence::list(&self.link, kind, None).await
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
        self.live.serve(address, inbox).await
    }

    pub(crate) async fn request(&self, address: &Address, command: Command, timeout: Duration) -> Result<Reply, RequestError> {
        self.live.request(address, command, timeout).await
    }

    pub(crate) fn health(&self) -> tokio::sync::watch::Receiver<Health> {
        self.live.health()
    }

    pub(crate) async fn probe(&self) -> Result<Duration, BusError> {
        let begun = Instant::now();
        self.link.data.ping::<()>(None).await.map_err(|error| bus_error(&error))?;
        Ok(begun.elapsed())
    }

    pub(crate) async fn close(&self) {
        self.link.cancel.cancel();
        self.live.close().await;
        if let Err(error) = self.link.data.quit().await {
            tracing::debug!(%error, "the data connection did not end politely");
        }
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.link.cancel.cancel();
        // The crate's tasks keep the connections open until they are told to end.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (link, live) = (self.link.clone(), self.live.clone());
            runtime.spawn(async move {
                live.close().await;
                // Whether it ends politely interests nobody any more.
                let _: Result<(), _> = link.data.quit().await;
            });
        }
    }
}
