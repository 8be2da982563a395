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

/// Writes plots as files of their own into a folder: `<name>-1.svg` and so on.
pub(crate) fn plots(folder: &Path, name: &str, plots: &[String]) -> Result<(), Failure> {
    let what = || format!("write plots into {}", folder.display());
    let legal = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = name.chars().map(legal).collect();
    std::fs::create_dir_all(folder).map_err(Failure::io(what()))?;
    for (at, plot) in plots.iter().enumerate() {
        std::fs::write(folder.join(format!("{name}-{}.svg", at + 1)), plot).map_err(Failure::io(what()))?;
    }
    Ok(())
}
