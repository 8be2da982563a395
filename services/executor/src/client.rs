//! The HTTP client of this process, as all its parts want it.

use reqwest::{ClientBuilder, Url, redirect};
use std::time::Duration;

/// Connecting to a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that follows no redirect: a server that is named must not choose another one for us.
pub(crate) fn builder() -> ClientBuilder {
    // Another part of the process may have chosen its provider already; that one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientBuilder::new()
        .user_agent(concat!("weft-executor/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
}

/// The same for one server, which a proxy cannot reach when it is on this machine.
pub(crate) fn builder_for(server: &Url) -> ClientBuilder {
    let is_local = server.host_str().is_some_and(crate::door::is_loopback);
    if is_local { builder().no_proxy() } else { builder() }
}
