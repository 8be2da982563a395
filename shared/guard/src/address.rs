//! Whose connection it is, behind proxies: the right-most address that is no trusted proxy's. What stands to the left
//! of it was written by the client itself, and proves nothing.

use crate::check::{Check, holds};
use http::{HeaderMap, HeaderValue};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

/// Most hops looked at; more than that is somebody's invention.
const HOPS_MAX: usize = 32;

/// A block of addresses, `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    first: IpAddr,
    bits: u8,
}

impl Block {
    fn holds(self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differing = u32::from(first) ^ u32::from(address);
                differing.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differing = u128::from(first) ^ u128::from(address);
                differing.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// A setting that is no block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address or block such as 10.0.0.0/8")]
pub struct NoBlock(String);

impl FromStr for Block {
    type Err = NoBlock;

    fn from_str(text: &str) -> Result<Self, NoBlock> {
        let refuse = || NoBlock(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| refuse())?)),
            None => (text, None),
        };
        let first = plain(address.parse().map_err(|_| refuse())?);
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(refuse()) } else { Ok(Self { first, bits }) }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// The proxies whose word is taken.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<Block>);

impl Proxies {
    /// These blocks.
    #[must_use]
    pub fn new(blocks: Vec<Block>) -> Self {
        Self(blocks)
    }

    /// Whether it is a proxy whose word is taken.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = plain(address);
        self.0.iter().any(|block| block.holds(address))
    }

    /// The client's address, given who is connected and what the request says.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = plain(peer);
        if !self.trusts(peer) {
            return peer;
        }
        // As bytes: a line that is no text must not hide what a proxy of ours has added to it.
        let all: Vec<&[u8]> = headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes).collect();
        let hops = all.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        let mut known = peer;
        for hop in hops.take(HOPS_MAX) {
            // A hop that is no address was not written by a proxy of ours: who passed it on is the last one known.
            let Some(address) = parse_hop(hop.trim_ascii()) else { return known };
            known = address;
            if holds(Check::TrustedHop) && !self.trusts(address) {
                return address;
            }
        }
        known
    }
}

/// `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]:5`.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let direct = || hop.parse::<IpAddr>().ok();
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    direct().or_else(with_port).or_else(bracketed).map(plain)
}

/// An IPv4 address that came in an IPv6 one is the IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// What connections are counted by: an IPv4 address, or the /64 of an IPv6 one, which one client has all of.
#[must_use]
pub fn countable(address: IpAddr) -> IpAddr {
    match plain(address) {
        IpAddr::V4(four) => IpAddr::V4(four),
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from(u128::from(six) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::without_here;

    /// What is wrong with the answers to the table; empty where nothing is.
    fn wrong() -> Vec<String> {
        let blocks = ["10.0.0.0/8", "fd00::/8", "192.0.2.7"].iter().map(|text| text.parse().expect(text));
        let proxies = Proxies::new(blocks.collect());
        let many = format!("1.1.1.1{}", ", 10.9.9.9".repeat(100));
        let many = [many.as_bytes()];
        let cases: Vec<(&str, &[&[u8]], &str)> = vec![
            ("203.0.113.1", &[b"198.51.100.1"], "203.0.113.1"),
            ("10.1.1.1", &[b"198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", &[b"1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", &[b"1.1.1.1", b"198.51.100.1, 10.2.2.2"], "198.51.100.1"),
            ("10.1.1.1", &[b"10.2.2.2", b"198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", &[b"evil, 198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", &[b"\xff\xfe, 198.51.100.1"], "198.51.100.1"),
            ("10.1.1.1", &[b"198.51.100.1, evil"], "10.1.1.1"),
            ("10.1.1.1", &[b"198.51.100.1, \xff"], "10.1.1.1"),
            ("10.1.1.1", &[b"198.51.100.1,"], "10.1.1.1"),
            ("10.1.1.1", &[b""], "10.1.1.1"),
            ("10.1.1.1", &[b"198.51.100.1; evil"], "10.1.1.1"),
            ("10.1.1.1", &[b"unknown"], "10.1.1.1"),
            ("10.1.1.1", &[b"127.0.0.1"], "127.0.0.1"),
            ("10.1.1.1", &[b"10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("10.1.1.1", &many, "10.9.9.9"),
            ("10.1.1.1", &[], "10.1.1.1"),
            ("::ffff:10.1.1.1", &[b"[2001:db8::1]:443"], "2001:db8::1"),
            ("fd00::1", &[b"[2001:db8::1]"], "2001:db8::1"),
            ("fd00::1", &[b"198.51.100.1:8080"], "198.51.100.1"),
            ("192.0.2.7", &[b"::ffff:198.51.100.1"], "198.51.100.1"),
            ("192.0.2.8", &[b"198.51.100.1"], "192.0.2.8"),
        ];
        let wrong = cases.into_iter().filter_map(|(peer, forwarded, expected)| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_bytes(value).expect("a header"));
            }
            let client = proxies.client(peer.parse().expect(peer), &headers).to_string();
            (client != expected).then(|| format!("{peer} {headers:?}: {client}, not {expected}"))
        });
        wrong.collect()
    }

    #[test]
    fn the_right_most_untrusted_hop_is_the_client() {
        assert_eq!(wrong(), Vec::<String>::new());
        assert!(!without_here(Check::TrustedHop, wrong).is_empty(), "the table notices");
    }

    #[test]
    fn blocks_are_read_strictly() {
        for (block, inside, outside) in [
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("10.1.2.3/31", "10.1.2.2", "10.1.2.4"),
            ("::/0", "2001:db8::", "1.2.3.4"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ] {
            let parsed: Block = block.parse().expect(block);
            assert!(parsed.holds(inside.parse().expect(inside)), "{block} {inside}");
            assert!(!parsed.holds(outside.parse().expect(outside)), "{block} {outside}");
        }
        for junk in ["", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/", "host", "10.0.0/8"] {
            assert!(junk.parse::<Block>().is_err(), "{junk}");
        }
        let six: IpAddr = "2001:db8:1:2:3:4:5:6".parse().expect("an address");
        assert_eq!(countable(six).to_string(), "2001:db8:1:2::");
    }
}
