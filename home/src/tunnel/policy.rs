//! What the VPS lets the tunnel's account do. The texts are those of `deploy/`, with the account and its ports put in.

use super::settings::Settings;

const SSHD: &str = include_str!("../../../deploy/sshd.conf");
const AUTHORIZED_KEYS: &str = include_str!("../../../deploy/authorized_keys");

/// The block for sshd, to stand in `/etc/ssh/sshd_config.d/ai-relay.conf`.
pub fn sshd(settings: &Settings) -> String {
    let ports: Vec<String> = listens(settings).collect();
    let line = |line: &str| match line.trim_start().split_once(' ') {
        Some(("Match", _)) => format!("Match User {}", settings.user),
        Some(("PermitListen", _)) => format!("    PermitListen {}", ports.join(" ")),
        _ => line.to_owned(),
    };
    SSHD.lines().map(|text| line(text) + "\n").collect()
}

/// What sshd must say of the account (`sshd -T -C user=…`), each as `keyword value` in lower case.
pub fn effective(settings: &Settings) -> Vec<String> {
    let block = sshd(settings);
    let inside = block.lines().skip_while(|line| !line.starts_with("Match ")).skip(1);
    let said = inside.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    said.map(|line| match line.split_once(' ') {
        Some((keyword, value)) => format!("{} {value}", keyword.to_ascii_lowercase()),
        None => line.to_ascii_lowercase(),
    })
    .collect()
}

/// The line for the account's `authorized_keys`.
pub fn authorized_key(settings: &Settings, public_key: &str) -> String {
    let example = AUTHORIZED_KEYS.split(" ssh-ed25519 ").next().unwrap_or_default();
    let mut options: Vec<String> = Vec::new();
    let mut listens = listens(settings);
    for option in example.split(',') {
        if option.starts_with("permitlisten=") {
            // The example's first one gives the place, and this account's ports take it.
            options.extend(listens.by_ref().map(|listen| format!("permitlisten=\"{listen}\"")));
        } else {
            options.push(option.to_owned());
        }
    }
    format!("{} {}", options.join(","), public_key.trim())
}

fn listens(settings: &Settings) -> impl Iterator<Item = String> {
    settings.forwards.iter().map(|forward| format!("127.0.0.1:{}", forward.remote))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::config::LocalPorts;

    fn settings(user: &str, claude: u16, ollama: u16) -> Settings {
        let forwards = Settings::forwards(claude, ollama, LocalPorts { claude: 1, ollama: 2 });
        Settings { host: "vps".to_owned(), user: user.to_owned(), port: 22, forwards }
    }

    #[test]
    fn with_the_usual_account_and_ports_they_are_the_texts_of_deploy() {
        let usual = settings("ai-tunnel", 5050, 8091);
        assert_eq!(sshd(&usual), SSHD);
        let key = "ssh-ed25519 THE-KEY-THAT-SETUP-TUNNEL-PRINTS ai-relay-tunnel\n";
        assert_eq!(authorized_key(&usual, key) + "\n", AUTHORIZED_KEYS);
    }

    #[test]
    fn another_account_and_ports_are_put_in() {
        let other = settings("tunnel-2", 6050, 6091);
        insta::assert_snapshot!(format!(
            "{}\n{}\n\n{}",
            authorized_key(&other, "ssh-ed25519 AAAA ai-relay-tunnel\n"),
            sshd(&other),
            effective(&other).join("\n")
        ));
    }
}
