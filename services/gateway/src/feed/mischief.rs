//! Test builds only (`--features mutants`): leaves one guard of the feed out and disturbs the live path, because a guard
//! is only missed where something goes wrong.
//!
//! `WEFT_MUTANT` names the guard (`dedup`, `gap-check`, `seam-merge`), or `nothing` for the disturbance alone. Without it
//! this build behaves like any other.

use super::sync::Mutant;
use std::sync::atomic::{AtomicU64, Ordering};
use weft_bus::Delivery;
use weft_guard::check::{Check, without};

/// Every so many live events one is lost.
const LOST_EACH: u64 = 7;
/// Every so many live events one comes twice.
const REPEATED_EACH: u64 = 5;

/// `WEFT_MUTANT_CHECK` names a check of the guard to be left out in the whole process.
fn leave_out_check() {
    let Ok(name) = std::env::var("WEFT_MUTANT_CHECK") else { return };
    let check = Check::ALL.into_iter().find(|check| format!("{check:?}") == name);
    without(Some(check.unwrap_or_else(|| panic!("WEFT_MUTANT_CHECK={name}: is no check"))));
}

/// What disturbs the live path.
#[derive(Default)]
pub struct Mischief {
    mutant: Option<Mutant>,
    count: AtomicU64,
}

impl Mischief {
    /// As the environment says.
    ///
    /// # Panics
    /// `WEFT_MUTANT` names no mutant: a test that leaves out nothing would prove nothing.
    pub fn from_env() -> Self {
        let mutant = std::env::var("WEFT_MUTANT").ok().map(|name| match name.as_str() {
            "nothing" => Mutant::Nothing,
            "dedup" => Mutant::Dedup,
            "gap-check" => Mutant::GapCheck,
            "seam-merge" => Mutant::SeamMerge,
            _ => panic!("WEFT_MUTANT={name}: must be nothing, dedup, gap-check or seam-merge"),
        });
        leave_out_check();
        Self { mutant, ..Self::default() }
    }

    /// The guard to leave out.
    pub fn mutant(&self) -> Mutant {
        self.mutant.unwrap_or_default()
    }

    /// What arrives of a live event: nothing, itself, or itself twice.
    pub fn disturb(&self, delivery: Delivery) -> Vec<Delivery> {
        if self.mutant.is_none() {
            return vec![delivery];
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        match count {
            lost if lost % LOST_EACH == LOST_EACH - 1 => Vec::new(),
            repeated if repeated % REPEATED_EACH == REPEATED_EACH - 1 => vec![delivery.clone(), delivery],
            _ => vec![delivery],
        }
    }
}
