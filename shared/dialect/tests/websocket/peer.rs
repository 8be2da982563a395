//! Against another implementation: what its client sends is read by us, what we send is read by its client.

use crate::client::{Read, Server};
use proptest::prelude::*;
use std::io::{self, Write};
use tungstenite::{
    Message, WebSocket,
    protocol::{
        CloseFrame, Role, WebSocketConfig,
        frame::Frame,
        frame::coding::{Data, OpCode},
    },
};
use weft_dialect::{
    told,
    websocket::{ControlFrame, HEADER_BYTES_MAX, Opcode, encode_header, frame},
};

/// A connection whose far end is this test.
#[derive(Default)]
struct Wire {
    to_client: io::Cursor<Vec<u8>>,
    from_client: Vec<u8>,
}

impl io::Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.to_client.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from_client.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client(to_client: Vec<u8>) -> WebSocket<Wire> {
    let wire = Wire { to_client: io::Cursor::new(to_client), from_client: Vec::new() };
    WebSocket::from_raw_socket(wire, Role::Client, Some(WebSocketConfig::default()))
}

fn told(message: &Message) -> Read {
    match message {
        Message::Text(text) => Read::Text(text.to_string()),
        Message::Binary(bytes) => Read::Binary(bytes.to_vec()),
        Message::Ping(payload) => Read::Ping(payload.to_vec()),
        Message::Pong(payload) => Read::Pong(payload.to_vec()),
        Message::Close(None) => Read::Close(None, String::new()),
        Message::Close(Some(close)) => Read::Close(Some(close.code.into()), close.reason.to_string()),
        Message::Frame(frame) => panic!("a frame by itself: {frame}"),
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..=most);
    prop_oneof![
        "\\PC{0,200}".prop_map(Message::text),
        "[ -~]{65530,65540}".prop_map(|text| Message::text(&text[..text.len().min(65536)])),
        bytes(400).prop_map(Message::binary),
        bytes(125).prop_map(|payload| Message::Ping(payload.into())),
        bytes(125).prop_map(|payload| Message::Pong(payload.into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn its_frames_are_read_by_us(
        messages in prop::collection::vec(any_message(), 1..6),
        fragments in prop::collection::vec("[a-zß€😀]{0,100}", 2..5),
        piece in 1usize..4000,
    ) {
        let mut client = client(Vec::new());
        let mut expected: Vec<Read> = messages.iter().map(told).collect();
        for message in messages {
            client.send(message).expect("sent");
        }
        let last = fragments.len() - 1;
        for (nth, fragment) in fragments.iter().enumerate() {
            let data = if nth == 0 { Data::Text } else { Data::Continue };
            let frame = Frame::message(fragment.clone(), OpCode::Data(data), nth == last);
            client.send(Message::Frame(frame)).expect("sent");
        }
        expected.push(Read::Text(fragments.concat()));
        client.close(Some(CloseFrame { code: 4400.into(), reason: "enough".into() })).expect("sent");
        expected.push(Read::Close(Some(4400), "enough".to_owned()));
        let bytes = std::mem::take(&mut client.get_mut().from_client);
        let cuts: Vec<usize> = (1..).map(|nth| nth * piece).take_while(|cut| *cut < bytes.len()).collect();
        let mut server = Server::new(false);
        prop_assert_eq!(server.receive_cut(&bytes, &cuts, |_| ()), Ok(()));
        prop_assert_eq!(server.read, expected);
    }

    #[test]
    fn our_frames_are_read_by_it(messages in prop::collection::vec(any_message(), 1..6), cut in any::<prop::sample::Index>()) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for message in &messages {
            match message {
                Message::Ping(payload) => bytes.extend_from_slice(&ControlFrame::ping(payload).expect("fits")),
                Message::Pong(payload) => bytes.extend_from_slice(&ControlFrame::pong(payload).expect("fits")),
                Message::Text(text) => {
                    let (head, tail) = text.as_bytes().split_at(cut.index(text.len() + 1));
                    bytes.extend(frame::encode(Opcode::Text, false, &[head, tail]));
                }
                message => {
                    // Binary ones in two fragments.
                    let payload = message.clone().into_data();
                    let (head, tail) = payload.split_at(cut.index(payload.len() + 1));
                    for (opcode, fin, part) in [(Opcode::Binary, false, head), (Opcode::Continuation, true, tail)] {
                        let mut header = [0; HEADER_BYTES_MAX];
                        let len = encode_header(opcode, fin, false, part.len() as u64, &mut header);
                        bytes.extend_from_slice(&header[..len]);
                        bytes.extend_from_slice(part);
                    }
                }
            }
            expected.push(told(message));
        }
        bytes.extend_from_slice(&ControlFrame::close_with(&told::RESTARTING));
        expected.push(Read::Close(Some(1012), told::RESTARTING.sentence.to_owned()));
        let mut client = client(bytes);
        for expected in expected {
            prop_assert_eq!(told(&client.read().expect("read")), expected);
        }
    }
}
