//! What is counted. Labels come from closed sets and never hold an id.

use crate::Refused;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const TOKENS: &str = "weft_guard_tokens_total";
const FETCHES: &str = "weft_guard_jwks_fetches_total";
const HOOK: &str = "weft_guard_hook_total";
const REVOCATIONS: &str = "weft_guard_revocations";
const INVALID: &str = "weft_guard_revocations_invalid_total";
const LIMITED: &str = "weft_guard_limited_total";
const CONTROL: &str = "weft_guard_control_total";
/// What operators ask for, and how that may end.
const CONTROLS: [(&str, &[&str]); 9] = [
    ("refused", &["unauthenticated"]),
    ("revoke", &["done", "invalid", "impossible", "failed"]),
    ("list", &["done"]),
    ("rooms", &["done"]),
    ("inspect", &["done", "unknown"]),
    ("disconnect", &["done", "unknown"]),
    ("drain", &["done", "repeated"]),
    ("shed", &["done", "invalid", "impossible"]),
    ("other", &["unknown", "abandoned", "invalid"]),
];

/// Describes all, and begins those at 0 whose first step is worth an alarm.
pub(crate) fn describe() {
    describe_counter!(TOKENS, Unit::Count, "Tokens that were shown, by outcome");
    describe_counter!(FETCHES, Unit::Count, "Fetches of the key set, by outcome");
    describe_counter!(HOOK, Unit::Count, "Questions to the authorization hook, by outcome");
    describe_gauge!(REVOCATIONS, Unit::Count, "Revocations that are known");
    describe_counter!(INVALID, Unit::Count, "Lines of the journal of revocations that are none");
    describe_counter!(LIMITED, Unit::Count, "Connections, publications and reads refused or put off by a limit of one client");
    describe_counter!(CONTROL, Unit::Count, "Requests to the control listener, by action and outcome");
    counter!(TOKENS, "outcome" => "accepted").increment(0);
    Refused::ALL.iter().for_each(|refused| counter!(TOKENS, "outcome" => refused.word()).increment(0));
    ["fetched", "failed"].iter().for_each(|outcome| counter!(FETCHES, "outcome" => *outcome).increment(0));
    ["address", "user", "sockets", "connects", "publish", "reads", "pages"]
        .iter()
        .for_each(|limit| counter!(LIMITED, "limit" => *limit).increment(0));
    ["remembered", "crowded", "failed", "allow", "deny", "abide"]
        .iter()
        .for_each(|outcome| counter!(HOOK, "outcome" => *outcome).increment(0));
    for (action, outcomes) in CONTROLS {
        outcomes.iter().for_each(|outcome| counter!(CONTROL, "action" => action, "outcome" => *outcome).increment(0));
    }
    counter!(INVALID).increment(0);
}

pub(crate) fn token(outcome: Result<(), Refused>) {
    counter!(TOKENS, "outcome" => outcome.map_or_else(Refused::word, |()| "accepted")).increment(1);
}

pub(crate) fn jwks(outcome: &'static str) {
    counter!(FETCHES, "outcome" => outcome).increment(1);
}

pub(crate) fn hook(outcome: &'static str) {
    counter!(HOOK, "outcome" => outcome).increment(1);
}

pub(crate) fn revocations(known: usize) {
    gauge!(REVOCATIONS).set(known as f64);
}

pub(crate) fn invalid_revocation() {
    counter!(INVALID).increment(1);
}

pub(crate) fn limited(limit: &'static str) {
    counter!(LIMITED, "limit" => limit).increment(1);
}

pub(crate) fn control(action: &'static str, outcome: &'static str) {
    counter!(CONTROL, "action" => action, "outcome" => outcome).increment(1);
}
