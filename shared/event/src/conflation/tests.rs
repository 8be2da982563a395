use super::*;
use crate::{Snapshot, prepare};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn event(text: &str) -> Prepared {
    prepare(text.to_owned().into(), None, &Limits::default()).expect(text)
}

/// One word an event: `p:n:5` and the like, so that a run reads as one line.
fn short(word: &str) -> Prepared {
    let [kind, who, what] = word.split('.').collect::<Vec<_>>()[..] else { panic!("{word}") };
    let number: u8 = what.parse().unwrap_or_default();
    event(&match kind {
        "progress" => format!(r#"{{"type":"execution:progress","executionId":"{who}","data":{{"progress":{number}}}}}"#),
        "updated" => format!(r#"{{"type":"execution:updated","executionId":"{who}","data":{{"status":"{what}"}}}}"#),
        "ended" => format!(r#"{{"type":"execution:completed","executionId":"{who}"}}"#),
        "node" => format!(r#"{{"type":"node:progress","executionId":"e","nodeId":"{who}","data":{{"progress":{number}}}}}"#),
        "nodestep" => {
            format!(r#"{{"type":"node:progress","executionId":"e","nodeId":"{who}","data":{{"progress":{number},"step":"s"}}}}"#)
        }
        "nodeend" => format!(r#"{{"type":"node:completed","executionId":"e","nodeId":"{who}"}}"#),
        "token" => {
            format!(
                r#"{{"type":"agent:token","executionId":"e","agentId":"{who}","data":{{"token":"{what}","index":{number}}}}}"#
            )
        }
        "tool" => format!(r#"{{"type":"agent:tool_call","executionId":"e","agentId":"{who}"}}"#),
        "kb" => format!(r#"{{"type":"kb:processing","knowledgeBaseId":"{who}","data":{{"progress":{number}}}}}"#),
        "log" => format!(r#"{{"type":"log","executionId":"{who}"}}"#),
        other => panic!("{other}"),
    })
}

/// What is left of a run: words as they were, `+n` where one stands for n others, `=text` where tokens were joined.
fn left(run: &str) -> String {
    let words: Vec<&str> = run.split_whitespace().collect();
    let events: Vec<Prepared> = words.iter().copied().map(short).collect();
    let told = |kept: &Kept| {
        let skipped = kept.skipped.map_or_else(String::new, |n| format!("+{n}"));
        let joined = kept.joined.as_ref().map_or_else(String::new, |joined| format!("={}", token(joined)));
        format!("{}{skipped}{joined}", words[kept.index])
    };
    conflate(&events, &Limits::default()).iter().map(told).collect::<Vec<_>>().join(" ")
}

fn data(event: &Prepared) -> Value {
    serde_json::from_str(event.envelope().data_text()).expect("an object")
}

fn token(event: &Prepared) -> String {
    data(event)["token"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_latest_wins_and_stands_at_its_own_place() {
    for (run, expected) in [
        ("", ""),
        ("progress.e.1", "progress.e.1"),
        ("progress.e.1 progress.e.2 progress.e.3", "progress.e.3+2"),
        ("progress.e.1 log.e.x progress.e.2", "log.e.x progress.e.2+1"),
        ("node.a.1 node.b.1 node.a.2 node.b.2", "node.a.2+1 node.b.2+1"),
        ("kb.k.1 kb.l.1 kb.k.2", "kb.l.1 kb.k.2+1"),
        // A user's room has many executions.
        ("progress.e.1 progress.f.1 progress.e.2", "progress.f.1 progress.e.2+1"),
        // Types do not stand for each other.
        ("progress.e.1 updated.e.running", "progress.e.1 updated.e.running"),
        // The later one lacks a field, so both remain; the next one has all of the second.
        ("nodestep.a.1 node.a.2 node.a.3", "nodestep.a.1 node.a.3+1"),
        ("node.a.1 nodestep.a.2 nodestep.a.3", "nodestep.a.3+2"),
        // An end parts what came before it from what comes after, for its own subject.
        ("node.a.1 nodeend.a.x node.a.2", "node.a.1 nodeend.a.x node.a.2"),
        ("node.a.1 nodeend.b.x node.a.2", "nodeend.b.x node.a.2+1"),
        ("node.a.1 progress.e.1 ended.e.x node.a.2 progress.e.2", "node.a.1 progress.e.1 ended.e.x node.a.2 progress.e.2"),
        ("progress.e.1 ended.f.x progress.e.2", "ended.f.x progress.e.2+1"),
        // A status that ends the execution is an end.
        ("updated.e.running updated.e.running", "updated.e.running+1"),
        ("updated.e.failed updated.e.running", "updated.e.failed updated.e.running"),
        ("progress.e.1 updated.e.failed progress.e.2", "progress.e.1 updated.e.failed progress.e.2"),
    ] {
        assert_eq!(left(run), expected, "{run}");
    }
}

#[test]
fn tokens_are_joined_where_nothing_sent_stands_between() {
    for (run, expected) in [
        ("token.a.x", "token.a.x"),
        ("token.a.x token.a.y token.a.z", "token.a.z+2=xyz"),
        ("token.a.x tool.a.1 token.a.y token.a.z", "token.a.x tool.a.1 token.a.z+1=yz"),
        ("token.a.x log.e.1 token.a.y", "token.a.x log.e.1 token.a.y"),
        ("token.a.x token.b.y token.a.z", "token.a.x token.b.y token.a.z"),
        // A progress that is skipped is not sent and parts nothing.
        ("token.a.x node.n.1 token.a.y node.n.2", "token.a.y+1=xy node.n.2+1"),
        ("token.a.x node.n.1 token.a.y", "token.a.x node.n.1 token.a.y"),
    ] {
        assert_eq!(left(run), expected, "{run}");
    }
}

#[test]
fn a_joined_token_is_the_last_one_but_for_its_text() {
    let token = |id: u8, data: &str| {
        event(&format!(r#"{{"type":"agent:token","agentId":"a","id":"{id}","data":{data},"executionId":"e","userId":"u"}}"#))
    };
    let events = [
        token(1, r#"{"token":"a\"\ud83d","index":1,"response":"a"}"#),
        token(2, r#"{"index":2,"token":"\ude00 \\","response":"ab"}"#),
        token(3, r#"{"index":3, "token":"", "response":"abc"}"#),
    ];
    let kept = conflate(&events, &Limits::default());
    let [Kept { index: 2, skipped: Some(2), joined: Some(joined) }] = &kept[..] else { panic!("{kept:?}") };
    let expected = r#"{"type":"agent:token","agentId":"a","id":"3","data":{"index":3, "token":"a\"\ud83d\ude00 \\", "response":"abc"},"executionId":"e","userId":"u"}"#;
    assert_eq!(joined.body, expected);
    assert_eq!(joined.id.as_deref(), Some("3"));
    assert_eq!(self::token(joined), "a\"\u{1f600} \\");
}

#[test]
fn what_cannot_be_told_apart_is_sent_as_it_is() {
    for bodies in [
        [r#""agent:token","data":{"token":1}"#, r#""agent:token","data":{"token":2}"#],
        [r#""agent:token","data":{"token":"x","token":"y"}"#, r#""agent:token","data":{"token":"z"}"#],
        [r#""agent:token""#, r#""agent:token""#],
        [r#""agent:progress","data":{"a":1,"a":2}"#, r#""agent:progress","data":{"a":3}"#],
        [r#""agent:progress","data":{"a":1}"#, r#""agent:progress","data":{"a":2,"a":3}"#],
        [r#""agent:progress","userId":"u""#, r#""agent:progress","userId":"v""#],
        [r#""user_input:progress""#, r#""user_input:progress""#],
    ] {
        let events = bodies.map(|body| event(&format!(r#"{{"executionId":"e","agentId":"a","type":{body}}}"#)));
        let kept = conflate(&events, &Limits::default());
        assert!(kept.len() == 2 && kept.iter().all(|kept| kept.skipped.is_none() && kept.joined.is_none()), "{bodies:?}");
    }
}

#[test]
fn joined_events_stay_within_the_limit() {
    let events: Vec<Prepared> = (0..10).map(|_| short(&format!("token.a.{}", "x".repeat(100)))).collect();
    let limits = Limits { event_bytes_max: events[0].body.len() + 250, ..Limits::default() };
    let kept = conflate(&events, &limits);
    let sizes: Vec<u64> = kept.iter().map(|kept| kept.skipped.unwrap_or_default() + 1).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
    let joined = kept.iter().filter_map(|kept| kept.joined.as_ref());
    assert!(joined.clone().all(|joined| joined.body.len() <= limits.event_bytes_max));
    assert_eq!(joined.map(|joined| token(joined).len()).sum::<usize>(), 900);
}

/// What a client knows after some frames: the folded states, the text of each agent, the lossless events.
#[derive(Default)]
struct Reader {
    states: BTreeMap<String, Snapshot>,
    texts: BTreeMap<String, String>,
    lossless: Vec<Box<str>>,
}

impl Reader {
    fn reads(&mut self, event: &Prepared) {
        let execution = event.execution_id.as_deref().unwrap_or_default().to_owned();
        self.states.entry(execution.clone()).or_insert_with(|| Snapshot::new(&execution)).apply(&event.envelope(), None);
        if event.class() == Class::Lossless {
            self.lossless.push(event.id.clone().expect("generated with an id"));
        }
        if &*event.kind == "agent:token" {
            *self.texts.entry(format!("{execution} {:?}", event.agent_id)).or_default() += &token(event);
        }
    }

    /// Nodes compare as a set: a node that no event has started may appear earlier or later.
    fn knows(&self) -> (Vec<Value>, &BTreeMap<String, String>, &[Box<str>]) {
        let state = |state: &Snapshot| serde_json::from_str(&state.to_json(None)).expect("json");
        (self.states.values().map(state).collect(), &self.texts, &self.lossless)
    }
}

fn read<'a>(events: impl IntoIterator<Item = &'a Prepared>) -> Reader {
    let mut reader = Reader::default();
    events.into_iter().for_each(|event| reader.reads(event));
    reader
}

fn any_data() -> impl Strategy<Value = String> {
    let value = || prop::option::of(prop::sample::select(vec!["1", "2", "null", "\"failed\"", "\"running\"", "\"odd\""]));
    (value(), value(), value(), "[a-c\\\\]{0,3}", 0..8u8).prop_map(|(status, progress, current, text, twice)| {
        let fields = [("status", status), ("progress", progress), ("currentNode", current)];
        let mut data: Vec<String> =
            fields.iter().filter_map(|(key, value)| Some(format!("\"{key}\":{}", value.as_ref()?))).collect();
        data.push(format!("\"token\":{}", json!(text)));
        if twice == 0 {
            data.push("\"progress\":7".into());
        }
        format!("{{{}}}", data.join(","))
    })
}

fn any_run() -> impl Strategy<Value = Vec<Prepared>> {
    // Progress and tokens more often, so that there is something to spare.
    let kind = prop::sample::select(vec![
        "execution:started",
        "execution:updated",
        "execution:updated",
        "execution:progress",
        "execution:progress",
        "execution:progress",
        "execution:completed",
        "node:started",
        "node:progress",
        "node:progress",
        "node:progress",
        "node:completed",
        "agent:progress",
        "agent:progress",
        "agent:token",
        "agent:token",
        "agent:token",
        "agent:token",
        "agent:tool_call",
        "agent:completed",
        "user_input:required",
        "log",
    ]);
    let one = (kind, 0..6u8, any_data(), prop::sample::select(vec!["", "", "", ",\"userId\":\"u\"", ",\"workflowId\":\"w\""]));
    prop::collection::vec(one, 0..40).prop_map(|run| {
        let event = |(number, (kind, who, data, more)): (usize, (&str, u8, String, &str))| {
            let (who, execution) = (who % 2, u8::from(who == 0));
            event(&format!(
                r#"{{"type":"{kind}","id":"{number}","executionId":"e{execution}","nodeId":"x{who}","agentId":"x{who}","data":{data}{more}}}"#
            ))
        };
        run.into_iter().enumerate().map(event).collect()
    })
}

proptest! {
    #[test]
    fn what_remains_says_what_all_said(run in any_run()) {
        let kept = conflate(&run, &Limits::default());
        prop_assert!(kept.is_sorted_by(|one, next| one.index < next.index), "{kept:?}");
        prop_assert_eq!(kept.iter().map(|kept| 1 + kept.skipped.unwrap_or_default()).sum::<u64>(), run.len() as u64);
        for kept in &kept {
            let is_lossless = run[kept.index].class() == Class::Lossless;
            prop_assert!(!is_lossless || kept.skipped.is_none() && kept.joined.is_none());
            prop_assert!(kept.joined.is_none() || kept.skipped.is_some());
            if let Some(joined) = &kept.joined {
                event(std::str::from_utf8(&joined.body).expect("UTF-8"));
            }
        }
        let all = read(&run);
        // Cut off after any frame, and everything after its offset read as it was published.
        for cut in 0..=kept.len() {
            let frames = kept[..cut].iter().map(|kept| kept.joined.as_deref().unwrap_or(&run[kept.index]));
            let next = kept[..cut].last().map_or(0, |kept| kept.index + 1);
            let some = read(frames.chain(&run[next..]));
            prop_assert_eq!(some.knows(), all.knows(), "cut after {}", cut);
        }
    }
}
