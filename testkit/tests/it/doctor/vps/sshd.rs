//! The VPS's sshd, as the tunnel's account meets it.

use std::{fs, path::Path, process::Command};

use super::alone;
use crate::doctor::{Seen, doctor};

/// What the real sshd makes of a configuration, judged.
async fn policy(folder: &Path, text: &str) -> Seen {
    let here = folder.display();
    let key = folder.join("host_key");
    if !key.exists() {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
    }
    let _ = fs::create_dir_all("/run/sshd");
    let config = folder.join("sshd_config");
    fs::write(&config, format!("HostKey {here}/host_key\nAuthorizedKeysFile {here}/keys\n{text}")).unwrap();
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let user = String::from_utf8(user).unwrap();
    let config = config.display().to_string();
    let more = ["--tunnel-user", user.trim(), "--sshd-config", &config, "--offline"];
    doctor("relay", &alone(folder, 5050, 8091, &[]), &more).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sshd_lets_the_tunnel_s_account_do_is_held_against_deploy() {
    let folder = tempfile::tempdir().unwrap();
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let ours = include_str!("../../../../../deploy/sshd.conf")
        .replace("Match User ai-tunnel", &format!("Match User {}", user.trim()));
    let bound = include_str!("../../../../../deploy/authorized_keys")
        .replace("THE-KEY-THAT-SETUP-TUNNEL-PRINTS", "AAAA");
    fs::write(folder.path().join("keys"), bound).unwrap();
    let seen = policy(folder.path(), &ours).await;
    seen.is("ok", "sshd", "policy", "may listen on its ports of 127.0.0.1, and nothing else", "");
    seen.is("ok", "sshd", "cut line", "30 s", "");
    seen.is("ok", "sshd", "host key", "ed25519 SHA256:", "");
    seen.is("ok", "sshd", "authorized_keys", "bound to the tunnel", "");
    seen.is("ok", "sshd", "login", "by key alone", "");
    seen.is("ok", "sshd", "entry", "lets", "");
    let seen = policy(folder.path(), &format!("AllowUsers somebody else\n{ours}")).await;
    seen.fails("sshd", "entry", "AllowUsers", &format!("add {} to AllowUsers", user.trim()));

    fs::write(folder.path().join("keys"), "ssh-ed25519 AAAA anybody\n").unwrap();
    let seen = policy(folder.path(), "GatewayPorts yes\n").await;
    for (check, says) in [
        ("forwards", "any address"),
        ("GatewayPorts", "opens the tunnel's ports to the internet"),
        ("commands", "forcecommand none"),
        ("terminal", "permittty yes"),
        ("unix sockets", "allowstreamlocalforwarding yes"),
        ("agent", "allowagentforwarding yes"),
    ] {
        seen.fails("sshd", check, says, "--apply root@VPS");
    }
    seen.warns("sshd", "PermitListen", "any port", "as setup prints it");
    seen.warns("sshd", "cut line", "for ever", "--apply");
    seen.warns("sshd", "authorized_keys", "1 of 1 keys", "setup-tunnel.sh");
}
