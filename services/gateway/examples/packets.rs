//! The gateway's Engine.IO and Socket.IO, sending back what comes: for the protocol suites of socket.io, which want that.
//! No part of the gateway; what carries the sessions is the gateway's own.
//!
//!     cargo run --release -p weft-gateway --example packets -- 127.0.0.1:3000
//!
//! `/engine.io/` sends back messages. `/socket.io/` has the namespaces `/` and `/custom`, tells each client its own `auth`,
//! and sends back the arguments of `message` and `message-with-ack`.

use axum::{Router, routing::any};
use clap::Parser;
use std::{collections::VecDeque, future::poll_fn, io, pin::Pin, sync::Arc, task::Context, task::Poll, time::Duration};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{Instant, Sleep},
};
use weft_bus::Bus;
use weft_dialect::{
    engine::Times,
    native::Encoding,
    socketio::{Auth, Event, FleetKey, Incoming, Limits, Link, Namespace, Purpose, SessionId, connected, event_with_args},
    told,
};
use weft_gateway::{
    Settings, feed,
    http::{self, App, EngineLimits, Executors, Intake, Sockets, serve::Terms},
    hub::{Hub, Place},
    metrics::Metrics,
    session::Shared,
    transport::{Engine, Frame, Mailboxes, Received, Transport, Wire},
};
use weft_guard::Guard;
use weft_publisher::{HeadConfig, HeadKeeper};

const NAMESPACES: &[Namespace] = &[Namespace::MAIN, Namespace::new("/custom")];
/// What the suites expect, in milliseconds.
const TIMES: Times = Times { ping_interval: 300, ping_timeout: 200, upgrade_timeout: 1000, close_timeout: 1000 };
const CONNECT_TIME: Duration = Duration::from_millis(1000);
/// Frames that wait to be written; past this nothing is read.
const WAITING_MAX: usize = 64;

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".into());
    let settings = Settings::parse_from(["gateway", "--bus", "memory:"]);
    let app = app(&settings).await.map_err(io::Error::other)?;
    let engine = App { begin_packets: |_, place, engine, _| spawn(place, engine, None), ..app.clone() };
    let packets = App { begin_packets: |_, place, engine, _| spawn(place, engine, Some(Link::new(NAMESPACES))), ..app };
    let router = Router::new()
        .route("/engine.io/", any(http::engine::serve).with_state(engine))
        .route("/socket.io/", any(http::engine::serve).with_state(packets));
    let intake = Intake::of_peers(settings.limits.sockets_max);
    let terms = Terms { times: settings.sockets().times, heads: settings.requests.heads(), tls: None, intake };
    http::serve::serve(TcpListener::bind(address).await?, router, terms, Default::default()).await;
    Ok(())
}

async fn app(settings: &Settings) -> Result<App, String> {
    let config = settings.bus.config(&settings.instance).map_err(|error| error.to_string())?;
    let bus = Bus::connect(config).await.map_err(|error| error.to_string())?;
    let guard = Arc::new(Guard::open(&settings.guard, bus.is_durable()).map_err(|error| error.to_string())?);
    let bounds = Arc::new(weft_guard::Limits::new(settings.guard.bounds()));
    let (hub, to_open, _) = Hub::new(bus.clone(), settings.hub_limits(), Metrics::new());
    let feed = feed::start(&hub, to_open);
    let executors = Executors::new(bus.clone(), hub.metrics.replies_awaited.clone());
    let fleet_key = settings.fleet_key().map_err(|error| error.to_string())?;
    let instance = settings.instance.clone();
    let limits = settings.http_limits();
    let engine = EngineLimits { times: Arc::new(TIMES), payload_bytes_max: 1_000_000 };
    Ok(App {
        shared: Arc::new(Shared {
            hub,
            feed,
            limits: settings.session_limits(),
            instance,
            fleet_key,
            guard,
            bounds,
            orders: Default::default(),
        }),
        heads: HeadKeeper::new(bus, HeadConfig::for_retention(&settings.bus.retention())),
        executors,
        door: Arc::new(settings.door()),
        admissions: Arc::new(settings.admissions()),
        drain: weft_drain::Drain::new(Duration::ZERO),
        limits,
        ingress: Arc::new(Semaphore::new(limits.ingress_bytes_at_once / 1024 + 1)),
        polls: Arc::new(Semaphore::new(limits.ingress_bytes_at_once / 1024 + 1)),
        sockets: Arc::new(Sockets { engine, ..settings.sockets() }),
        mailboxes: Mailboxes::default(),
        begin_packets: http::engine::begin,
        peers: None,
    })
}

