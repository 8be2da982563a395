//! The transcoder against serde_json and an independent MessagePack implementation.

use proptest::prelude::*;
use serde_json::Value;
use weft_dialect::msgpack::{Bounds, from_json, to_json};

const BOUNDS: Bounds = Bounds { depth_max: 64, json_bytes_max: 1 << 20 };

fn any_number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        prop::num::f64::SUBNORMAL.prop_map(Value::from),
        (-1000i64..1000).prop_map(|n| Value::from(n as f64 / 8.0)),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any_number(),
        any::<String>().prop_map(Value::from),
        "[a-z\"\\\\\u{0}-\u{1f}]{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 96, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What an independent decoder reads from the bytes, as JSON.
fn read_back(bytes: &[u8]) -> Value {
    let mut rest = bytes;
    let value = rmpv::decode::read_value(&mut rest).expect("an independent decoder reads it");
    assert!(rest.is_empty(), "nothing stands after the value");
    as_json(value)
}

fn as_json(value: rmpv::Value) -> Value {
    match value {
        rmpv::Value::Nil => Value::Null,
        rmpv::Value::Boolean(yes) => yes.into(),
        rmpv::Value::Integer(n) => n.as_u64().map(Value::from).or(n.as_i64().map(Value::from)).expect("64 bits"),
        rmpv::Value::F64(n) => n.into(),
        rmpv::Value::F32(n) => f64::from(n).into(),
        rmpv::Value::String(text) => text.as_str().expect("UTF-8").into(),
        rmpv::Value::Array(elements) => elements.into_iter().map(as_json).collect(),
        rmpv::Value::Map(members) => Value::Object(
            members.into_iter().map(|(key, value)| (key.as_str().expect("string keys").to_owned(), as_json(value))).collect(),
        ),
        other => panic!("never written: {other}"),
    }
}

/// Text that is nearly JSON: its pieces in any order.
fn nearly_json() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"",
            "\\",
            " ",
            "\n",
            "\t",
            "null",
            "true",
            "false",
            "0",
            "1",
            "-",
            "-1",
            ".",
            "5",
            "e",
            "E+",
            "1e5",
            "\"a\"",
            "\"\\u",
            "d83d",
            "\\u00e9",
            "\\n",
            "\"k\":",
            "é",
            "{}",
            "[]",
            "{\"a\":1}",
            "[1,2]",
            "00",
            "\u{1}",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Whether serde_json takes the text, which judges numbers by their grammar alone where they are kept raw.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

proptest! {
    #[test]
    fn an_independent_decoder_reads_the_same_values(json in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.expect("writes");
        prop_assert_eq!(read_back(&from_json(text.as_bytes()).expect("transcodes")), json);
    }

    #[test]
    fn there_and_back_is_the_same(json in any_json()) {
        let packed = from_json(json.to_string().as_bytes()).expect("transcodes");
        let back = to_json(&packed, &BOUNDS).expect("reads back");
        prop_assert_eq!(from_json(back.as_bytes()).expect("transcodes again"), packed);
    }

    #[test]
    fn what_others_write_is_read(json in any_json()) {
        let mut packed = Vec::new();
        rmpv::encode::write_value(&mut packed, &as_messagepack(&json)).expect("writes");
        let read = to_json(&packed, &BOUNDS).expect("reads");
        prop_assert_eq!(from_json(read.as_bytes()).expect("transcodes"), packed);
    }

    #[test]
    fn exactly_json_is_taken(text in nearly_json()) {
        prop_assert_eq!(from_json(text.as_bytes()).is_ok(), is_json(&text), "{:?}", text);
    }

    #[test]
    fn no_number_changes_its_value(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
        let mut packed = &from_json(text.as_bytes()).expect("a number")[..];
        match rmpv::decode::read_value(&mut packed).expect("reads") {
            rmpv::Value::Integer(n) => prop_assert_eq!(n.to_string(), text),
            rmpv::Value::F64(n) => prop_assert!(same_number(&text, &n), "{} became {}", text, n),
            rmpv::Value::String(digits) => prop_assert_eq!(digits.as_str(), Some(text.as_str())),
            other => prop_assert!(false, "{} became {}", text, other),
        }
    }

    #[test]
    fn no_bytes_panic_and_whatever_is_read_is_json(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = from_json(&bytes);
        if let Ok(json) = to_json(&bytes, &BOUNDS) {
            prop_assert!(is_json(&json), "{:?}", json);
        }
    }
}

fn as_messagepack(json: &Value) -> rmpv::Value {
    match json {
        Value::Null => rmpv::Value::Nil,
        Value::Bool(yes) => (*yes).into(),
        Value::Number(n) => n
            .as_u64()
            .map(rmpv::Value::from)
            .or(n.as_i64().map(rmpv::Value::from))
            .unwrap_or_else(|| n.as_f64().expect("a float").into()),
        Value::String(text) => text.as_str().into(),
        Value::Array(elements) => rmpv::Value::Array(elements.iter().map(as_messagepack).collect()),
        Value::Object(members) => {
            rmpv::Value::Map(members.iter().map(|(key, value)| (key.as_str().into(), as_messagepack(value))).collect())
        }
    }
}

/// Whether the float, printed as short as may be, as a whole number, or to as many digits, gives the number of `text`.
fn same_number(text: &str, float: &f64) -> bool {
    let plain = |number: &str| -> (bool, String, i64) {
        let (negative, number) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
        let lower = number.to_ascii_lowercase();
        let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent = exponent.parse::<i64>().expect("small") - fraction.len() as i64;
        let digits = format!("{whole}{fraction}");
        let trimmed = digits.trim_end_matches('0');
        let exponent = exponent + (digits.len() - trimmed.len()) as i64;
        let significant = trimmed.trim_start_matches('0').to_owned();
        if significant.is_empty() { (negative, significant, 0) } else { (negative, significant, exponent) }
    };
    let written = plain(text);
    let digits = written.1.len().max(1);
    let printed = |text: String| plain(&text) == written;
    printed(format!("{float:e}"))
        || printed(format!("{float:.0}"))
        || (digits <= 17 && printed(format!("{float:.*e}", digits - 1)))
}
