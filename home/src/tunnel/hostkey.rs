//! The VPS's host key: shown before it is pinned, and never replaced silently.

use std::{
    fs,
    io::{IsTerminal, Write},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, bail};

use super::place::{self, Place};

/// Pins the key that the VPS shows, unless it is pinned already.
///
/// # Errors
/// No sshd answers, its key is another than the pinned one, or nobody confirmed it.
pub(super) fn pin(place: &Place, host: &str, port: u16, fingerprint: Option<&str>) -> anyhow::Result<()> {
    println!("host key: asking {host} port {port}");
    let shown = scan(host, port)?;
    let path = place.known_hosts();
    let pinned = fs::read_to_string(&path).unwrap_or_default();
    match compare(&pinned, &shown) {
        Pinned::Same => {
            println!("host key: pinned before, and unchanged");
            return Ok(());
        }
        Pinned::Other => bail!(
            "{host} shows another host key than the pinned one: somebody may be in between. If the VPS was really set up anew, delete {} and run setup again",
            path.display()
        ),
        Pinned::None => {}
    }
    let offered = fingerprints(&shown)?;
    print!("{offered}");
    let chosen = match fingerprint {
        Some(fingerprint) => with_fingerprint(&shown, fingerprint)?,
        None => {
            confirm()?;
            shown
        }
    };
    place::write_private(&path, &chosen)?;
    println!("host key: pinned in {}", path.display());
    Ok(())
}

/// How what is shown compares with what is pinned.
#[derive(Debug, PartialEq, Eq)]
enum Pinned {
    Same,
    Other,
    None,
}

fn compare(pinned: &str, shown: &str) -> Pinned {
    let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let known = |line: &&str| pinned.lines().any(|one| one == *line);
    if shown.lines().any(|line| known(&line)) {
        return Pinned::Same;
    }
    let names: Vec<_> = shown.lines().filter_map(name).collect();
    let same_name = pinned.lines().filter_map(name).any(|one| names.contains(&one));
    if same_name { Pinned::Other } else { Pinned::None }
}

/// The lines for `known_hosts`.
fn scan(host: &str, port: u16) -> anyhow::Result<String> {
    let port_text = port.to_string();
    let mut command = Command::new("ssh-keyscan");
    command.args(["-T", "10", "-p", &port_text, "-t", "ed25519,ecdsa,rsa", "--", host]);
    let answer = output(&mut command, None)?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let lines: String =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    if lines.is_empty() {
        bail!(
            "no ssh server answers at {host} port {port}; check the address, the port and the VPS's firewall"
        );
    }
    Ok(lines)
}

fn fingerprints(lines: &str) -> anyhow::Result<String> {
    let answer = output(Command::new("ssh-keygen").args(["-l", "-f", "-"]), Some(lines))?;
    if !answer.status.success() {
        bail!("ssh-keygen: {}", String::from_utf8_lossy(&answer.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

fn with_fingerprint(lines: &str, fingerprint: &str) -> anyhow::Result<String> {
    for line in lines.lines() {
        let line = format!("{line}\n");
        if fingerprints(&line)?.split_whitespace().any(|word| word == fingerprint) {
            return Ok(line);
        }
    }
    bail!("none of these host keys has the fingerprint {fingerprint}; nothing was pinned")
}

fn confirm() -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is here to compare the fingerprint; give it as --host-key-fingerprint SHA256:...");
    }
    println!(
        "Compare with what the VPS itself shows (on its console: for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done)."
    );
    if ask("Are these the fingerprints of your VPS? [yes/no] ")? != "yes" {
        bail!("not confirmed; nothing was pinned");
    }
    Ok(())
}

/// Asks whoever sits at the terminal.
///
/// # Errors
/// The terminal is gone.
pub(super) fn ask(question: &str) -> anyhow::Result<String> {
    print!("{question}");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    if std::io::stdin().read_line(&mut answer)? == 0 {
        bail!("there was no answer");
    }
    Ok(answer.trim().to_owned())
}

/// Runs one of OpenSSH's tools to its end.
///
/// # Errors
/// It is not installed.
pub(super) fn output(command: &mut Command, input: Option<&str>) -> anyhow::Result<Output> {
    let missing = format!("{} cannot be started; install OpenSSH", command.get_program().display());
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(missing)?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        stdin.write_all(input.as_bytes())?;
    }
    Ok(child.wait_with_output()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_changed_is_not_a_new_one() {
        let pinned = "vps ssh-ed25519 AAAA\n";
        assert_eq!(compare(pinned, "vps ssh-rsa BBBB\nvps ssh-ed25519 AAAA\n"), Pinned::Same);
        assert_eq!(compare(pinned, "vps ssh-ed25519 CCCC\n"), Pinned::Other);
        assert_eq!(compare(pinned, "other ssh-ed25519 CCCC\n"), Pinned::None);
        assert_eq!(compare("", "vps ssh-ed25519 CCCC\n"), Pinned::None);
    }
}
