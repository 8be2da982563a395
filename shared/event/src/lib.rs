//! What happened: events, the rooms they reach, where they stand, and the state they fold into.
//!
//! No I/O, no async, no clock. An event's published bytes travel through the fabric untouched; this crate
//! looks at them ([`Envelope`]), names the [`Room`]s they reach, gives them a [`Position`] and folds them into
//! a [`Snapshot`] that an execution's durable [`Head`] keeps.
//!
//! Reading order: [`id`] (the grammar of ids), [`room`], [`kind`] (types and classes), [`envelope`], [`prepared`]
//! (which events are valid), [`conflation`] (what a reader that is behind may be spared), [`offset`], [`snapshot`],
//! [`head`].

pub mod conflation;
pub mod envelope;
mod fields;
pub mod head;
pub mod id;
pub mod invalid;
pub mod kind;
mod line;
pub mod offset;
pub mod prepared;
pub mod room;
mod rules;
pub mod snapshot;

pub use conflation::{Kept, conflate};
pub use envelope::Envelope;
pub use head::Head;
pub use invalid::Invalid;
pub use kind::{Class, Family, Kind};
pub use line::one_line;
pub use offset::{Epoch, Offset, Position, Resume, fingerprint};
pub use prepared::{EventBytes, Limits, Prepared, prepare};
pub use room::{Room, RoomKind};
pub use snapshot::{Snapshot, Status};
