//! Cases made at random, the same in every run.

use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

/// Cases of each kind.
pub const CASES: usize = 2000;

/// Draws from a strategy, always the same.
pub fn drawn<S: Strategy>(strategy: &S, count: usize) -> Vec<S::Value> {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    (0..count).map(|_| strategy.new_tree(&mut runner).expect("draws").current()).collect()
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Any JSON that both sides print alike: whole numbers of few digits, texts, and what is made of them.
pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ -~\u{e9}\u{1f600}\u{1e}\n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

/// The same with attachments among it, as `{"$bytes": base64}`.
pub fn any_json_with_bytes() -> impl Strategy<Value = Value> {
    let bytes = prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| json!({ "$bytes": base64(&bytes) }));
    prop_oneof![
        2 => any_json(),
        1 => bytes.clone(),
        1 => (any_json(), bytes).prop_map(|(json, bytes)| json!({ "a": [json, bytes] })),
    ]
}

/// An event's name that the libraries leave to their users.
pub fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![Just("subscribe".to_owned()), "[a-z:\"\u{e9}]{1,8}".prop_map(|name| format!("x{name}"))]
}
