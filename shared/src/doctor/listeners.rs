//! Who listens on a port of this machine: by the kernel's tables on Linux, by `lsof` elsewhere.

use std::net::IpAddr;

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where.
    pub address: IpAddr,
    /// Whose, as far as this account may know.
    pub owner: Option<Owner>,
    /// The account's number, where the system tells.
    pub uid: Option<u32>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its name, of which systems keep 15 characters.
    pub name: String,
}

/// Everybody who listens on TCP `port`.
///
/// # Errors
/// The system does not tell; the text says what is missing.
pub fn on(port: u16) -> Result<Vec<Listener>, String> {
    #[cfg(target_os = "linux")]
    return linux::on(port);
    #[cfg(not(target_os = "linux"))]
    return lsof::on(port);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::net::{IpAddr, SocketAddr};

    use procfs::{
        net::{TcpNetEntry, TcpState, tcp, tcp6},
        process::{FDTarget, Process, all_processes},
    };

    use super::{Listener, Owner};

    pub(super) fn on(port: u16) -> Result<Vec<Listener>, String> {
        let failed = |error: procfs::ProcError| format!("/proc/net/tcp cannot be read: {error}");
        // A machine without IPv6 has no second table.
        let entries = tcp().map_err(failed)?.into_iter().chain(tcp6().unwrap_or_default());
        let listening =
            |entry: &TcpNetEntry| entry.state == TcpState::Listen && entry.local_address.port() == port;
        let sockets: Vec<TcpNetEntry> = entries.filter(listening).collect();
        let mut found: Vec<(u64, Listener)> = sockets
            .into_iter()
            .map(|entry| (entry.inode, listener(entry.local_address, entry.uid)))
            .collect();
        name_owners(&mut found);
        Ok(found.into_iter().map(|(_, listener)| listener).collect())
    }

    fn listener(address: SocketAddr, uid: u32) -> Listener {
        let address = match address.ip() {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 @ IpAddr::V4(_) => v4,
        };
        Listener { address, owner: None, uid: Some(uid) }
    }

    /// The files of other accounts' processes are for root alone to see.
    fn name_owners(found: &mut [(u64, Listener)]) {
        if found.is_empty() {
            return;
        }
        for process in all_processes().into_iter().flatten().flatten() {
            for inode in sockets(&process) {
                let its = found
                    .iter_mut()
                    .filter(|(socket, listener)| *socket == inode && listener.owner.is_none());
                for (_, listener) in its {
                    listener.owner = owner(&process);
                }
            }
        }
    }

    fn sockets(process: &Process) -> Vec<u64> {
        let files = process.fd().into_iter().flatten().flatten();
        let socket = |target| match target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        };
        files.filter_map(|file| socket(file.target)).collect()
    }

    fn owner(process: &Process) -> Option<Owner> {
        Some(Owner { pid: u32::try_from(process.pid()).ok()?, name: process.stat().ok()?.comm })
    }
}

#[cfg(any(test, not(target_os = "linux")))]
mod lsof {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
        process::Command,
    };

    use super::{Listener, Owner};

    pub(super) fn on(port: u16) -> Result<Vec<Listener>, String> {
        let output = Command::new("lsof")
            .args(["-nP", &format!("-iTCP:{port}"), "-sTCP:LISTEN", "-F", "pcutn"])
            .output()
            .map_err(|error| format!("`lsof` cannot be run: {error}"))?;
        // It ends with 1 where nobody listens.
        Ok(read(&String::from_utf8_lossy(&output.stdout)))
    }

    /// One field a line: `p`id, `c`ommand and `u`ser of a process, then `t`ype and `n`ame of each of its sockets.
    fn read(text: &str) -> Vec<Listener> {
        let (mut found, mut pid, mut name, mut uid, mut is_v6) = (Vec::new(), 0, String::new(), None, false);
        for line in text.lines() {
            let Some((field, value)) = line.split_at_checked(1) else { continue };
            match field {
                "p" => (pid, uid) = (value.parse().unwrap_or_default(), None),
                "c" => value.clone_into(&mut name),
                "u" => uid = value.parse().ok(),
                "t" => is_v6 = value == "IPv6",
                "n" => {
                    let Some((host, _)) = value.rsplit_once(':') else { continue };
                    let any = match is_v6 {
                        true => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                        false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    };
                    let address = host.trim_matches(['[', ']']).parse().unwrap_or(any);
                    found.push(Listener { address, owner: Some(Owner { pid, name: name.clone() }), uid });
                }
                _ => {}
            }
        }
        found
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_lsof_says_is_read() {
            let text = "p412\ncsshd\nu0\nf9\ntIPv4\nn127.0.0.1:5050\nf10\ntIPv6\nn[::1]:5050\np7\ncnginx\nu33\nf3\ntIPv6\nn*:5050\n";
            let found: Vec<_> = read(text)
                .into_iter()
                .map(|one| (one.address.to_string(), one.owner.unwrap(), one.uid))
                .map(|(address, owner, uid)| format!("{address} {} {} {uid:?}", owner.name, owner.pid))
                .collect();
            assert_eq!(found, ["127.0.0.1 sshd 412 Some(0)", "::1 sshd 412 Some(0)", ":: nginx 7 Some(33)"]);
            assert_eq!(read(""), []);
        }

        #[test]
        fn the_real_one_knows_a_listener_of_ours() {
            let ours = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            // Not every machine has it, and where the kernel tells it is not needed.
            let Ok(found) = on(ours.local_addr().unwrap().port()) else { return };
            assert_eq!(found[0].address.to_string(), "127.0.0.1");
            assert_eq!(found[0].owner.as_ref().unwrap().pid, std::process::id());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_with_its_address_and_process() {
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = ours.local_addr().unwrap().port();
        let found = on(port).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].address, IpAddr::from([127, 0, 0, 1]));
        assert_eq!(found[0].owner.as_ref().unwrap().pid, std::process::id());
        drop(ours);
        assert_eq!(on(port).unwrap(), []);
    }
}
