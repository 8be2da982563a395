//! The least that deliveries can cost here and now: one thread that does nothing but write the same bytes to as many
//! sockets, read by the same clients.
//!
//! Absolute figures of one machine move by a factor of two within an hour; as multiples of this they can be compared.

use crate::{
    client::frame::{TEXT, server_frame},
    clock,
    error::Failure,
    publish::event::{Event, Shape},
};
use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

/// A socket whose client has ended must not hold the thread for good.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What a gateway adds to an event: its offset.
const OFFSET: &str = ",\"offset\":\"0123456789abcdef.1234.01234567\"}";

/// The thread's end of it.
pub(crate) struct Floor {
    pub(crate) address: SocketAddr,
    /// Nanoseconds that the thread has used to write events.
    pub(crate) cpu_ns: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<io::Result<()>>>,
}

/// Has each event written to every socket, one event after the other.
pub(crate) struct Writer {
    events: mpsc::Sender<Event>,
}

impl Floor {
    /// Listens for so many clients.
    pub(crate) fn start(clients: u32, shape: Shape) -> Result<(Self, Writer), Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(Failure::io("listen"))?;
        let address = listener.local_addr().map_err(Failure::io("listen"))?;
        let (sender, events) = mpsc::channel();
        let cpu_ns = Arc::new(AtomicU64::new(0));
        let used = cpu_ns.clone();
        let thread = std::thread::Builder::new().name("floor".into());
        let thread = thread.spawn(move || serve(&listener, clients, &shape, &events, &used)).map_err(Failure::io("start"))?;
        Ok((Self { address, cpu_ns, thread: Some(thread) }, Writer { events: sender }))
    }

    /// Why it ended, if it has.
    pub(crate) fn failure(&mut self) -> Option<Failure> {
        let ended = self.thread.take_if(|thread| thread.is_finished())?;
        let error = match ended.join() {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error,
            Err(_) => io::Error::other("its thread failed"),
        };
        Some(Failure::io("measure the floor")(error))
    }
}

impl Writer {
    pub(crate) fn send(&self, events: &[Event]) -> Result<(), Failure> {
        let ended = |_| Failure::Publish("the floor's thread has ended".into());
        events.iter().try_for_each(|event| self.events.send(*event).map_err(ended))
    }
}

/// Serves the clients by hand, then writes a frame to each for every event.
fn serve(
    listener: &TcpListener,
    clients: u32,
    shape: &Shape,
    events: &mpsc::Receiver<Event>,
    used: &AtomicU64,
) -> io::Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..clients {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        read_request(&mut socket)?;
        socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        sockets.push(socket);
    }
    for socket in &mut sockets {
        // One small frame, written at once: the subscribe.
        let _ = socket.read(&mut [0; 512])?;
        socket.write_all(&server_frame(TEXT, br#"{"type":"subscribed"}"#))?;
    }
    for event in events {
        let frame = server_frame(TEXT, delivered(shape, event).as_bytes());
        let before = clock::thread_cpu();
        for socket in &mut sockets {
            socket.write_all(&frame)?;
        }
        let nanos = (clock::thread_cpu() - before).as_nanos();
        used.fetch_add(u64::try_from(nanos).unwrap_or(u64::MAX), Relaxed);
    }
    Ok(())
}

fn read_request(socket: &mut TcpStream) -> io::Result<()> {
    let (mut request, mut part) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => request.extend_from_slice(&part[..bytes]),
        }
    }
    Ok(())
}

/// An event as a client gets it.
fn delivered(shape: &Shape, event: Event) -> String {
    let mut body = shape.body(event);
    body.pop();
    body + OFFSET
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::mark::Mark, publish::event::Kind, swarm::order::Rooms};

    #[test]
    fn what_is_written_is_an_event_with_an_offset() {
        let rooms = Rooms { prefix: "execution:load-".into(), count: 1, each: 1 };
        let shape = Shape { rooms, bytes: 300, owner: false };
        let text = delivered(&shape, Event { kind: Kind::Log, mark: Mark { room: 0, counter: 1, due_us: 2 } });
        let value: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert!(value["offset"].is_string() && value["data"]["message"].is_string() && text.len() > 300);
    }
}
