//! The WebSocket core against the RFCs, against another implementation and against hostile clients.

mod client;
mod deflate;
mod fragments;
mod hostile;
mod peer;
mod sections;
mod violations;
