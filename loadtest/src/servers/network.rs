//! What the kernel counts of all listening sockets of the machine.

/// Connections that found the queue of a listener full; each is tried again, a second later.
pub(crate) fn listen_overflows() -> u64 {
    counter(&std::fs::read_to_string("/proc/net/netstat").unwrap_or_default(), "ListenOverflows").unwrap_or(0)
}

/// Names and numbers stand in two lines, one below the other.
fn counter(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let found = names.split_whitespace().zip(numbers.split_whitespace()).find(|(of, _)| *of == name);
    found?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_stands_below_its_name() {
        let netstat = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 132 140\nIpExt: InNoRoutes\nIpExt: 7\n";
        assert_eq!((counter(netstat, "ListenOverflows"), counter(netstat, "InNoRoutes")), (Some(132), None));
        assert_eq!(counter("", "ListenOverflows"), None);
    }
}
