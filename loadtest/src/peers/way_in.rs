//! How events get into each peer: the way that its own documentation has for a backend.

use super::wire::{Wire, nats_publish, redis_publish};
use crate::{
    error::Failure,
    publish::event::{Event, Shape},
};
use serde_json::{Value, json};

/// A way into one peer.
pub(crate) struct WayIn {
    pub(crate) shape: Shape,
    pub(crate) door: Door,
}

pub(crate) enum Door {
    /// A channel for each room.
    Redis(Wire),
    /// The channels of Socket.IO's Redis adapter, as its emitter writes to them.
    SocketIoRedis(Wire),
    /// A subject for each room.
    Nats(Wire),
    /// `POST /pub/<room>`.
    Nchan { client: reqwest::Client, base: String },
    /// `POST /api/batch`.
    Centrifugo { client: reqwest::Client, base: String },
}

/// What the adapter's channels begin with.
const SOCKETIO_CHANNEL: &str = "socket.io#/#";

impl WayIn {
    pub(crate) async fn send(&mut self, events: &[Event]) -> Result<(), Failure> {
        let bodies: Vec<(String, String)> =
            events.iter().map(|event| (self.shape.rooms.name(event.mark.room), self.shape.body(*event))).collect();
        match &mut self.door {
            Door::Redis(wire) => {
                let mut out = Vec::new();
                bodies.iter().for_each(|(room, body)| redis_publish(&mut out, room, body.as_bytes()));
                wire.ask(&out, bodies.len()).await
            }
            Door::SocketIoRedis(wire) => {
                let mut out = Vec::new();
                for (room, body) in &bodies {
                    redis_publish(&mut out, &format!("{SOCKETIO_CHANNEL}{room}#"), &emitted(room, body)?);
                }
                wire.ask(&out, bodies.len()).await
            }
            Door::Nats(wire) => {
                let mut out = Vec::new();
                bodies.iter().for_each(|(room, body)| nats_publish(&mut out, room, body.as_bytes()));
                wire.send(&out).await
            }
            Door::Nchan { client, base } => {
                for (room, body) in bodies {
                    post(client.post(format!("{base}/pub/{room}")).body(body)).await?;
                }
                Ok(())
            }
            Door::Centrifugo { client, base } => {
                let commands = bodies.iter().map(|(room, body)| Ok(json!({"publish": {"channel": room, "data": value(body)?}})));
                let commands = commands.collect::<Result<Vec<Value>, Failure>>()?;
                post(client.post(format!("{base}/api/batch")).json(&json!({"commands": commands}))).await
            }
        }
    }
}

async fn post(request: reqwest::RequestBuilder) -> Result<(), Failure> {
    let answer = request.send().await?;
    let status = answer.status();
    // Reading it to its end keeps the connection for the next.
    let text = answer.text().await?;
    if status.is_success() { Ok(()) } else { Err(Failure::Publish(format!("{status}: {text}"))) }
}

fn value(body: &str) -> Result<Value, Failure> {
    serde_json::from_str(body).map_err(|error| Failure::Publish(error.to_string()))
}

/// What the emitter sends: who sends it, the packet (type 2 is an event), and to which rooms.
fn emitted(room: &str, body: &str) -> Result<Vec<u8>, Failure> {
    let packet = json!({"type": 2, "data": ["log", value(body)?], "nsp": "/"});
    let message = json!(["emitter", packet, {"rooms": [room], "except": [], "flags": {}}]);
    rmp_serde::to_vec_named(&message).map_err(|error| Failure::Publish(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emitters_message_holds_the_event_as_an_object() {
        let bytes = emitted("load-1", "{\"type\":\"log\",\"data\":{\"n\":1}}").expect("written");
        let read: Value = rmp_serde::from_slice(&bytes).expect("read");
        assert_eq!(read[1]["data"][1]["data"]["n"], 1);
        assert_eq!((&read[1]["nsp"], &read[2]["rooms"][0]), (&json!("/"), &json!("load-1")));
    }
}
