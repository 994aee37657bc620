//! sshd on this machine, as the tunnel's account meets it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use shared::doctor::{Finding, Status, tunnel::fingerprint};

use super::{Doctor, sshd_policy::Policy, targets::Road};

/// Where packages put it; its folder is seldom on the PATH.
const PROGRAMS: [&str; 4] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd"];
const KEYS: &str = "authorized_keys";
const ACCOUNT: &str = "on the Mac: ./scripts/setup-tunnel.sh setup … --apply root@VPS; by hand: deploy/README.md, \"An account for the tunnel\"";

/// Looks at it.
pub(super) fn examine(doctor: &Doctor, roads: &[Road]) -> Vec<Finding> {
    let ports: Vec<u16> = roads.iter().filter_map(Road::port).collect();
    if ports.is_empty() {
        return vec![Finding::skipped(
            "policy",
            "the endpoints are not on this machine's loopback: no tunnel ends here",
        )];
    }
    if roads.iter().any(Road::is_short) {
        return vec![Finding::skipped("policy", "the endpoints run on this machine: no tunnel ends here")];
    }
    let user = &doctor.tunnel_user;
    let by_hand = format!("on the host, as root: sshd -T -C user={user},host=localhost,addr=127.0.0.1");
    let skipped =
        |why: String| vec![Finding { mend: Some(by_hand.clone()), ..Finding::skipped("policy", why) }];
    let Some(program) = PROGRAMS.iter().map(Path::new).find(|path| path.exists()) else {
        return skipped("there is no sshd where this program runs, such as in a container".to_owned());
    };
    let mut command = Command::new(program);
    command.args(["-T", "-C", &format!("user={user},host=localhost,addr=127.0.0.1")]);
    if let Some(config) = &doctor.sshd_config {
        command.arg("-f").arg(config);
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return skipped(format!("sshd cannot be run: {error}")),
    };
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return skipped(format!("sshd does not tell, which it does to root alone: {}", words.trim()));
    }
    let policy = Policy::read(&String::from_utf8_lossy(&output.stdout));
    let mut found = account(user, &policy);
    if found.iter().any(|one| one.check == KEYS) {
        let is_bound = found.iter().any(|one| one.check == KEYS && one.status == Status::Ok);
        found.extend(
            groups(user).map(|groups| policy.entry(user, &groups.split_whitespace().collect::<Vec<_>>())),
        );
        found.extend(policy.judge(user, &ports, is_bound));
    }
    found.push(host_keys(&policy));
    found
}

/// The account, and its keys.
fn account(user: &str, policy: &Policy) -> Vec<Finding> {
    let Ok(passwd) = fs::read_to_string("/etc/passwd") else {
        return vec![Finding::skipped("account", "/etc/passwd cannot be read")];
    };
    let Some(home) = field(&passwd, user, 5) else {
        let says = format!("there is no account {user} on this machine; --tunnel-user names another one");
        return vec![Finding::fail("account", says, ACCOUNT)];
    };
    let locked = fs::read_to_string("/etc/shadow").ok().and_then(|shadow| field(&shadow, user, 1));
    let mut found = vec![match locked {
        Some(password) if password.starts_with('!') => Finding::fail(
            "account",
            format!("{user} is locked, and sshd refuses locked accounts, whatever their keys"),
            format!("usermod -p '*' {user}"),
        ),
        _ => Finding::ok("account", user),
    }];
    let files = policy.all("authorizedkeysfile").first().map(String::as_str).unwrap_or_default();
    found.push(keys(user, &files.split(' ').map(|file| place(file, &home, user)).collect::<Vec<_>>()));
    found
}

/// The account's groups by name.
fn groups(user: &str) -> Option<String> {
    let asked = Command::new("id").args(["-Gn", user]).output().ok()?;
    asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).into_owned())
}

/// A field of an account's line, from 0.
fn field(table: &str, user: &str, number: usize) -> Option<String> {
    let line = table.lines().find(|line| line.split(':').next() == Some(user))?;
    line.split(':').nth(number).map(str::to_owned)
}