fn spawn(place: Place, mut engine: Engine, link: Option<Link>) {
    tokio::spawn(async move {
        let began = Instant::now();
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        let mut echo = Echo { link, frames: VecDeque::new(), end: None, began, sleep };
        poll_fn(|context| echo.turn(&mut engine, context)).await;
        engine.begin_close(echo.end.flatten());
        let _ = tokio::time::timeout(Duration::from_secs(2), poll_fn(|context| engine.poll_close(context))).await;
        drop(place);
    });
}

type End = Option<told::CloseCode>;

struct Echo {
    link: Option<Link>,
    frames: VecDeque<Frame>,
    end: Option<End>,
    began: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Echo {
    fn turn(&mut self, engine: &mut Engine, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // Sessions begin at the first second of a wheel that nobody turns here.
            if let Err(code) = engine.keep_time(1000 + self.began.elapsed().as_millis() as u64) {
                self.end = Some(Some(code));
            }
            let mut more = false;
            if self.end.is_none() && self.frames.len() < WAITING_MAX {
                match engine.poll_receive(context, &mut |received| self.hear(&received)) {
                    Poll::Ready(Ok(())) => more = true,
                    Poll::Ready(Err(_)) => self.end = Some(None),
                    Poll::Pending => {}
                }
            }
            if self.link.as_ref().is_some_and(|link| !link.is_used()) && self.began.elapsed() > CONNECT_TIME {
                self.end = Some(Some(told::POLICY));
            }
            if (engine.has_more() || !self.frames.is_empty()) && engine.poll_write(context, &mut self.frames).is_err() {
                self.end = Some(None);
            }
            if self.end.is_some() {
                return Poll::Ready(());
            }
            let due = self.began + Duration::from_millis(engine.due().map_or(100, |due| due.saturating_sub(1000)));
            let now = Instant::now();
            self.sleep.as_mut().reset(due.clamp(now + Duration::from_millis(1), now + Duration::from_millis(100)));
            if self.sleep.as_mut().poll(context).is_pending() && !more {
                return Poll::Pending;
            }
        }
    }

    /// Whether more is taken.
    fn hear(&mut self, received: &Received<'_>) -> bool {
        match (received, &mut self.link) {
            (Received::Text(bytes), None) => self.say([b"4", *bytes].concat()),
            (Received::Binary(bytes), None) => self.say_binary(bytes),
            (Received::Text(_) | Received::Binary(_), Some(link)) => {
                let incoming = match received {
                    Received::Text(bytes) => link.text(&String::from_utf8_lossy(bytes), &Limits::default()),
                    Received::Binary(bytes) => link.binary((*bytes).into(), &Limits::default()),
                    _ => Ok(None),
                };
                match incoming {
                    Ok(incoming) => incoming.into_iter().for_each(|incoming| self.take(incoming)),
                    Err(_) => self.end = Some(Some(told::PROTOCOL_ERROR)),
                }
            }
            (Received::Alive | Received::Pong(_), _) => {}
            (Received::Faulty(code), _) => self.end = Some(Some(*code)),
            (Received::Closed(_), _) => self.end = Some(None),
        }
        self.end.is_none() && self.frames.len() < WAITING_MAX
    }

    fn say(&mut self, message: Vec<u8>) {
        self.frames.push_back(Engine::WIRE.own(message));
    }

    fn say_binary(&mut self, bytes: &[u8]) {
        self.frames.push_back(Wire { encoding: Encoding::MessagePack, ..Engine::WIRE }.own(bytes.to_vec()));
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Connect { namespace, auth } => self.join(namespace, auth),
            Incoming::Unknown(refusal) => self.say(refusal.into_bytes()),
            Incoming::Event(event) => self.send_back(event),
            Incoming::Disconnect(_) | Incoming::Ack { .. } => {}
        }
    }

    fn join(&mut self, namespace: Namespace, auth: Auth) {
        self.link.iter_mut().for_each(|link| link.join(namespace));
        let key = FleetKey::new(&[0; 32]).expect("long enough");
        let sid = SessionId::make(&key, Purpose::Socket, "suite", rand::random());
        self.say(connected(namespace, sid.as_str(), None));
        let auth = auth.object.unwrap_or_else(|| serde_json::value::RawValue::from_string("{}".into()).expect("JSON"));
        self.say(event_with_args(namespace, Some("auth"), &[auth], 0, None));
    }

    fn send_back(&mut self, event: Event) {
        let Event { namespace, name, args, ack, attachments } = event;
        let packet = match name.as_str() {
            "message" => event_with_args(namespace, Some("message-back"), &args, attachments.len(), None),
            _ => event_with_args(namespace, None, &args, attachments.len(), ack),
        };
        self.say(packet);
        attachments.iter().for_each(|bytes| self.say_binary(bytes));
    }
}
