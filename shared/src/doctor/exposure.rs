//! From where a port can be reached, and who answers there. Pure.

use std::net::IpAddr;

use super::{Finding, listeners::Listener};

/// As much of a process's name is kept by Linux.
const KEPT: usize = 15;

/// Who listens, for people.
pub fn told(listener: &Listener) -> String {
    match (&listener.owner, listener.uid) {
        (Some(owner), _) => format!("{} (pid {})", owner.name, owner.pid),
        (None, Some(uid)) => format!("a process of the account with uid {uid}"),
        (None, None) => "somebody".to_owned(),
    }
}

/// Whether a listener belongs to a process of one of these names; one that cannot be seen is believed.
fn is_of(listener: &Listener, names: &[&str]) -> bool {
    let cut = |name: &str| name.chars().take(KEPT).collect::<String>();
    listener.owner.as_ref().is_none_or(|owner| {
        // sshd titles its children, and newer ones are programs of their own: sshd-session.
        names.iter().any(|name| owner.name == cut(name) || owner.name.starts_with(&format!("{name}-")))
    })
}

/// A port of the tunnel on the VPS, where sshd (or on one machine the service itself) listens for `service`.
pub fn of_tunnel(service: &str, port: u16, found: &[Listener]) -> Finding {
    let check = "listener";
    let Some(open) = found.iter().max_by_key(|listener| Reach::of(listener.address)) else {
        return Finding::fail(
            check,
            format!("nobody listens on 127.0.0.1:{port}: the tunnel is down, or the Mac asleep"),
            "on the Mac: ./scripts/setup-tunnel.sh restart",
        );
    };
    let who = told(open);
    if !open.address.is_loopback() {
        return Finding::fail(
            check,
            format!(
                "{who} listens on {}, port {port}: who reaches this machine reaches the Mac",
                shown(open.address)
            ),
            "`GatewayPorts no` for the tunnel's account (deploy/sshd.conf), then `sshd -t && systemctl reload ssh`, \
             and on the Mac: ./scripts/setup-tunnel.sh restart",
        );
    }
    if found.iter().all(|listener| listener.address.is_ipv6()) {
        return Finding::fail(
            check,
            format!(
                "{who} listens on [::1]:{port} alone: when the tunnel came up, another program had 127.0.0.1:{port}"
            ),
            "on the Mac: ./scripts/setup-tunnel.sh restart",
        );
    }
    match found.iter().find(|listener| !is_of(listener, &["sshd", service])) {
        Some(other) => Finding::warn(
            check,
            format!("{} listens on 127.0.0.1:{port}, where sshd should", told(other)),
            format!("see what it is with `ss -ltnp 'sport = :{port}'`, and stop it"),
        ),
        None => Finding::ok(check, format!("{who} listens on 127.0.0.1:{port} alone")),
    }
}

/// A service's own port. `is_private`: nobody outside of this machine may reach it; `is_it`: it has answered there as
/// itself, whatever its process is called.
pub fn of_service(service: &str, port: u16, found: &[Listener], is_private: bool, is_it: bool) -> Finding {
    let check = "address";
    let Some(open) = found.iter().max_by_key(|listener| Reach::of(listener.address)) else {
        return Finding::skipped(check, format!("nobody listens on port {port}"));
    };
    let other = found.iter().find(|listener| !is_it && !is_of(listener, &[service]));
    if let Some(other) = other {
        return Finding::fail(
            check,
            format!("{} listens on port {port}, where the {service} should", told(other)),
            "stop it, or set PORT to a free port",
        );
    }
    let (at, reach) = (shown(open.address), Reach::of(open.address));
    match (reach, is_private) {
        (Reach::Machine, _) => Finding::ok(check, format!("listens on {at}, port {port}")),
        (Reach::Network, false) => Finding::ok(
            check,
            format!("listens on {at}, port {port}: an address that the internet does not reach"),
        ),
        (_, true) => Finding::fail(
            check,
            format!("listens on {at}, port {port}: other machines reach it, past the tunnel"),
            "LISTEN=127.0.0.1, and start it again",
        ),
        (Reach::All, false) => Finding::warn(
            check,
            format!("listens on {at}, port {port}: without a firewall others reach it past TLS"),
            "LISTEN=127.0.0.1 where the TLS proxy runs on this machine itself; with Coolify's in a container, a firewall that closes the port",
        ),
    }
}

