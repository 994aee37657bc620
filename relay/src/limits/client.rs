//! Whom a request comes from, seen through the proxies that we trust.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use ipnet::IpNet;

/// Networks whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// An entry of the list is no network.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is neither an address nor a network such as 10.0.0.0/8, nor is the list `none`")]
pub struct NotANetwork(String);

impl FromStr for TrustedProxies {
    type Err = NotANetwork;

    /// Comma-separated networks or addresses; `none`.
    fn from_str(list: &str) -> Result<Self, NotANetwork> {
        if list.trim() == "none" {
            return Ok(Self(Vec::new()));
        }
        let network = |entry: &str| {
            let address = || entry.parse::<IpAddr>().map(IpNet::from);
            entry.parse::<IpNet>().or_else(|_| address()).map_err(|_| NotANetwork(entry.to_owned()))
        };
        list.split(',').map(|entry| network(entry.trim())).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that `peer` brought with these lines of `X-Forwarded-For`, in their order: the last
    /// address that is not a trusted proxy, since each proxy appends whom it got the request from and what stands
    /// before was written by the client. The peer itself if there is none.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        if !self.contains(peer) {
            return peer;
        }
        for entry in forwarded.rev().flat_map(|line| line.rsplit(',')) {
            match address(entry.trim()) {
                Some(address) if self.contains(address) => {}
                Some(address) => return address,
                // No trusted proxy writes this.
                None => break,
            }
        }
        peer
    }
}

/// An address, also in brackets or with a port as some proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    plain.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))
}

/// What is counted as one sender: an IPv4 address, or an IPv6 network of 64 bits, since that is the least that one
/// customer is given (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sender(IpAddr);

impl From<IpAddr> for Sender {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into()),
            v4 => Self(v4),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let trusted: TrustedProxies = "127.0.0.0/8, ::1,10.0.0.0/8,fc00::/7".parse().unwrap();
        trusted.client(peer.parse().unwrap(), forwarded.iter().copied()).to_string()
    }

    #[test]
    fn the_client_is_the_last_that_is_no_trusted_proxy() {
        assert_eq!(client("10.0.0.2", &["140.82.115.1"]), "140.82.115.1");
        assert_eq!(client("10.0.0.2", &["1.1.1.1, 140.82.115.1", "10.1.1.1"]), "140.82.115.1");
        assert_eq!(client("::ffff:10.0.0.2", &["2.2.2.2, 10.0.0.9:4711"]), "2.2.2.2");
        assert_eq!(client("10.0.0.2", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(client("fd00::1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(client("9.9.9.9", &["140.82.115.1"]), "9.9.9.9");
        assert_eq!(client("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client("127.0.0.1", &["140.82.115.1, unknown, 10.0.0.3"]), "127.0.0.1");
        assert_eq!(client("10.0.0.2", &["10.0.0.3", ""]), "10.0.0.2");
        let none: TrustedProxies = "none".parse().unwrap();
        assert!(!none.contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_wrong_entry_is_named() {
        let error = "10.0.0.0/8,10.0.0.0/99".parse::<TrustedProxies>().unwrap_err();
        assert!(error.to_string().starts_with("`10.0.0.0/99`"), "{error}");
    }

    #[test]
    fn a_customer_of_ipv6_is_one_sender() {
        let sender = |text: &str| Sender::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(sender("2001:db8:1:2:3::4"), sender("2001:db8:1:2::1"));
        assert_ne!(sender("2001:db8:1:2::1"), sender("2001:db8:1:3::1"));
        assert_eq!(sender("::ffff:1.2.3.4"), sender("1.2.3.4"));
        assert_ne!(sender("1.2.3.4"), sender("1.2.3.5"));
        assert_eq!(sender("2001:db8:1:2:3::4").to_string(), "2001:db8:1:2::/64");
    }
}
