//! The client half: many [lean clients](crate::client) in one thread of a process of their own.
//!
//! The run starts as many such processes as descriptors require ([`host`]), gives them [`order`]s and hears their
//! counts. Inside, [`turn`] is the loop: one `epoll`, one read buffer, one histogram for all clients.

pub(crate) mod common;
pub(crate) mod host;
mod member;
pub(crate) mod order;
pub(crate) mod turn;

use order::Setup;
use std::{io, process::ExitCode};

/// Runs a client process: its setup is the first line of standard input. Ends when that input ends.
pub(crate) fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The run reads why when it notices that a client process has ended.
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("clients: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let (mut input, mut part) = (Vec::new(), [0; 4096]);
    let end = loop {
        if let Some(end) = memchr::memchr(b'\n', &input) {
            break end;
        }
        match rustix::io::read(rustix::stdio::stdin(), &mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => input.extend_from_slice(&part[..length]),
        }
    };
    let orders = input.split_off(end + 1);
    turn::Swarm::new(serde_json::from_slice::<Setup>(&input)?, orders)?.run()
}
