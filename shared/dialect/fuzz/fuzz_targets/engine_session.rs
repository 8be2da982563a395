//! Any order of anything that may happen to a session: it ends once, and answers no poll that does not wait.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weft_dialect::engine::{Action, Input, Packet, Session, Times, Transport};

const TIMES: Times = Times { ping_interval: 300, ping_timeout: 200, upgrade_timeout: 1000, close_timeout: 400 };
const TEXTS: [&str; 10] = ["0", "1", "2", "2probe", "3", "4x", "5", "6", "bAQI=", "x"];

fn input(byte: u8) -> Input<'static> {
    let packet = || Packet::parse(TEXTS[usize::from(byte >> 4) % TEXTS.len()]);
    match byte & 15 {
        0 => Input::Poll,
        1 => Input::PollAnswered,
        2 => Input::PollGone,
        3 => Input::Post,
        4 => Input::PostDone,
        5 => Input::PostGone,
        6 | 7 => packet().map_or(Input::Malformed, Input::Packet),
        8 => Input::Gone,
        9 => Input::ProbeOpened,
        10 | 11 => packet().map_or(Input::ProbeGone, Input::Probe),
        12 => Input::ProbeGone,
        13 => Input::Close,
        _ => Input::Tick,
    }
}

fuzz_target!(|script: &[u8]| {
    let [kind, script @ ..] = script else { return };
    let transport = if kind & 1 == 0 { Transport::Polling } else { Transport::WebSocket };
    let mut session = Session::new(transport, 0, &TIMES);
    let (mut now, mut ended, mut waits) = (0, false, false);
    for step in script.chunks_exact(2) {
        now += u64::from(step[0]);
        let input = input(step[1]);
        let polls = matches!(input, Input::Poll);
        waits &= !matches!(input, Input::PollAnswered | Input::PollGone);
        for action in session.take(now, &TIMES, input) {
            assert!(!ended || matches!(action, Action::Refuse(_)));
            assert!(waits || polls || !matches!(action, Action::AnswerPoll(_)));
            ended |= matches!(action, Action::End(_));
            waits &= !matches!(action, Action::AnswerPoll(_));
        }
        waits = session.transport() == Transport::Polling && session.can_write();
        assert!(if ended { session.wake_at() == u64::MAX } else { session.wake_at() <= now + 1000 });
    }
});
