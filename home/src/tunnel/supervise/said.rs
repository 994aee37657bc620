//! What a line of `ssh -v` means to the tunnel.

use std::net::IpAddr;

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// The VPS took us in and listens for one of the forwards.
    Granted,
    /// Somebody who is not on the VPS reached a port of it that should be its loopback's alone.
    Stranger {
        /// Who.
        from: String,
        /// Which port.
        port: String,
    },
    /// The VPS's sshd does not allow one of the forwards.
    Forbidden,
    /// Somebody called an endpoint that does not run on this machine.
    NoEndpoint(String),
    /// Why it does not work, in words that say what to do.
    Reason(String),
    /// Nothing of interest.
    Nothing,
}

/// Reads a line.
pub(crate) fn said(line: &str) -> Said {
    let line = line.trim_end();
    if line.contains("remote forward success for:") {
        return Said::Granted;
    }
    if let Some(arrival) = line.split_once("client_request_forwarded_tcpip: listen ") {
        return stranger(arrival.1);
    }
    if FORBIDDEN.iter().any(|words| line.contains(words)) {
        return Said::Forbidden;
    }
    let chatter =
        ["debug1:", "debug2:", "OpenSSH_", "Authenticated to ", "Transferred:", "Bytes per second:"];
    if line.is_empty() || chatter.iter().any(|start| line.starts_with(start)) {
        return Said::Nothing;
    }
    if line.starts_with("connect_to 127.0.0.1 ") {
        return Said::NoEndpoint(format!("{}: {NO_ENDPOINT}", line.trim_end_matches('.')));
    }
    Said::Reason(advised(line))
}

/// What ssh says, with what to do about it where that is known.
pub(crate) fn advised(line: &str) -> String {
    match ADVICE.iter().find(|(words, _)| line.contains(words)) {
        Some((_, advice)) => format!("{}: {advice}", line.trim_end_matches('.')),
        None => line.to_owned(),
    }
}

/// `127.0.0.1 port 5050, originator 127.0.0.1 port 41234`. An address that cannot be read is a stranger's.
fn stranger(arrival: &str) -> Said {
    let mut words = arrival.split([' ', ',']).filter(|word| !word.is_empty());
    let (port, from) = (words.nth(2).unwrap_or_default(), words.nth(1).unwrap_or_default());
    match from.parse::<IpAddr>() {
        Ok(address) if address.to_canonical().is_loopback() => Said::Nothing,
        _ => Said::Stranger { from: from.to_owned(), port: port.to_owned() },
    }
}

/// What sshd tells the client when it is policy, and not a port that is taken, which keeps a forward from being granted.
pub(crate) const FORBIDDEN: [&str; 3] = [
    "Remote: port forwarding refused",
    "Remote: Server has disabled port forwarding",
    "Remote: Server has disabled streamlocal forwarding",
];

/// What is to be done about an endpoint that is away.
const NO_ENDPOINT: &str =
    "the endpoint is not running here; start it with ./scripts/start-ai-services.sh --restart";

/// What ssh says, and what to do about it.
const ADVICE: [(&str, &str); 8] = [
    (
        "remote port forwarding failed",
        "the VPS still holds our earlier connection (free after about 30 s), or another program has the port (see `ss -ltnp` there)",
    ),
    (
        "Permission denied",
        "the VPS does not take our key. See there that the line that setup printed is in the account's authorized_keys, that the account is not locked, and that sshd lets it in: AllowUsers, AllowGroups, DenyUsers, DenyGroups and AuthorizedKeysFile of `sshd -T -C user=USER,host=localhost,addr=127.0.0.1`. `setup … --apply ADMIN@VPS` looks at all of that",
    ),
    (
        "Host key verification failed",
        "the VPS shows another host key than the pinned one; if it was set up anew, run setup again",
    ),
    ("Could not resolve hostname", "this machine is offline, or the name is wrong"),
    ("Connection refused", "no sshd listens at that port of the VPS"),
    ("timed out", "the VPS cannot be reached, or its firewall drops us"),
    ("Timeout, server", "the connection was cut"),
    ("closed by remote host", "the VPS ended the connection"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssh_says_is_understood() {
        for (line, meaning) in [
            (
                "debug1: remote forward success for: listen 127.0.0.1:5050, connect 127.0.0.1:5050",
                Said::Granted,
            ),
            (
                "debug1: client_request_forwarded_tcpip: listen 127.0.0.1 port 5050, originator 127.0.0.1 port 43974\r",
                Said::Nothing,
            ),
            (
                "debug1: client_request_forwarded_tcpip: listen 127.0.0.1 port 5050, originator ::1 port 43974",
                Said::Nothing,
            ),
            (
                "debug1: client_request_forwarded_tcpip: listen 127.0.0.1 port 5050, originator ::ffff:127.0.0.1 port 43974",
                Said::Nothing,
            ),
            ("debug1: Remote: Forwarding listen address", Said::Nothing),
            ("Authenticated to vps ([192.0.2.1]:22) using \"publickey\".", Said::Nothing),
            ("debug1: Remote: port forwarding refused", Said::Forbidden),
            ("", Said::Nothing),
        ] {
            assert_eq!(said(line), meaning, "{line}");
        }
        for from in ["203.0.113.5", "2001:db8::1", "::ffff:203.0.113.5", "10.0.0.2", "UNKNOWN"] {
            let line = format!(
                "debug1: client_request_forwarded_tcpip: listen 127.0.0.1 port 5050, originator {from} port 1"
            );
            assert_eq!(said(&line), Said::Stranger { from: from.to_owned(), port: "5050".to_owned() });
        }
    }

    #[test]
    fn a_reason_says_what_to_do() {
        let lines = [
            "Error: remote port forwarding failed for listen port 5050",
            "ai-tunnel@vps: Permission denied (publickey).",
            "Host key verification failed.",
            "ssh: Could not resolve hostname vps: Name or service not known",
            "ssh: connect to host vps port 22: Connection refused",
            "ssh: connect to host vps port 22: Operation timed out",
            "Timeout, server vps not responding.",
            "connect_to 127.0.0.1 port 5050: failed.",
            "something new",
        ];
        let told: Vec<String> = lines.iter().map(|line| format!("{:?}", said(line))).collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
