//! Changes the VPS over the person's own ssh.

use std::{
    io::{IsTerminal, Write},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use super::{
    config::{Admin, Apply},
    hostkey::ask,
    policy,
    settings::Settings,
};

const SCRIPT: &str = include_str!("vps.sh");
const CONF: &str = "/etc/ssh/sshd_config.d/ai-relay.conf";
/// `sudo -n` never asks: there is nobody at its terminal.
const AS_ROOT: &str = r#"sh -c 'if [ "$(id -u)" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi'"#;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Account, restrictions, key.
    Apply,
    /// This key alone goes.
    Forget,
    /// The way back.
    Remove,
}

/// Refuses an administrator who is about to be locked out.
///
/// # Errors
/// The tunnel's account is the one that changes the VPS.
pub(super) fn check(apply: &Apply, settings: &Settings) -> anyhow::Result<()> {
    let admin = apply.apply.as_ref().and_then(Admin::user);
    if admin == Some(&settings.user) {
        bail!(
            "--user {} is your own account on the VPS, and nobody can log in to the tunnel's any more; choose another name, such as --user ai-tunnel: setup makes that account",
            settings.user
        );
    }
    Ok(())
}

/// Says what will be done, asks, and does it.
///
/// # Errors
/// It was not confirmed, the VPS cannot be reached, or a step failed there; what failed was taken back.
pub(super) fn carry_out(
    apply: &Apply,
    action: Action,
    settings: &Settings,
    public_key: &str,
) -> anyhow::Result<()> {
    let Some(admin) = &apply.apply else { return Ok(()) };
    println!("\n{}", plan(admin, action, settings));
    if !apply.yes {
        if !std::io::stdin().is_terminal() {
            bail!("nobody is here to confirm; add --yes");
        }
        if ask("Do it? [yes/no] ")? != "yes" {
            bail!("not confirmed; nothing was changed on the VPS");
        }
    }
    let mut ssh = Command::new("ssh");
    if let Some(config) = &apply.apply_config {
        ssh.arg("-F").arg(config);
    }
    if let Some(port) = admin.port {
        ssh.arg("-p").arg(port.to_string());
    }
    ssh.args(["-T", "--", &admin.destination, AS_ROOT]).stdin(Stdio::piped());
    let mut running = ssh.spawn().context("ssh cannot be started; install OpenSSH")?;
    let mut stdin = running.stdin.take().context("ssh has no standard input")?;
    // If ssh has ended before it read this, its own words say why.
    let _ = stdin.write_all(script(action, settings, public_key).as_bytes());
    drop(stdin);
    let status = running.wait()?;
    if !status.success() {
        bail!(
            "the VPS was not changed as planned ({status}); above is why. The account must be root's, or one that needs no password for sudo"
        );
    }
    Ok(())
}

fn plan(admin: &Admin, action: Action, settings: &Settings) -> String {
    let (user, at) = (&settings.user, &admin.destination);
    match action {
        Action::Apply => format!(
            "On the VPS, over your ssh to {at}:\n\
             1. the account {user}, without password and shell, if it is not there\n\
             2. {CONF} with this, checked by sshd before it is in effect, and taken back if it is refused:\n{}\
             3. the tunnel's key in ~{user}/.ssh/authorized_keys",
            policy::sshd(settings)
        ),
        Action::Remove => format!(
            "On the VPS, over your ssh to {at}:\n\
             1. the tunnel's key goes from ~{user}/.ssh/authorized_keys\n\
             2. {CONF} is removed, and sshd reads its configuration again\n\
             3. the account {user} goes, if setup made it and no other key is left"
        ),
        Action::Forget => {
            format!("On the VPS, over your ssh to {at}: the old key goes from ~{user}/.ssh/authorized_keys")
        }
    }
}

/// The script with its values in front.
fn script(action: Action, settings: &Settings, public_key: &str) -> String {
    let line = policy::authorized_key(settings, public_key);
    let key = public_key.split_whitespace().nth(1).unwrap_or_default();
    let action = match action {
        Action::Apply => "apply",
        Action::Forget => "forget",
        Action::Remove => "remove",
    };
    let (block, wanted) = (policy::sshd(settings), policy::effective(settings).join("\n"));
    let values = [
        ("ACTION", action),
        ("USER", &settings.user),
        ("CONF", CONF),
        ("KEY", key),
        ("LINE", &line),
        ("BLOCK", block.trim_end()),
        ("WANTED", &wanted),
    ];
    let assigned = values.map(|(name, value)| format!("{name}={}\n", quoted(value)));
    assigned.concat() + SCRIPT
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::config::LocalPorts;

    #[test]
    fn the_shell_reads_values_as_they_were_meant() {
        for value in ["", "a b", "it's", "$HOME `id` \"x\" \\", "two\nlines", "*"] {
            let shell =
                Command::new("sh").args(["-c", &format!("printf %s {}", quoted(value))]).output().unwrap();
            assert_eq!(String::from_utf8(shell.stdout).unwrap(), value);
        }
    }

    #[test]
    fn an_administrator_is_not_made_the_tunnels_account() {
        let forwards = Settings::forwards(5050, 8091, LocalPorts { claude: 5050, ollama: 8090 });
        let settings = Settings { host: "vps".to_owned(), user: "debian".to_owned(), port: 22, forwards };
        let with = |admin: &str| Apply { apply: admin.parse().ok(), apply_config: None, yes: true };
        for fine in ["root@vps", "vps", "debian2@vps:22"] {
            assert!(check(&with(fine), &settings).is_ok(), "{fine}");
        }
        for locked_out in ["debian@vps", "debian@vps:2222", "debian@2001:db8::1"] {
            let refused = check(&with(locked_out), &settings).unwrap_err().to_string();
            assert!(refused.contains("choose another name"), "{refused}");
        }
    }

    #[test]
    fn the_plan_says_everything_that_is_done() {
        let forwards = Settings::forwards(5050, 8091, LocalPorts { claude: 5050, ollama: 8090 });
        let settings = Settings { host: "vps".to_owned(), user: "ai-tunnel".to_owned(), port: 22, forwards };
        let admin: Admin = "root@vps".parse().unwrap();
        let plans =
            [Action::Apply, Action::Forget, Action::Remove].map(|action| plan(&admin, action, &settings));
        insta::assert_snapshot!(plans.join("\n\n"));
    }
}