/// Where a file of `AuthorizedKeysFile` is (sshd_config(5), "TOKENS").
fn place(file: &str, home: &str, user: &str) -> PathBuf {
    let file = file.replace("%h", home).replace("%u", user).replace("%%", "%");
    Path::new(home).join(file)
}

/// The lines that let a key in: each bound to the tunnel's ports, whatever sshd's own configuration becomes.
fn keys(user: &str, files: &[PathBuf]) -> Finding {
    let check = KEYS;
    let print =
        "on the Mac: ./scripts/setup-tunnel.sh setup … --apply root@VPS; by hand: the line that setup prints";
    let Some((path, text)) = files.iter().find_map(|path| Some((path, fs::read_to_string(path).ok()?)))
    else {
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        return Finding::fail(
            check,
            format!("no key may enter as {user}: there is no {}", files.join(", ")),
            print,
        );
    };
    let shown = path.display();
    let mode = path.metadata().map(|metadata| metadata.permissions().mode() & 0o777).unwrap_or_default();
    if mode & 0o022 != 0 {
        return Finding::fail(
            check,
            format!("{shown} has mode {mode:03o}: sshd ignores what others may write"),
            format!("chmod 600 {shown}"),
        );
    }
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let bound = |line: &&&str| {
        let options = options(line);
        options.contains("restrict") && options.contains("permitlisten=") && options.contains("command=")
    };
    match (lines.len(), lines.iter().filter(|line| !bound(line)).count()) {
        (0, _) => Finding::fail(check, format!("{shown} has no key"), print),
        (keys, 0) => Finding::ok(check, format!("{keys} in {shown}, bound to the tunnel")),
        (keys, free) => Finding::warn(
            check,
            format!("{free} of {keys} keys in {shown} may do whatever sshd's configuration allows"),
            print,
        ),
    }
}

/// What stands before the key on its line (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
fn options(line: &str) -> &str {
    let kinds = ["ssh-", "ecdsa-", "sk-"];
    let key = kinds.iter().filter_map(|kind| match line.starts_with(kind) {
        true => Some(0),
        false => line.find(&format!(" {kind}")),
    });
    key.min().map_or("", |at| &line[..at])
}

/// To be compared with what the Mac has pinned.
fn host_keys(policy: &Policy) -> Finding {
    let public = |path: &String| fs::read_to_string(format!("{path}.pub")).ok();
    let keys: Vec<String> =
        policy.all("hostkey").iter().filter_map(public).map(|key| fingerprint(key.trim())).collect();
    match keys.is_empty() {
        true => Finding::skipped("host key", "sshd's public keys cannot be read"),
        false => Finding::ok(
            "host key",
            format!("{}; the Mac's doctor shows which of these it has pinned", keys.join(", ")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_its_keys_file_are_found() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nai-tunnel:x:998:998::/home/ai-tunnel:/usr/sbin/nologin\n";
        assert_eq!(field(passwd, "ai-tunnel", 5).as_deref(), Some("/home/ai-tunnel"));
        assert_eq!(field(passwd, "ai", 5), None);
        let place = |file| place(file, "/home/t", "t").display().to_string();
        assert_eq!(place(".ssh/authorized_keys"), "/home/t/.ssh/authorized_keys");
        assert_eq!([place("/etc/keys/%u"), place("%h/keys")], ["/etc/keys/t", "/home/t/keys"]);
    }

    #[test]
    fn a_key_that_is_not_bound_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authorized_keys");
        let judge = |text: &str, mode: u32| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            keys("t", &[folder.path().join("none"), file.clone()])
        };
        let bound = "restrict,port-forwarding,permitlisten=\"127.0.0.1:5050\",command=\"/bin/false\" ssh-ed25519 AAAA x\n";
        assert_eq!(judge(&format!("# mine\n{bound}"), 0o600).status, Status::Ok);
        assert_eq!(judge(bound, 0o660).status, Status::Fail);
        assert_eq!(judge("# none\n", 0o600).status, Status::Fail);
        let free = judge(&format!("{bound}ssh-ed25519 AAAA restrict permitlisten= command=\n"), 0o600);
        assert!(free.status == Status::Warn && free.says.starts_with("1 of 2"), "{free:?}");
        assert_eq!(keys("t", &[]).status, Status::Fail);
    }
}