/// Who can reach an address; the more can, the higher.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// This machine.
    Machine,
    /// A network of somebody's own, such as that of Docker's containers.
    Network,
    /// Whoever is let through.
    All,
}

impl Reach {
    fn of(address: IpAddr) -> Self {
        let is_own = match address {
            IpAddr::V4(v4) => v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
        };
        match address {
            _ if address.is_loopback() => Self::Machine,
            _ if is_own => Self::Network,
            _ => Self::All,
        }
    }
}

fn shown(address: IpAddr) -> String {
    match address {
        _ if address.is_unspecified() => "all addresses".to_owned(),
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{Status, listeners::Owner};

    fn listener(address: &str, name: &str) -> Listener {
        let owner = (!name.is_empty()).then(|| Owner { pid: 7, name: name.to_owned() });
        Listener { address: address.parse().unwrap(), owner, uid: Some(998) }
    }

    #[test]
    fn a_tunnel_s_port_is_sshd_s_on_loopback_or_it_is_told_what_is_wrong() {
        let judge = |found: &[Listener]| of_tunnel("claude-endpoint", 5050, found);
        for name in ["sshd", "sshd-session", "claude-endpoint", ""] {
            assert_eq!(judge(&[listener("127.0.0.1", name)]).status, Status::Ok, "{name}");
        }
        assert_eq!(judge(&[listener("127.0.0.1", "sshd"), listener("::1", "sshd")]).status, Status::Ok);
        for (found, status, said) in [
            (vec![], Status::Fail, "the tunnel is down"),
            (vec![listener("0.0.0.0", "sshd")], Status::Fail, "all addresses"),
            (
                vec![listener("127.0.0.1", "sshd"), listener("203.0.113.7", "sshd")],
                Status::Fail,
                "203.0.113.7",
            ),
            (vec![listener("::", "")], Status::Fail, "uid 998"),
            (vec![listener("::1", "sshd")], Status::Fail, "[::1]:5050 alone"),
            (vec![listener("127.0.0.1", "python3")], Status::Warn, "python3 (pid 7)"),
            (vec![listener("127.0.0.1", "python3"), listener("::1", "sshd")], Status::Warn, "python3"),
        ] {
            let found = judge(&found);
            assert_eq!(found.status, status, "{found:?}");
            assert!(found.says.contains(said), "{found:?}");
        }
    }

    #[test]
    fn a_service_at_home_is_for_this_machine_alone() {
        let judge =
            |found: &[Listener], is_private| of_service("ollama-endpoint", 8090, found, is_private, false);
        assert_eq!(judge(&[], true).status, Status::Skipped);
        assert_eq!(judge(&[listener("127.0.0.1", "ollama-endpoint")], true).status, Status::Ok);
        assert_eq!(judge(&[listener("0.0.0.0", "ollama-endpoint")], true).status, Status::Fail);
        for (address, status) in [
            ("0.0.0.0", Status::Warn),
            ("::", Status::Warn),
            ("203.0.113.7", Status::Warn),
            ("2001:db8::7", Status::Warn),
            // docker0, which a proxy in a container needs
            ("172.17.0.1", Status::Ok),
            ("10.0.0.5", Status::Ok),
            ("fd00::7", Status::Ok),
        ] {
            assert_eq!(judge(&[listener(address, "ollama-endpoint")], false).status, status, "{address}");
            assert_eq!(
                judge(&[listener(address, "ollama-endpoint")], true).status,
                Status::Fail,
                "{address}"
            );
        }
        let both = [listener("172.17.0.1", "ollama-endpoint"), listener("203.0.113.7", "ollama-endpoint")];
        assert_eq!(judge(&both, false).status, Status::Warn);
        let renamed = of_service("relay", 1, &[listener("127.0.0.1", "relay-2")], false, true);
        assert_eq!(renamed.status, Status::Ok);
        let other = judge(&[listener("127.0.0.1", "nc")], true);
        assert!(other.status == Status::Fail && other.says.starts_with("nc (pid 7)"), "{other:?}");
    }
}
