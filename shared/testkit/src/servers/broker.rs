//! What all brokers have in common: a port and a directory that survive a restart.

use crate::{
    Fault, Result,
    running::{Running, free_port, tail_of},
    scratch::Scratch,
};
use rustix::process::Signal;
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A loaded two-core machine starts a broker in well under a second; this only bounds a hang.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Somebody may take a free port between finding and using it.
const PORT_TRIES: usize = 5;

/// How one kind of broker is started and asked whether it is up.
pub(super) trait Kind {
    fn name(&self) -> &'static str;
    fn command(&self, port: u16, directory: &Path) -> Result<Command>;
    async fn answers(&self, port: u16) -> bool;
}

/// One broker process.
#[derive(Debug)]
pub(super) struct Broker<K> {
    kind: K,
    port: u16,
    /// `None` between [`Broker::kill`] and [`Broker::restart`].
    running: Option<Running>,
    /// After the process, because the process writes into it.
    scratch: Scratch,
}

impl<K: Kind> Broker<K> {
    pub(super) async fn start(kind: K, port: Option<u16>) -> Result<Self> {
        let mut tries = PORT_TRIES;
        let scratch = Scratch::new(kind.name())?;
        let mut broker = Self { kind, port: 0, running: None, scratch };
        loop {
            broker.port = match port {
                Some(port) => port,
                None => free_port()?,
            };
            tries -= 1;
            match broker.restart().await {
                Err(Fault::Ended { .. }) if port.is_none() && tries > 0 => {}
                other => return other.map(|()| broker),
            }
        }
    }

    /// Started on a free port, but perhaps not yet up: see [`Broker::ready`].
    pub(super) fn launched(kind: K) -> Result<Self> {
        let scratch = Scratch::new(kind.name())?;
        let mut broker = Self { kind, port: free_port()?, running: None, scratch };
        broker.launch()?;
        Ok(broker)
    }

    pub(super) fn kind(&self) -> &K {
        &self.kind
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// 0 while killed.
    pub(super) fn pid(&self) -> u32 {
        self.running.as_ref().map_or(0, Running::pid)
    }

    pub(super) fn kill(&mut self) {
        self.running = None;
    }

    pub(super) async fn restart(&mut self) -> Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// Starts the process without waiting for its answer, as members of a cluster that need each other must be.
    pub(super) fn launch(&mut self) -> Result<()> {
        self.kill();
        let mut command = self.kind.command(self.port, self.scratch.path())?;
        let running = Running::start(self.kind.name(), &mut command, &self.log(), self.scratch.path())?;
        self.running = Some(running);
        Ok(())
    }

    pub(super) async fn ready(&mut self) -> Result<()> {
        let (kind, port) = (&self.kind, self.port);
        match &mut self.running {
            Some(running) => running.until(START_TIMEOUT, || kind.answers(port)).await,
            None => Err(Fault::Ended { what: kind.name().into(), detail: "it was killed".into() }),
        }
    }

    pub(super) fn signal(&mut self, signal: Signal) -> Result<()> {
        match &mut self.running {
            Some(running) => running.signal(signal),
            None => Err(Fault::Ended { what: self.kind.name().into(), detail: "it was killed".into() }),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    pub(super) fn log_tail(&self) -> String {
        tail_of(&self.log())
    }

    /// Takes everything it stored, as if its disk had been replaced. Only while killed.
    pub(super) fn wipe(&mut self) -> Result<()> {
        self.kill();
        let wipe = || -> std::io::Result<()> {
            for entry in std::fs::read_dir(self.scratch.path())? {
                let path = entry?.path();
                if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
            }
            Ok(())
        };
        wipe().map_err(Fault::io("wipe a broker's directory"))
    }
}

/// The methods that every kind of server offers, written once.
macro_rules! broker_methods {
    () => {
        /// The port it listens on, the same after a restart.
        #[must_use]
        pub fn port(&self) -> u16 {
            self.broker.port()
        }

        /// Its process; 0 while killed.
        #[must_use]
        pub fn pid(&self) -> u32 {
            self.broker.pid()
        }

        /// SIGKILL, and waits until it is gone.
        pub fn kill(&mut self) {
            self.broker.kill();
        }

        /// Starts it again with the same port and data, killing it first if it runs; waits until it answers.
        ///
        /// # Errors
        /// It does not come up.
        pub async fn restart(&mut self) -> crate::Result<()> {
            self.broker.restart().await
        }

        /// Kills it and removes everything it stored; start it again with `restart`.
        ///
        /// # Errors
        /// Its files could not be removed.
        pub fn wipe(&mut self) -> crate::Result<()> {
            self.broker.wipe()
        }

        /// SIGSTOP: it keeps its connections and says nothing.
        ///
        /// # Errors
        /// It does not run.
        pub fn pause(&mut self) -> crate::Result<()> {
            self.broker.signal(rustix::process::Signal::STOP)
        }

        /// SIGCONT.
        ///
        /// # Errors
        /// It does not run.
        pub fn resume(&mut self) -> crate::Result<()> {
            self.broker.signal(rustix::process::Signal::CONT)
        }

        /// The last lines of its log.
        #[must_use]
        pub fn log_tail(&self) -> String {
            self.broker.log_tail()
        }

        /// The directory with its data; gone when this value is.
        #[must_use]
        pub fn directory(&self) -> &std::path::Path {
            self.broker.directory()
        }
    };
}
pub(super) use broker_methods;
