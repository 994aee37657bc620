//! `--apply`: the VPS is really changed, over the administrator's ssh, and changed back. Linux, as root.

use std::process::Output;

use home::tunnel::{Forward, Settings, policy};
use testkit::{sshd::ADDRESS, vps::Vps};

use super::home::{Home, text, who};
use crate::support::binaries::port;

const CONF: &str = "/etc/ssh/sshd_config.d/ai-relay.conf";

/// A machine at home, and a VPS that it is not joined to yet.
struct Site {
    home: Home,
    server: Vps,
    ports: [u16; 2],
    admin_config: String,
    folder: tempfile::TempDir,
}

impl Site {
    /// Nothing where this machine cannot have a VPS.
    async fn start() -> Option<Self> {
        if let Err(why) = Vps::possible() {
            eprintln!("skipped: this machine cannot have a VPS in a namespace: {why}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let server = Vps::start(folder.path()).await.unwrap();
        let admin_config = server.admin_config().unwrap().display().to_string();
        let home = Home::new(folder.path());
        Some(Self { home, server, ports: [port(), port()], admin_config, folder })
    }

    fn admin(&self) -> String {
        format!("{}:{}", self.server.admin(), self.server.port)
    }

    fn apply<'a>(&'a self, admin: &'a str) -> [&'a str; 4] {
        ["--apply", admin, "--apply-config", &self.admin_config]
    }

    async fn setup_as(&self, admin: &str, user: &str, more: &[&str]) -> Output {
        let [at, claude, ollama] =
            [self.server.port, self.ports[0], self.ports[1]].map(|port| port.to_string());
        let fingerprint = self.server.fingerprint().unwrap();
        let mut words = vec!["setup", "--host", ADDRESS, "--port", &at, "--user", user];
        words.extend(["--claude-port", &claude, "--ollama-port", &ollama]);
        words.extend(["--host-key-fingerprint", &fingerprint]);
        words.extend(self.apply(admin));
        self.home.tunnel(&[&words, more].concat()).await
    }

    /// Sets the tunnel up for this account, as root and unasked.
    async fn setup(&self, user: &str) -> Output {
        self.setup_as(&self.admin(), user, &["--yes"]).await
    }

    #[track_caller]
    fn done(output: &Output) -> String {
        assert!(output.status.success(), "{}", text(output));
        text(output)
    }

    /// What a command prints there.
    fn vps(&self, command: &str) -> String {
        let output = self.server.run(command).unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What setup would put into sshd's configuration.
    fn block(&self, user: &str) -> String {
        let forwards = self.ports.map(|remote| Forward { remote, local: 0 }).to_vec();
        policy::sshd(&Settings { host: ADDRESS.to_owned(), user: user.to_owned(), port: 22, forwards })
    }

    async fn uninstall(&self) {
        let admin = self.admin();
        self.home.done(&[&["uninstall", "--yes"][..], &self.apply(&admin)].concat()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vps_is_changed_over_the_administrators_ssh_and_changed_back() {
    let Some(site) = Site::start().await else { return };
    let asked = site.setup_as(&site.admin(), "ai-tunnel", &[]).await;
    assert!(text(&asked).contains("add --yes"), "nothing is changed unasked: {}", text(&asked));
    assert_eq!(site.vps("id ai-tunnel; ls /etc/ssh/sshd_config.d"), "");

    // What sshd refuses is taken back, whoever made the mistake.
    site.vps("echo 'No such word' >/etc/ssh/sshd_config.d/zz-broken.conf");
    let refused = site.setup("ai-tunnel").await;
    assert!(text(&refused).contains("taken back"), "{}", text(&refused));
    site.vps(
        "echo 'Match User ai-*\n GatewayPorts yes' >/etc/ssh/sshd_config.d/aa-other.conf; rm /etc/ssh/sshd_config.d/zz-broken.conf",
    );
    let overruled = site.setup("ai-tunnel").await;
    assert!(text(&overruled).contains("gatewayports no"), "{}", text(&overruled));
    assert_eq!(site.vps("ls /etc/ssh/sshd_config.d; cat ~ai-tunnel/.ssh/authorized_keys"), "aa-other.conf");
    site.vps("rm /etc/ssh/sshd_config.d/aa-other.conf");

    let said = Site::done(&site.setup("ai-tunnel").await);
    assert!(said.contains("ways closed, "), "{said}");
    let keys = "~ai-tunnel/.ssh/authorized_keys";
    assert_eq!(site.vps(&format!("stat -c '%U %a' ~ai-tunnel/.ssh {keys}")), "ai-tunnel 700\nai-tunnel 600");
    let again = Site::done(&site.setup("ai-tunnel").await);
    assert!(again.contains("key: in place"), "{again}");
    assert_eq!(site.vps(&format!("wc -l <{keys}; ls /etc/ssh/sshd_config.d")), "1\nai-relay.conf");
    assert!(site.home.done(&["up"]).await.contains("tunnel: up"));

    site.uninstall().await;
    assert_eq!(site.home.leftovers(), Vec::<String>::new());
    assert_eq!(
        site.vps("id ai-tunnel; ls /etc/ssh/sshd_config.d /home"),
        "/etc/ssh/sshd_config.d:\n\n/home:"
    );
    assert_eq!(who(site.ports[0]).await, "");
}

/// Two machines share an account; one of them has lost its key's public half, as when a replacement is cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_public_half_takes_nobody_elses_key() {
    let Some(site) = Site::start().await else { return };
    Site::done(&site.setup("ai-tunnel").await);
    let keys = "~ai-tunnel/.ssh/authorized_keys";
    let other = "restrict,port-forwarding,command=\"/bin/false\" ssh-ed25519 AAAAother another-mac";
    site.vps(&format!("echo '{other}' >>{keys}"));
    std::fs::remove_file(site.home.tunnel_dir().join("id_ed25519.pub")).unwrap();
    site.uninstall().await;
    assert_eq!(
        site.vps(&format!("cat {keys}; cat {CONF}")),
        format!("{other}\n{}", site.block("ai-tunnel").trim())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_proven_before_the_old_one_goes() {
    let Some(site) = Site::start().await else { return };
    Site::done(&site.setup("ai-tunnel").await);
    site.home.done(&["up"]).await;
    let key = |name: &str| std::fs::read_to_string(site.home.tunnel_dir().join(name)).unwrap_or_default();
    let keys = "~ai-tunnel/.ssh/authorized_keys";
    let first = key("id_ed25519.pub");

    // By hand: nothing is lost until the new one is let in.
    let told = site.home.done(&["new-key"]).await;
    let second = key("next/id_ed25519.pub");
    let line = told.lines().find(|line| line.contains(second.trim())).unwrap();
    assert!(told.contains("does not let the tunnel in yet") && first != second, "{told}");
    assert_eq!(key("id_ed25519.pub"), first);
    site.vps(&format!("echo '{line}' >>{keys}"));
    let told = site.home.done(&["new-key"]).await;
    assert!(told.contains("ways closed, ") && told.contains(first.trim()), "{told}");
    assert_eq!((key("id_ed25519.pub"), key("next/id_ed25519.pub")), (second.clone(), String::new()));
    site.home.done(&["status"]).await;

    let admin = site.admin();
    site.home.done(&[&["new-key", "--yes"][..], &site.apply(&admin)].concat()).await;
    let third = key("id_ed25519.pub");
    let left = site.vps(&format!("cat {keys}"));
    assert!(
        left.contains(first.trim()) && left.contains(third.trim()) && !left.contains(second.trim()),
        "{left}"
    );
    site.home.done(&["prove"]).await;
    site.home.done(&["down"]).await;
    site.home.done(&["up"]).await;
    site.home.done(&["new-key"]).await;
    site.uninstall().await;
    assert_eq!(site.home.leftovers(), Vec::<String>::new());
    assert!(site.vps(&format!("cat {keys}")).ends_with(first.trim()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_somebody_logs_in_to_is_never_restricted() {
    let Some(site) = Site::start().await else { return };
    site.vps(
        "useradd -m -s /bin/bash person; useradd -m -s /usr/sbin/nologin -G sudo ops; useradd -m -s /usr/sbin/nologin backup2
         useradd -o -u 0 -g 0 -M -d /root -s /usr/sbin/nologin toor
         install -d -m 700 -o backup2 ~backup2/.ssh; echo 'ssh-ed25519 AAAA somebody' >~backup2/.ssh/authorized_keys",
    );
    for (user, why) in [
        ("person", "login shell"),
        ("ops", "in the group sudo"),
        ("backup2", "has somebody's key"),
        ("toor", "root under another name"),
    ] {
        let refused = text(&site.setup(user).await);
        assert!(refused.contains(why) && refused.contains("Choose another name"), "{user}: {refused}");
    }
    let named = text(&site.setup_as(&format!("person@{ADDRESS}"), "person", &["--yes"]).await);
    assert!(named.contains("choose another name"), "{named}");
    assert_eq!(site.vps("ls /etc/ssh/sshd_config.d; cat ~backup2/.ssh/*"), "ssh-ed25519 AAAA somebody");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_by_sudo_is_never_restricted() {
    let Some(mut site) = Site::start().await else { return };
    if site.vps("command -v sudo").is_empty() {
        eprintln!("skipped: there is no sudo");
        return;
    }
    // Without a login shell's name or a group that gives it away; and the account's name stands in ssh's configuration alone.
    site.vps(
        "useradd -m -s /bin/sh -c 'AI Relay tunnel' cloud; usermod -p '*' cloud; cp -r ~/.ssh ~cloud/; chown -R cloud ~cloud/.ssh
         mkdir -p /etc/sudoers.d; echo 'cloud ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/cloud",
    );
    let config = std::fs::read_to_string(&site.admin_config).unwrap();
    let alias =
        format!("{config}Host my-vps\n HostName {ADDRESS}\n Port {}\n User cloud\n", site.server.port);
    site.admin_config = site.folder.path().join("my_config").display().to_string();
    std::fs::write(&site.admin_config, alias).unwrap();
    let refused = text(&site.setup_as("my-vps", "cloud", &["--yes"]).await);
    assert!(refused.contains("you administer the VPS by it"), "{refused}");
    assert_eq!(site.vps("ls /etc/ssh/sshd_config.d"), "");
    Site::done(&site.setup_as("my-vps", "ai-tunnel", &["--yes"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn restrictions_that_the_running_sshd_has_not_read_are_put_in_effect() {
    let Some(site) = Site::start().await else { return };
    site.vps(&format!("printf '%s' '{}' >{CONF}", site.block("ai-tunnel").replace('\'', r"'\''")));
    let said = Site::done(&site.setup("ai-tunnel").await);
    assert!(said.contains("ways closed, "), "{said}");
    assert_eq!(site.vps(&format!("cat {CONF}")), site.block("ai-tunnel").trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_account_planted_leads_root_nowhere() {
    let Some(site) = Site::start().await else { return };
    site.vps(
        "useradd -m -s /usr/sbin/nologin ai-tunnel; usermod -p '*' ai-tunnel; install -d -m 700 -o ai-tunnel ~ai-tunnel/.ssh
         ln -s /etc/planted ~ai-tunnel/.ssh/authorized_keys.new; ln -s /etc/passwd ~ai-tunnel/.ssh/other",
    );
    Site::done(&site.setup("ai-tunnel").await);
    assert_eq!(
        site.vps("ls /etc/planted; stat -c %U /etc/passwd ~ai-tunnel/.ssh/authorized_keys"),
        "root\nai-tunnel"
    );

    site.vps("mkdir -m 755 /etc/folder; rm -r ~ai-tunnel/.ssh; ln -s /etc/folder ~ai-tunnel/.ssh");
    let refused = text(&site.setup("ai-tunnel").await);
    assert!(refused.contains("could not be written, and was left as it was"), "{refused}");
    assert_eq!(site.vps("stat -c '%U %a' /etc/folder; ls /etc/folder"), "root 755");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_others_stay_and_what_cannot_be_read_is_not_replaced() {
    let Some(site) = Site::start().await else { return };
    Site::done(&site.setup("ai-tunnel").await);
    let keys = "~ai-tunnel/.ssh/authorized_keys";
    let other = "restrict,command=\"/bin/false\" ssh-ed25519 AAAA another-mac";
    site.vps(&format!("echo '{other}' >{keys}; chown root {keys}; chmod 600 {keys}"));
    let refused = text(&site.setup("ai-tunnel").await);
    assert!(refused.contains("could not be written, and was left as it was"), "{refused}");
    assert_eq!(site.vps(&format!("cat {keys}; stat -c %U {keys}")), format!("{other}\nroot"));
    site.vps(&format!("chown ai-tunnel {keys}"));
    Site::done(&site.setup("ai-tunnel").await);
    assert_eq!(site.vps(&format!("wc -l <{keys}")), "2");
    site.uninstall().await;
    assert_eq!(
        site.vps(&format!("cat {keys}; ls /etc/ssh/sshd_config.d")),
        format!("{other}\nai-relay.conf"),
        "and its account and restrictions stay with it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sshd_that_would_not_take_the_key_is_told_with_the_line_to_change() {
    let Some(site) = Site::start().await else { return };
    let hardened = "/etc/ssh/sshd_config.d/hardened.conf";
    for (line, remedy) in [
        ("AllowUsers root admin@10.0.0.*", "add ai-tunnel to that line"),
        ("DenyUsers ai-?unnel", "take ai-tunnel out of that line"),
        ("AllowGroups root wheel", "add ai-tunnel to that line"),
        ("DenyGroups nobody ai-*", "take ai-tunnel out of that group"),
        ("AuthorizedKeysFile /etc/ssh/keys/%u", "add .ssh/authorized_keys to that line"),
    ] {
        site.vps(&format!("printf 'X11Forwarding no\\n%s\\n' '{line}' >{hardened}"));
        let refused = text(&site.setup("ai-tunnel").await);
        let named = format!("by {hardened}:2:{line}: {remedy}");
        assert!(refused.contains(&named) && refused.contains("taken back"), "{line}: {refused}");
        assert_eq!(site.vps("ls /etc/ssh/sshd_config.d; ls ~ai-tunnel/.ssh"), "hardened.conf");
    }
    site.vps(&format!(
        "printf 'AllowUsers root ai-*@*\\nAllowGroups root ai-tunnel\\nDenyUsers ai-tunnel@203.0.113.1\\nAuthorizedKeysFile /etc/ssh/keys/%%u %%h/.ssh/authorized_keys .ssh/authorized_keys\\n' >{hardened}"
    ));
    Site::done(&site.setup("ai-tunnel").await);
}
