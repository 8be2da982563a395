//! Every row of the contract's tables of frames, sections 5 to 8 and 10: one event in, exact frames out.

mod a;
mod c;
mod commands;
mod corpus;
mod d;
mod e;
mod hostile;
mod samples;
mod sse;
