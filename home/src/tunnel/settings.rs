//! Which VPS the tunnel goes to and what it forwards, as ssh's own configuration has it.

use std::{fmt::Write, path::Path, process::Command};

use anyhow::{Context, bail};

use super::config::LocalPorts;
use crate::commands;

/// The name that ssh knows the tunnel by.
pub const DESTINATION: &str = "ai-relay-vps";
/// The same account and key without the forwards: what the lock is tried with.
pub const PROOF: &str = "ai-relay-vps-proof";

/// One port of the VPS's loopback that leads to one of this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// On the VPS's 127.0.0.1.
    pub remote: u16,
    /// On this machine's 127.0.0.1.
    pub local: u16,
}

/// What a tunnel is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The VPS.
    pub host: String,
    /// The tunnel's account there.
    pub user: String,
    /// Where its sshd listens.
    pub port: u16,
    /// To the claude-endpoint, then to the ollama-endpoint.
    pub forwards: Vec<Forward>,
}

impl Settings {
    /// Reads the configuration in `folder` as ssh understands it.
    ///
    /// # Errors
    /// The tunnel is not set up, or its configuration was changed into an unsafe one; the text says what to do.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let config = folder.join("ssh_config");
        if !config.exists() || !folder.join("known_hosts").exists() {
            bail!("the tunnel is not set up; run: {}", commands::tunnel("setup --host VPS --user USER"));
        }
        let again = || {
            format!(
                "{} is not as setup wrote it; run `{}` again",
                config.display(),
                commands::tunnel("setup")
            )
        };
        let tunnel = Understood::by_ssh(&config, DESTINATION)?;
        let proof = Understood::by_ssh(&config, PROOF)?;
        tunnel
            .check(folder)
            .and_then(|()| proof.check(folder))
            .map_err(anyhow::Error::msg)
            .with_context(again)?;
        let settings = tunnel.settings().map_err(anyhow::Error::msg).with_context(again)?;
        let tried = proof.settings().map_err(anyhow::Error::msg).with_context(again)?;
        if settings.forwards.is_empty() || tried != (Self { forwards: Vec::new(), ..settings.clone() }) {
            bail!(again());
        }
        Ok(settings)
    }

    /// Forwards for the ports that the relay calls on the VPS.
    pub fn forwards(claude: u16, ollama: u16, local: LocalPorts) -> Vec<Forward> {
        vec![Forward { remote: claude, local: local.claude }, Forward { remote: ollama, local: local.ollama }]
    }

    /// Refuses what would make the tunnel unsafe, or could not stand in a configuration.
    ///
    /// # Errors
    /// The text says what to give instead.
    pub fn check(&self) -> Result<(), String> {
        let word = |text: &str, also: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
            !text.is_empty() && text.len() <= 255 && !text.starts_with('-') && text.chars().all(good)
        };
        if !word(&self.host, ".:_-") {
            return Err("--host must name the VPS".to_owned());
        }
        if !word(&self.user, "._-") {
            return Err("--user must name the tunnel's account on the VPS".to_owned());
        }
        if self.user == "root" {
            return Err("--user root would give the tunnel's key to the master of the VPS; give it an account of its own, such as ai-tunnel".to_owned());
        }
        for forward in &self.forwards {
            if forward.remote < 1024 {
                return Err(format!(
                    "only root may listen on port {} of the VPS; take one from 1024 on",
                    forward.remote
                ));
            }
            if forward.remote == self.port {
                return Err(format!("port {} of the VPS is its sshd's; take another one", forward.remote));
            }
            if forward.local == 0 {
                return Err("0 is no port of this machine; set CLAUDE_ENDPOINT_PORT and OLLAMA_ENDPOINT_PORT to the endpoints' ports".to_owned());
            }
        }
        let mut pairs = self
            .forwards
            .iter()
            .enumerate()
            .flat_map(|(at, one)| self.forwards[at + 1..].iter().map(move |other| (one, other)));
        if pairs.any(|(one, other)| one.remote == other.remote || one.local == other.local) {
            return Err("both endpoints cannot have the same port; choose different ones with --claude-port and --ollama-port (VPS) or CLAUDE_ENDPOINT_PORT and OLLAMA_ENDPOINT_PORT (here)".to_owned());
        }
        Ok(())
    }

    /// The configuration for ssh.
    pub fn ssh_config(&self, folder: &Path) -> String {
        // ssh replaces tokens that begin with a percent sign.
        let path = |name: &str| folder.join(name).display().to_string().replace('%', "%%");
        let mut text =
            format!("# Written by setup-tunnel.sh; run its setup again to change it.\nHost {DESTINATION}\n");
        text.push_str("    # 127.0.0.1 on both ends: a bare port would also be taken on ::1 alone while another program holds 127.0.0.1\n");
        for Forward { remote, local } in &self.forwards {
            let _ = writeln!(text, "    RemoteForward 127.0.0.1:{remote} 127.0.0.1:{local}");
        }
        let _ = write!(
            text,
            "\nHost {DESTINATION} {PROOF}\n    HostName {}\n    User {}\n    Port {}\n",
            self.host, self.user, self.port
        );
        let _ = writeln!(
            text,
            "    IdentityFile \"{}\"\n    UserKnownHostsFile \"{}\"",
            path("id_ed25519"),
            path("known_hosts")
        );
        text.push_str(FIXED);
        text
    }
}

