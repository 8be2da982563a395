//! What was found, for people and for programs.

pub(crate) mod comparison;
pub(crate) mod fleet;
pub(crate) mod html;
pub(crate) mod outcome;
pub(crate) mod plot;
pub(crate) mod say;
pub(crate) mod table;

use crate::error::Failure;
use serde::Serialize;
use std::path::Path;

/// Writes figures as JSON.
pub(crate) fn json(path: &Path, figures: &impl Serialize) -> Result<(), Failure> {
    let what = || format!("write {}", path.display());
    let text = serde_json::to_vec_pretty(figures).map_err(|error| Failure::io(what())(error.into()))?;
    std::fs::write(path, text).map_err(Failure::io(what()))
}
