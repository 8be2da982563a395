//! Socket.IO: packets, the link, and what recovery rests on.

mod hostile;
mod link;
mod recovery;