/// Nothing of the person's own configuration, agent or known hosts; and an end is noticed within half a minute.
const FIXED: &str = "    IdentitiesOnly yes
    IdentityAgent none
    PreferredAuthentications publickey
    BatchMode yes
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    ControlMaster no
    ControlPath none
    ForwardAgent no
    ForwardX11 no
    PermitLocalCommand no
    Tunnel no
    RequestTTY no
    ConnectTimeout 10
    ServerAliveInterval 10
    ServerAliveCountMax 2
    ExitOnForwardFailure yes
";

/// What must hold for the tunnel to be safe, and to notice its end; in the words of `ssh -G`.
const SAFE: [(&str, &[&str]); 13] = [
    ("batchmode", &["yes"]),
    ("identitiesonly", &["yes"]),
    ("stricthostkeychecking", &["true", "yes"]),
    ("globalknownhostsfile", &["/dev/null"]),
    ("updatehostkeys", &["false", "no"]),
    ("controlmaster", &["false", "no"]),
    ("forwardagent", &["no"]),
    ("forwardx11", &["no"]),
    ("gatewayports", &["no"]),
    ("permitlocalcommand", &["no"]),
    ("tunnel", &["false", "no"]),
    ("exitonforwardfailure", &["yes"]),
    ("serveraliveinterval", &["10"]),
];

/// What has no place in the tunnel's configuration.
const FOREIGN: [&str; 5] = ["localforward", "dynamicforward", "proxycommand", "proxyjump", "remotecommand"];

/// The lines of `ssh -G`: keyword, value.
struct Understood(Vec<(String, String)>);

impl Understood {
    fn by_ssh(config: &Path, destination: &str) -> anyhow::Result<Self> {
        let asked = Command::new("ssh").arg("-G").arg("-F").arg(config).arg(destination).output();
        let answer = asked.context("ssh cannot be started; install OpenSSH")?;
        if !answer.status.success() {
            bail!("ssh: {}", String::from_utf8_lossy(&answer.stderr).trim());
        }
        Ok(Self::read(&String::from_utf8_lossy(&answer.stdout)))
    }

    fn read(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Self(pairs.map(|(keyword, value)| (keyword.to_ascii_lowercase(), value.to_owned())).collect())
    }

    fn all(&self, keyword: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(one, _)| one == keyword).map(|(_, value)| value.as_str())
    }

    fn one(&self, keyword: &str) -> &str {
        self.all(keyword).next().unwrap_or_default()
    }

    fn check(&self, folder: &Path) -> Result<(), String> {
        for (keyword, good) in SAFE {
            // What is not said is ssh's default, and a version that does not know it does not do it.
            if let Some(value) = self.all(keyword).find(|value| !good.contains(value)) {
                return Err(format!("it says `{keyword} {value}` where the tunnel needs `{}`", good[0]));
            }
        }
        if let Some((keyword, value)) =
            self.0.iter().find(|(keyword, value)| FOREIGN.contains(&keyword.as_str()) && value != "none")
        {
            return Err(format!("it says `{keyword} {value}`, which the tunnel has no use for"));
        }
        for (keyword, name) in [("identityfile", "id_ed25519"), ("userknownhostsfile", "known_hosts")] {
            let expected = folder.join(name).display().to_string();
            let values: Vec<_> = self.all(keyword).map(|value| value.replace("%%", "%")).collect();
            if values != [expected.replace("%%", "%")] {
                return Err(format!("its {keyword} is not {expected}"));
            }
        }
        Ok(())
    }

    fn settings(&self) -> Result<Settings, String> {
        let forwards = self.all("remoteforward").map(forward).collect::<Result<_, _>>()?;
        let port = self.one("port").parse().map_err(|_| "it has no port".to_owned())?;
        Ok(Settings {
            host: self.one("hostname").to_owned(),
            user: self.one("user").to_owned(),
            port,
            forwards,
        })
    }
}

