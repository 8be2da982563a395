//! What crosses the boundary between the bus and the rest of a process.

mod commands;
mod errors;
mod events;
mod heads;
mod records;

pub use commands::*;
pub use errors::*;
pub use events::*;
pub(crate) use heads::Owner;
pub use heads::{Expect, HeadQuery, Revision};
pub use records::*;
