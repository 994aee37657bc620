//! The tunnel as the machine at home sees it: set up, leading to this service, and to the VPS whose host key was pinned.
//! `setup-tunnel.sh` makes these files; here they are only read.

use std::{fs, io, path::Path, process::Command};

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, Engine};
use sha2::{Digest, Sha256};

use super::{Finding, secrets};
use crate::health::Report;

/// What the relay's feed of outcomes is asked for at the latest is a long poll's length and its probing's pause.
const ASKED_WITHIN: u64 = 90;
const SETUP: &str = "./scripts/setup-tunnel.sh setup --host VPS --user ai-tunnel";

/// What `ssh` makes of the tunnel's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Settings {
    host: String,
    port: String,
    /// Ports at home that it leads to.
    leads_to: Vec<u16>,
}

/// The tunnel in `folder`, for the service on `port`; without the internet, no VPS is asked.
pub fn examine(folder: &Path, port: u16, offline: bool) -> Vec<Finding> {
    let config = folder.join("ssh_config");
    let text = match fs::read_to_string(&config) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let says =
                format!("no tunnel is set up in {}; TUNNEL_DIR names another folder", folder.display());
            return vec![Finding { mend: Some(SETUP.to_owned()), ..Finding::skipped("setup", says) }];
        }
        Err(error) => {
            let says = format!("{} cannot be read: {error}", config.display());
            return vec![Finding::fail(
                "setup",
                says,
                "run the doctor under the account that set the tunnel up",
            )];
        }
    };
    let settings = match destination(&text).map(|name| resolve(&config, name)) {
        Some(Ok(settings)) => settings,
        Some(Err(why)) => return vec![Finding::fail("setup", why, SETUP)],
        None => return vec![Finding::fail("setup", format!("{} names no host", config.display()), SETUP)],
    };
    let mut found = vec![Finding::ok("setup", format!("leads to {} port {}", settings.host, settings.port))];
    found.push(forward(&settings, port));
    found.extend(secrets::private("key", &folder.join("id_ed25519")));
    found.push(match offline {
        true => Finding::skipped("host key", "the VPS is not asked: --offline"),
        false => host_key(&settings, &folder.join("known_hosts")),
    });
    found
}

/// Whether the relay has asked lately, which it does all the time while the tunnel is up.
pub fn relay(report: &Report) -> Finding {
    let check = "relay";
    let asked =
        report.checks.get("relay").and_then(|checks| checks.first()?.observed_value.as_ref()?.as_u64());
    let mend = "./scripts/setup-tunnel.sh status; on the VPS: relay doctor";
    match asked {
        None => Finding::warn(check, "the relay has not asked since the service was started", mend),
        Some(..=ASKED_WITHIN) => Finding::ok(check, "the relay asks for outcomes through the tunnel"),
        Some(seconds) => Finding::fail(
            check,
            format!("the relay last asked {} min ago: the tunnel or the relay is down", seconds / 60),
            mend,
        ),
    }
}

/// The name that the configuration gives to the VPS.
fn destination(config: &str) -> Option<&str> {
    let words = config.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    words.into_iter().find_map(|words| match words.as_slice() {
        [key, name, ..] if key.eq_ignore_ascii_case("host") && !name.contains(['*', '?']) => Some(*name),
        _ => None,
    })
}

fn resolve(config: &Path, name: &str) -> Result<Settings, String> {
    let output = Command::new("ssh").arg("-G").arg("-F").arg(config).arg(name).output();
    let output = output.map_err(|error| format!("ssh cannot be run: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ssh does not take {}: {}", config.display(), words.trim()));
    }
    Ok(read(&String::from_utf8_lossy(&output.stdout)))
}

/// `ssh -G` prints one setting a line.
fn read(text: &str) -> Settings {
    let mut settings = Settings::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("hostname", host)) => host.clone_into(&mut settings.host),
            Some(("port", port)) => port.clone_into(&mut settings.port),
            Some(("remoteforward", pair)) => {
                let local = pair.rsplit_once(' ').and_then(|(_, local)| local.rsplit_once(':'));
                settings.leads_to.extend(local.and_then(|(_, port)| port.parse::<u16>().ok()));
            }
            _ => {}
        }
    }
    settings
}

fn forward(settings: &Settings, port: u16) -> Finding {
    let check = "forward";
    if settings.leads_to.contains(&port) {
        return Finding::ok(check, format!("leads to this service's port {port}"));
    }
    let ports: Vec<_> = settings.leads_to.iter().map(u16::to_string).collect();
    Finding::fail(
        check,
        format!("leads to {}, and this service's port is {port}", ports.join(" and ")),
        "set CLAUDE_ENDPOINT_PORT and OLLAMA_ENDPOINT_PORT as the services run, and run setup-tunnel.sh setup again",
    )
}

