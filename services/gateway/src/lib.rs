//! The gateway: holds client connections and delivers the events of the rooms they follow.
//!
//! An event's path: the bus driver pushes it into the [`feed`], which keeps each room's log true to the stored
//! history; the [`hub`] holds the logs; a [`session`] reads them from its cursors and writes frames to its
//! [`transport`]. Requests come in by [`http`]. A gateway holds nothing that another could not rebuild.

pub mod config;
pub mod feed;
pub mod fleet;
pub mod http;
pub mod hub;
pub mod metrics;
pub mod run;
pub mod session;
pub mod transport;

pub use config::{Settings, raise_descriptors};
pub use run::run;
