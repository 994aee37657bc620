//! What `LISTEN` may say.

use std::net::IpAddr;

const NEITHER: &str = "it is neither an address nor a network interface that has one; `ip -brief address` (on a Mac: `ifconfig`) shows them";

/// An address, or a network interface of this machine (`docker0`), which stands for its first address, IPv4 before IPv6:
/// the address of Docker's bridge differs from host to host.
///
/// # Errors
/// It is neither; the text says how to see what there is. It does not repeat the value, which may be a secret put in the
/// wrong place; clap shows it without.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let interfaces = if_addrs::get_if_addrs().map_err(|error| {
        format!("it is no address, and this machine's network interfaces cannot be listed: {error}")
    })?;
    let mut addresses: Vec<IpAddr> =
        interfaces.iter().filter(|interface| interface.name == text).map(if_addrs::Interface::ip).collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| NEITHER.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_and_interfaces_are_taken() {
        assert_eq!(address("::1").unwrap(), "::1".parse::<IpAddr>().unwrap());
        let loopback = if cfg!(target_os = "macos") { "lo0" } else { "lo" };
        assert_eq!(address(loopback).unwrap(), Ipv4Addr::LOCALHOST, "before its IPv6 address");
    }

    #[test]
    fn anything_else_is_told_how_to_look() {
        for wrong in ["docker99", "localhost", "127.0.0.1:80", ""] {
            let said = address(wrong).unwrap_err();
            assert!(said.contains("ip -brief address"), "{said}");
        }
    }
}