/// Whether the VPS shows one of the pinned keys.
fn host_key(settings: &Settings, known_hosts: &Path) -> Finding {
    let check = "host key";
    let Settings { host, port, .. } = settings;
    let pinned = match fs::read_to_string(known_hosts) {
        Ok(pinned) => pinned,
        Err(error) => {
            return Finding::fail(check, format!("{} cannot be read: {error}", known_hosts.display()), SETUP);
        }
    };
    let output = Command::new("ssh-keyscan").args(["-T", "5", "-p", port, host]).output();
    let shown = match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => return Finding::skipped(check, format!("ssh-keyscan cannot be run: {error}")),
    };
    compare(&format!("{host} port {port}"), &keys(&pinned), &keys(&shown))
}

fn compare(place: &str, pinned: &[String], shown: &[String]) -> Finding {
    let check = "host key";
    if let Some(key) = shown.iter().find(|key| pinned.contains(*key)) {
        return Finding::ok(check, format!("{place} shows the pinned {}", fingerprint(key)));
    }
    match shown.first() {
        None => Finding::fail(
            check,
            format!("no ssh server answers at {place}"),
            "is the VPS up, and does its firewall let ssh through? `systemctl status ssh` there",
        ),
        Some(other) => Finding::fail(
            check,
            format!(
                "{place} shows {}, which is not the pinned one: somebody may be in between",
                fingerprint(other)
            ),
            "compare it with what `relay doctor` says on the VPS itself; only if that agrees, remove the tunnel's known_hosts and run its setup again",
        ),
    }
}

/// `type base64` of each key in lines as `known_hosts` and `ssh-keyscan` have them.
fn keys(text: &str) -> Vec<String> {
    let key = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| word.starts_with("ssh-") || word.starts_with("ecdsa-"))?;
        Some(format!("{} {}", words[at], words.get(at + 1)?))
    };
    let lines = text.lines().filter(|line| !line.starts_with(['#', '@']));
    lines.filter_map(key).collect()
}

/// `ssh-keygen -l`'s words for a key, `type base64`.
pub fn fingerprint(key: &str) -> String {
    let (kind, base64) = key.split_once(' ').unwrap_or((key, ""));
    let kind = kind.trim_start_matches("ssh-");
    match BASE64_STANDARD.decode(base64.split(' ').next().unwrap_or_default()) {
        Ok(bytes) if !bytes.is_empty() => {
            format!("{kind} SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(bytes)))
        }
        _ => format!("{kind}, which cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::Status, health::Check};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKJwbHVmZmVkLWtleS1mb3ItdGVzdHMtb25seS0wMDAw";

    #[test]
    fn the_configuration_is_read_as_ssh_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let text = "# x\nHost vps\n HostName 192.0.2.7\n Port 2222\n RemoteForward 127.0.0.1:5050 127.0.0.1:5051\n RemoteForward 127.0.0.1:8091 127.0.0.1:8090\n";
        fs::write(folder.path().join("ssh_config"), text).unwrap();
        assert_eq!(destination(text), Some("vps"));
        assert_eq!(destination("Host *\n"), None);
        let found = examine(folder.path(), 5051, true);
        let found: Vec<_> = found.iter().map(|one| (one.check.as_str(), one.status)).collect();
        assert_eq!(found, [("setup", Status::Ok), ("forward", Status::Ok), ("host key", Status::Skipped)]);
        let other = examine(folder.path(), 5050, true);
        assert!(other[1].status == Status::Fail && other[1].says.contains("5051 and 8090"), "{other:?}");
        assert_eq!(examine(&folder.path().join("none"), 1, true)[0].status, Status::Skipped);
    }

    #[test]
    fn another_host_key_than_the_pinned_one_is_told_with_its_fingerprint() {
        let other = KEY.replace("dGVzdHM", "dGVzdHN");
        let pinned = keys(&format!("[192.0.2.7]:2222 {KEY}\n"));
        let shown =
            |key: &str| keys(&format!("# 192.0.2.7:2222 SSH-2.0-OpenSSH_9.2\n[192.0.2.7]:2222 {key}\n"));
        let same = compare("vps", &pinned, &shown(KEY));
        assert!(same.status == Status::Ok && same.says.contains("ed25519 SHA256:"), "{same:?}");
        let changed = compare("vps", &pinned, &shown(&other));
        assert!(changed.status == Status::Fail && changed.says.contains("in between"), "{changed:?}");
        assert!(compare("vps", &pinned, &[]).says.contains("no ssh server"));
    }

    #[test]
    fn a_relay_that_does_not_ask_shows_that_the_way_is_broken() {
        let of =
            |seconds: u64| relay(&Report::new("x").with("relay", Check::pass().observed(seconds, "seconds")));
        assert_eq!([of(0).status, of(90).status, of(91).status], [Status::Ok, Status::Ok, Status::Fail]);
        assert_eq!(relay(&Report::new("x")).status, Status::Warn);
    }
}