/// `[127.0.0.1]:5050 [127.0.0.1]:5050`
fn forward(text: &str) -> Result<Forward, String> {
    let port = |end: &str| end.strip_prefix("[127.0.0.1]:")?.parse().ok();
    let ends = text.split_once(' ').and_then(|(remote, local)| Some((port(remote)?, port(local)?)));
    let (remote, local) =
        ends.ok_or_else(|| format!("its forward `{text}` does not lead from 127.0.0.1 to 127.0.0.1"))?;
    Ok(Forward { remote, local })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use proptest::prelude::*;

    use super::*;

    fn settings() -> Settings {
        Settings {
            host: "vps.example.org".to_owned(),
            user: "ai-tunnel".to_owned(),
            port: 22,
            forwards: Settings::forwards(5050, 8091, LocalPorts { claude: 5050, ollama: 8090 }),
        }
    }

    fn written(folder: &Path, text: &str) -> PathBuf {
        fs::write(folder.join("known_hosts"), "").unwrap();
        fs::write(folder.join("ssh_config"), text).unwrap();
        folder.to_owned()
    }

    #[test]
    fn ssh_understands_what_is_written() {
        insta::assert_snapshot!(settings().ssh_config(Path::new("/Users/me/ai relay/data/tunnel")));
        let root = tempfile::tempdir().unwrap();
        for name in ["tunnel", "a b", "100%", "$HOME", "~", "#1", "%h", "ä=ö", "it's"] {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            let folder = written(&folder, &settings().ssh_config(&folder));
            assert_eq!(Settings::load(&folder).unwrap(), settings(), "{name}");
        }
    }

    #[test]
    fn a_configuration_that_became_unsafe_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let good = settings().ssh_config(root.path());
        let changes = [
            ("ForwardAgent no", "ForwardAgent yes", "forwardagent"),
            ("StrictHostKeyChecking yes", "StrictHostKeyChecking no", "stricthostkeychecking"),
            ("RemoteForward 127.0.0.1:5050", "RemoteForward 5050", "does not lead"),
            ("RemoteForward 127.0.0.1:5050", "RemoteForward 0.0.0.0:5050", "does not lead"),
            ("127.0.0.1:8090", "192.168.0.7:8090", "does not lead"),
            ("BatchMode yes", "BatchMode yes\nLocalForward 127.0.0.1:1 127.0.0.1:2", "localforward"),
            ("BatchMode yes", "BatchMode yes\nProxyCommand nc %h %p", "proxycommand"),
            ("known_hosts\"", "other_hosts\"", "userknownhostsfile"),
            ("ServerAliveInterval 10", "ServerAliveInterval 0", "serveraliveinterval"),
        ];
        for (from, to, named) in changes {
            assert!(good.contains(from), "{from}");
            let folder = written(root.path(), &good.replace(from, to));
            let refused = format!("{:#}", Settings::load(&folder).unwrap_err());
            assert!(refused.contains(named) && refused.contains("setup"), "{to}: {refused}");
        }
    }

    #[test]
    fn unsafe_settings_are_refused_with_the_reason() {
        let with = |change: &dyn Fn(&mut Settings)| {
            let mut changed = settings();
            change(&mut changed);
            changed.check().unwrap_err()
        };
        let refused = [
            with(&|s| s.user = "root".to_owned()),
            with(&|s| s.user = "a b".to_owned()),
            with(&|s| s.host = "-oProxyCommand=x".to_owned()),
            with(&|s| s.forwards[0].remote = 8091),
            with(&|s| s.forwards[0].local = 8090),
            with(&|s| s.forwards[1].remote = 443),
            with(&|s| {
                s.port = 5050;
            }),
            with(&|s| s.forwards[0].local = 0),
        ];
        insta::assert_snapshot!(refused.join("\n"));
        assert_eq!(settings().check(), Ok(()));
    }

    const WORD: &str = "[-a-z0-9._:]{1,20}|\\PC{0,4}|[a-z]{1,4}[ \n\"#%$=\u{85}][a-z]{0,4}";

    proptest! {
        #[test]
        fn no_word_that_is_taken_changes_the_configuration(host in WORD, user in WORD) {
            let given = Settings { host, user, ..settings() };
            let text = given.ssh_config(Path::new("/t"));
            if given.check().is_err() {
                return Ok(());
            }
            prop_assert_eq!(text.lines().count(), settings().ssh_config(Path::new("/t")).lines().count());
            let host_line = format!("    HostName {}", given.host);
            prop_assert!(text.lines().any(|line| line == host_line));
        }
    }
}
