//! A client of Socket.IO made of bare WebSocket messages, for what no library would say.

use crate::support::Socket;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use weft_testkit::process::Process;

pub struct Packets {
    pub socket: Socket,
    /// What the CONNECT was answered with.
    pub hello: Value,
}

impl Packets {
    /// As the JavaScript client asks, `EIO` first.
    pub async fn open(gateway: &Process) -> Socket {
        let mut socket = Socket::open_at(gateway, "/socket.io/?EIO=4&transport=websocket").await.expect("an upgrade");
        let open = socket.next_text().await;
        assert!(open.starts_with("0{\"sid\":"), "{open}");
        socket
    }

    pub async fn connect(gateway: &Process, namespace: &str, auth: Value) -> Self {
        let mut socket = Self::open(gateway).await;
        let space = if namespace == "/" { String::new() } else { format!("{namespace},") };
        socket.send(Message::text(format!("40{space}{auth}"))).await;
        let mut answer = socket.next_text().await;
        while answer == "2" {
            // Where pings are frequent one may come first.
            answer = socket.next_text().await;
        }
        let hello = answer.strip_prefix(&format!("40{space}")).unwrap_or_else(|| panic!("a CONNECT was due, not {answer}"));
        Self { socket, hello: serde_json::from_str(hello).expect("JSON") }
    }

    pub async fn say(&mut self, packet: &str) {
        self.socket.send(Message::text(packet.to_owned())).await;
    }

    pub async fn next(&mut self) -> String {
        self.socket.next_text().await
    }

    /// The next event: its name and arguments.
    pub async fn next_event(&mut self) -> Value {
        let packet = self.next().await;
        let at = packet.find('[').unwrap_or_else(|| panic!("an event was due, not {packet}"));
        serde_json::from_str(&packet[at..]).expect("JSON")
    }
}
