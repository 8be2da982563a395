//! What the machine as a whole has and uses, from `/proc`.

use std::path::Path;

/// Bytes, as the kernel accounts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct MachineMemory {
    /// What could still be used without swapping.
    pub(crate) available: u64,
    /// The kernel's own objects that it cannot simply drop: sockets, files, entries of epoll.
    pub(crate) kernel_objects: u64,
    /// What stands in the buffers of TCP sockets.
    pub(crate) socket_buffers: u64,
}

impl MachineMemory {
    pub(crate) fn now() -> Self {
        let (meminfo, sockstat) = (read("/proc/meminfo"), read("/proc/net/sockstat"));
        let kib = |field| number_after(&meminfo, field).unwrap_or(0) * 1024;
        let pages =
            sockstat.lines().find(|line| line.starts_with("TCP:")).and_then(|line| number_after(line, " mem")).unwrap_or(0);
        Self {
            available: kib("MemAvailable:"),
            kernel_objects: kib("Slab:"),
            socket_buffers: pages * rustix::param::page_size() as u64,
        }
    }
}

/// What limits the number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of each process.
    pub(crate) descriptors: u64,
    /// Of the machine, less those in use.
    pub(crate) files_left: u64,
    /// Ports that the kernel gives to connections, for each address.
    pub(crate) ports: u64,
    /// Whether connections on loopback are tracked one by one by a firewall.
    pub(crate) tracked: bool,
    pub(crate) memory_available: u64,
}

/// Both ends of a connection in the kernel, about 4 KB each, and what two processes keep of it; measured.
pub(crate) const BYTES_A_CONNECTION: u64 = 12_000;
/// What the machine must be left with.
pub(crate) const RESERVE_BYTES: u64 = 1 << 30;
/// Files beside the connections: of gateways, client processes and everybody else.
const FILES_BESIDE: u64 = 20_000;

impl Limits {
    pub(crate) fn now() -> Self {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let files: Vec<u64> = numbers(&read("/proc/sys/fs/file-nr"));
        let range: Vec<u64> = numbers(&read("/proc/sys/net/ipv4/ip_local_port_range"));
        let tracked = numbers(&read("/proc/sys/net/netfilter/nf_conntrack_count")).first().is_some_and(|count| *count > 0);
        Self {
            descriptors,
            files_left: if let [used, _, max] = files[..] { max.saturating_sub(used) } else { u64::MAX },
            ports: if let [low, high] = range[..] { high - low + 1 } else { 28_000 },
            tracked,
            memory_available: MachineMemory::now().available,
        }
    }

    /// What stands in the way of so many connections, in sentences; nothing if they should be possible.
    pub(crate) fn objections(&self, connections: u32, a_gateway: u32, a_source_address: u32) -> Vec<String> {
        let connections = u64::from(connections);
        let mut objections = Vec::new();
        let mut object = |is: bool, what: String| objections.extend(is.then_some(what));
        let (a_gateway, descriptors) = (u64::from(a_gateway) + 300, self.descriptors);
        object(
            a_gateway > descriptors,
            format!("a gateway would need {a_gateway} descriptors and may have {descriptors}: more --gateways, or `ulimit -n`"),
        );
        let (files, left) = (connections * 2 + FILES_BESIDE, self.files_left);
        object(files > left, format!("{files} open files are needed and {left} left: raise fs.file-max"));
        object(
            u64::from(a_source_address) > self.ports,
            format!("{a_source_address} ports would be needed on one address and there are {}", self.ports),
        );
        object(self.tracked, "connections are tracked (nf_conntrack), which costs time and has a limit of its own".into());
        let (needed, available) = (connections * BYTES_A_CONNECTION + RESERVE_BYTES, self.memory_available);
        object(needed > available, format!("about {} MB are needed and {} available", needed >> 20, available >> 20));
        objections
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The number that stands after a word.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let rest = &text[text.find(word)? + word.len()..];
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(number_after("MemFree: 1 kB\nMemAvailable:   24 kB\n", "MemAvailable:"), Some(24));
        assert_eq!(number_after("TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 121", " mem"), Some(121));
        assert_eq!((number_after("", "x"), numbers("32768\t60999\n")), (None, vec![32_768, 60_999]));
        assert!(MachineMemory::now().available > 0 && Limits::now().ports > 0);
    }

    #[test]
    fn what_cannot_be_is_said_beforehand() {
        let roomy =
            Limits { descriptors: 20_000, files_left: 2_400_000, ports: 28_000, tracked: false, memory_available: 24 << 30 };
        for (limits, connections, a_gateway, a_source, objections) in [
            (roomy, 1_000_000, 19_500, 2500, 0),
            (roomy, 1_000_000, 20_000, 2500, 1),
            (roomy, 1_500_000, 19_500, 2500, 1),
            (roomy, 20_000, 19_500, 30_000, 1),
            (Limits { tracked: true, ..roomy }, 20_000, 19_500, 2500, 1),
            (Limits { memory_available: 2 << 30, ..roomy }, 1_000_000, 19_500, 2500, 1),
            (Limits { descriptors: 1024, files_left: 9, ..roomy }, 20_000, 19_500, 2500, 2),
        ] {
            let said = limits.objections(connections, a_gateway, a_source);
            assert_eq!(said.len(), objections, "{said:?}");
        }
    }
}
