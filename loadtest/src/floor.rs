//! The least that deliveries can cost here and now: one thread that does nothing but write the same bytes to as many
//! sockets, read by the same clients.
//!
//! Absolute figures of one machine move by a factor of two within an hour; as multiples of this they can be compared.

use crate::{client::COUNTER_KEY, error::Failure, frame, measure, scenario::Scenario, swarm::Swarm};
use rustix::time::{ClockId, clock_gettime};
use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{atomic::Ordering::Relaxed, mpsc},
    time::Duration,
};

/// More sockets make a write no dearer.
const CLIENTS_MAX: u32 = 5000;
/// Enough for hundredths of a microsecond.
const DELIVERIES: u64 = 100_000;
const ROUND_PATIENCE: Duration = Duration::from_secs(10);
/// A socket whose client has ended must not hold the thread for good.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a gateway adds to an event: its offset.
const OFFSET: &str = "\"offset\":\"0123456789abcdef.1234.01234567\",";

/// CPU-µs for each write of one event to one client; `None` where the descriptors do not suffice for both ends.
pub(crate) async fn measure(scenario: &Scenario, event_bytes: u32) -> Result<Option<f64>, Failure> {
    let clients = scenario.clients.min(CLIENTS_MAX);
    let both_ends = Scenario { name: scenario.name.clone(), clients: clients * 2, rooms: 1 };
    if measure::check_descriptors(&both_ends).is_err() {
        return Ok(None);
    }
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Failure::io("listen"))?;
    let address = listener.local_addr().map_err(Failure::io("listen"))?;
    let (rounds, told) = mpsc::channel();
    let thread = std::thread::Builder::new().name("floor".into());
    let writer = thread.spawn(move || write_rounds(&listener, clients, event_bytes, &told)).map_err(Failure::io("start"))?;

    let mut swarm = Swarm::start()?;
    let scenario = Scenario { name: scenario.name.clone(), clients, rooms: 1 };
    swarm.connect(address, &scenario).await?;
    swarm.follow().await?;
    for counter in 0..DELIVERIES.div_ceil(u64::from(clients)) {
        // A writer that has ended says why when it is joined.
        let _ = rounds.send(counter);
        if !swarm.delivered((counter + 1) * u64::from(clients), ROUND_PATIENCE).await {
            break;
        }
    }
    drop(rounds);
    let cpu = writer.join().map_err(|_| Failure::io("measure the floor")(io::Error::other("its thread failed")))?;
    let cpu = cpu.map_err(Failure::io("measure the floor"))?;
    Ok(Some(cpu.as_secs_f64() * 1e6 / swarm.counts.delivered.load(Relaxed).max(1) as f64))
}

/// Serves the clients by hand and writes a frame to each for every counter told; answers the thread's time in that.
fn write_rounds(listener: &TcpListener, clients: u32, event_bytes: u32, rounds: &mpsc::Receiver<u64>) -> io::Result<Duration> {
    let mut sockets = Vec::new();
    for _ in 0..clients {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        socket.set_read_timeout(Some(WRITE_TIMEOUT))?;
        read_request(&mut socket)?;
        socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
        sockets.push(socket);
    }
    for socket in &mut sockets {
        // One small frame, written at once: the subscribe.
        let _ = socket.read(&mut [0; 512])?;
        socket.write_all(&frame::server_frame(frame::TEXT, br#"{"type":"subscribed"}"#))?;
    }
    let mut used = Duration::ZERO;
    for counter in rounds {
        let frame = frame::server_frame(frame::TEXT, event(counter, event_bytes).as_bytes());
        let before = thread_time();
        for socket in &mut sockets {
            socket.write_all(&frame)?;
        }
        used += thread_time() - before;
    }
    Ok(used)
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

/// An event as a client gets it, of the size of those published.
fn event(counter: u64, event_bytes: u32) -> String {
    let start = format!("{{{OFFSET}\"type\":\"log\",\"executionId\":\"load-0\",\"data\":{{{COUNTER_KEY}{counter},\"message\":\"");
    let padding = (event_bytes as usize + OFFSET.len()).saturating_sub(start.len() + 3);
    format!("{start}{}\"}}}}", "x".repeat(padding))
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_floor_is_found() {
        let scenario = Scenario { name: "floor".into(), clients: 20, rooms: 4 };
        let floor = measure(&scenario, 300).await.expect("measured").expect("enough descriptors");
        assert!(floor > 0.0 && event(7, 300).len() == 300 + OFFSET.len(), "{floor}");
        assert!(serde_json::from_str::<serde_json::Value>(&event(7, 300)).is_ok());
    }
}
