//! What happens when in a session.

use proptest::prelude::*;
use weft_dialect::engine::{Action, Data, Input, Packet, Session, Times, Transport};

const TIMES: Times = Times { ping_interval: 300, ping_timeout: 200, upgrade_timeout: 1000, close_timeout: 400 };

fn shown(action: Action<'_>) -> String {
    match action {
        Action::Deliver(Data::Text(text)) => format!("deliver {text}"),
        Action::Deliver(Data::Binary(bytes)) => format!("deliver {bytes:?}"),
        Action::Send(control) => format!("send {}", control.text()),
        Action::AnswerPoll(control) => format!("answer {}", control.text()),
        Action::Refuse(refusal) => format!("refuse {}", refusal.code()),
        Action::SendProbe(control) => format!("probe {}", control.text()),
        Action::CloseProbe => "close probe".to_owned(),
        Action::Upgraded => "upgraded".to_owned(),
        Action::End(ended) => format!("end {ended:?}"),
    }
}

fn packet(text: &str) -> Input<'_> {
    Packet::parse(text).map_or(Input::Malformed, Input::Packet)
}

fn probe(text: &str) -> Input<'_> {
    Packet::parse(text).map_or(Input::ProbeGone, Input::Probe)
}

/// Plays a script of times, inputs and the actions expected, joined by commas.
fn play(transport: Transport, script: &[(u64, Input<'_>, &str)]) -> Session {
    let mut session = Session::new(transport, 0, &TIMES);
    for (step, (now, input, expected)) in script.iter().enumerate() {
        let found: Vec<String> = session.take(*now, &TIMES, input.clone()).into_iter().map(shown).collect();
        assert_eq!(found.join(", "), *expected, "step {step}: {input:?} at {now}");
    }
    session
}

#[test]
fn messages_are_delivered_on_either_transport() {
    play(
        Transport::Polling,
        &[
            (1, Input::Post, ""),
            (1, packet("4hello"), "deliver hello"),
            (1, packet("bAQI="), "deliver [1, 2]"),
            (1, packet("6"), ""),
            (1, Input::PostDone, ""),
            (2, Input::Post, ""),
            (2, Input::PostDone, ""),
        ],
    );
    play(Transport::WebSocket, &[(1, packet("4hello"), "deliver hello"), (2, Input::Gone, "end Gone"), (3, packet("4x"), "")]);
}

#[test]
fn a_poll_can_be_written_to_until_it_is_answered() {
    let mut session = play(Transport::Polling, &[]);
    assert!(!session.can_write());
    assert_eq!(session.take(1, &TIMES, Input::Poll).into_iter().count(), 0);
    assert!(session.can_write());
    assert_eq!(session.take(1, &TIMES, Input::PollAnswered).into_iter().count(), 0);
    assert!(!session.can_write());
    assert!(Session::new(Transport::WebSocket, 0, &TIMES).can_write());
}

#[test]
fn what_is_wrong_ends_the_session() {
    for (input, expected) in [
        (Input::Malformed, "end Violation"),
        (packet("2"), "end Violation"),
        (packet("0{}"), "end Violation"),
        (packet("5"), "end Violation"),
        (packet("1"), "end ByClient"),
        (Input::Gone, "end Gone"),
        (Input::PostGone, "end Gone"),
    ] {
        for transport in [Transport::Polling, Transport::WebSocket] {
            let script = [
                (1, input.clone(), expected),
                (2, Input::Poll, "refuse 1"),
                (2, Input::Post, "refuse 1"),
                (2, Input::ProbeOpened, "refuse 1"),
                (900, Input::Tick, ""),
                (900, Input::Close, ""),
            ];
            assert_eq!(play(transport, &script).wake_at(), u64::MAX);
        }
    }
}

#[test]
fn a_session_is_small() {
    // One for each connection, beside what a connection may cost in all.
    assert!(size_of::<Session>() <= 80, "{}", size_of::<Session>());
    assert!(size_of::<weft_dialect::socketio::Link>() <= 32, "{}", size_of::<weft_dialect::socketio::Link>());
}

#[test]
fn polls_and_posts_do_not_overlap() {
    play(Transport::Polling, &[(1, Input::Poll, ""), (2, Input::Poll, "refuse 3, answer 1, end Overlap")]);
    play(Transport::Polling, &[(1, Input::Post, ""), (2, Input::Post, "refuse 3, end Overlap")]);
    play(Transport::Polling, &[(1, Input::Poll, ""), (2, Input::PollGone, "end Gone"), (3, Input::Poll, "refuse 1")]);
    play(Transport::Polling, &[(1, Input::Poll, ""), (2, Input::PollAnswered, ""), (3, Input::PollGone, "")]);
    play(Transport::Polling, &[(1, Input::Poll, ""), (1, Input::Post, ""), (2, packet("1"), "answer 6, end ByClient")]);
    play(Transport::WebSocket, &[(1, Input::Poll, "refuse 3"), (1, Input::Post, "refuse 3"), (2, packet("4x"), "deliver x")]);
}

#[test]
fn pings_keep_their_rhythm_and_silence_ends_the_session() {
    let session = play(
        Transport::WebSocket,
        &[
            (299, Input::Tick, ""),
            (300, Input::Tick, "send 2"),
            (310, Input::Tick, ""),
            (350, packet("3"), ""),
            (599, Input::Tick, ""),
            (610, Input::Tick, "send 2"),
            (620, packet("3"), ""),
            (630, packet("3"), ""),
        ],
    );
    assert_eq!(session.wake_at(), 900);
    // Dead when interval and timeout have passed since the last sign of life, and not later.
    let dead =
        play(Transport::Polling, &[(310, Input::Tick, "send 2"), (499, Input::Tick, ""), (500, Input::Tick, "end PingTimeout")]);
    assert_eq!(dead.wake_at(), u64::MAX);
    play(
        Transport::Polling,
        &[(300, Input::Tick, "send 2"), (400, Input::Poll, ""), (500, Input::Tick, "answer 1, end PingTimeout")],
    );
    // After a pause of our own the client still has time to answer.
    play(Transport::WebSocket, &[(5000, Input::Tick, "send 2"), (5099, Input::Tick, ""), (5100, Input::Tick, "end PingTimeout")]);
}

#[test]
fn another_packet_buys_time_once() {
    play(
        Transport::WebSocket,
        &[
            (300, Input::Tick, "send 2"),
            (450, packet("4large"), "deliver large"),
            (600, packet("4more"), "deliver more"),
            (649, Input::Tick, ""),
            (650, Input::Tick, "end PingTimeout"),
        ],
    );
}

#[test]
fn a_polling_session_upgrades() {
    let session = play(
        Transport::Polling,
        &[
            (1, Input::Poll, ""),
            (2, Input::ProbeOpened, ""),
            (3, probe("2probe"), "probe 3probe, answer 6"),
            // A poll that comes at once is held for a moment, lest the client spins.
            (4, Input::Poll, ""),
            (102, Input::Tick, ""),
            (103, Input::Tick, "answer 6"),
            (104, packet("4by post"), "deliver by post"),
            (105, probe("5"), "upgraded"),
            (106, packet("4by websocket"), "deliver by websocket"),
            (107, Input::Poll, "refuse 3"),
            (108, Input::ProbeOpened, "refuse 3"),
            (109, packet("4still"), "deliver still"),
        ],
    );
    assert_eq!((session.transport(), session.can_write()), (Transport::WebSocket, true));
    play(Transport::Polling, &[(2, Input::ProbeOpened, ""), (3, probe("2probe"), "probe 3probe"), (4, Input::Poll, "answer 6")]);
    let waiting = [
        (2, Input::ProbeOpened, ""),
        (3, probe("2probe"), "probe 3probe"),
        (4, Input::Poll, "answer 6"),
        (5, Input::Poll, ""),
        (6, probe("5"), "answer 6, upgraded"),
    ];
    play(Transport::Polling, &waiting);
}

#[test]
fn a_probe_that_does_not_take_over_leaves_the_session_as_it_was() {
    for said in ["5", "4hello", "2", "1", "3probe"] {
        let script = [(2, Input::ProbeOpened, ""), (3, probe(said), "close probe"), (4, packet("4x"), "deliver x")];
        assert_eq!(play(Transport::Polling, &script).transport(), Transport::Polling);
    }
    play(
        Transport::Polling,
        &[
            (1, Input::ProbeOpened, ""),
            (2, Input::ProbeOpened, "refuse 3"),
            (3, Input::ProbeGone, ""),
            (4, Input::ProbeOpened, ""),
            (5, probe("2probe"), "probe 3probe"),
            (6, Input::ProbeGone, ""),
            (7, probe("5"), ""),
            (8, Input::Poll, ""),
        ],
    );
    let late = Times { ping_interval: 100_000, ..TIMES };
    let mut session = Session::new(Transport::Polling, 0, &late);
    assert_eq!(session.take(1, &late, Input::ProbeOpened).into_iter().count(), 0);
    assert_eq!(session.wake_at(), 1001);
    let actions: Vec<_> = session.take(1001, &late, Input::Tick).into_iter().collect();
    assert_eq!(actions, [Action::CloseProbe]);
}

#[test]
fn we_part_without_a_word_that_keeps_the_client_away() {
    play(Transport::WebSocket, &[(1, Input::Close, "end ByUs")]);
    play(Transport::Polling, &[(1, Input::Poll, ""), (2, Input::Close, "answer 1, end ByUs")]);
    play(Transport::Polling, &[(1, Input::Close, ""), (2, Input::Close, ""), (3, Input::Poll, "answer 1, end ByUs")]);
    let session = play(Transport::Polling, &[(1, Input::Close, ""), (300, Input::Tick, "")]);
    assert_eq!((session.wake_at(), session.can_write()), (401, false));
    play(Transport::Polling, &[(1, Input::Close, ""), (401, Input::Tick, "end ByUs")]);
    play(
        Transport::Polling,
        &[
            (1, Input::ProbeOpened, ""),
            (2, probe("2probe"), "probe 3probe"),
            (3, Input::Close, ""),
            (4, probe("5"), "close probe"),
        ],
    );
}

fn any_input() -> impl Strategy<Value = Input<'static>> {
    let said = prop::sample::select(vec!["0", "1", "2", "2probe", "3", "4x", "5", "6", "bAQI=", "b!"]);
    prop_oneof![
        4 => Just(Input::Poll),
        2 => Just(Input::PollAnswered),
        1 => Just(Input::PollGone),
        2 => Just(Input::Post),
        2 => Just(Input::PostDone),
        1 => Just(Input::PostGone),
        6 => said.clone().prop_map(packet),
        1 => Just(Input::Gone),
        2 => Just(Input::ProbeOpened),
        4 => said.prop_map(probe),
        1 => Just(Input::ProbeGone),
        6 => Just(Input::Tick),
        1 => Just(Input::Close),
    ]
}

proptest! {
    /// Only a poll that waits is answered, a session ends once and says nothing after it but refusals, and it never
    /// stands still: an open session wants to be woken before a client could take it for dead.
    #[test]
    fn a_session_keeps_its_word(polling: bool, script in prop::collection::vec((0u64..250, any_input()), 0..60)) {
        let transport = if polling { Transport::Polling } else { Transport::WebSocket };
        let mut session = Session::new(transport, 0, &TIMES);
        let (mut now, mut waits, mut ended) = (0, false, false);
        for (passed, input) in script {
            now += passed;
            let polls = matches!(input, Input::Poll);
            if matches!(input, Input::PollAnswered | Input::PollGone) {
                waits = false;
            }
            let (mut refused, before) = (false, waits);
            let actions: Vec<_> = session.take(now, &TIMES, input).into_iter().collect();
            for action in &actions {
                match action {
                    Action::Refuse(_) => refused = true,
                    _ if ended => prop_assert!(false, "{:?} after the end", action),
                    Action::AnswerPoll(_) => prop_assert!(before || (polls && !refused), "no poll waits"),
                    _ => {}
                }
                ended |= matches!(action, Action::End(_));
            }
            let answered = actions.iter().any(|action| matches!(action, Action::AnswerPoll(_)));
            waits = (waits || (polls && !refused)) && !answered && !ended;
            prop_assert!(!ended || (!session.can_write() && session.wake_at() == u64::MAX));
            prop_assert!(ended || session.wake_at() <= now + 900, "never woken");
            if session.transport() == Transport::Polling && !ended && session.can_write() {
                prop_assert!(waits);
            }
        }
    }
}
