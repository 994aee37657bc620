//! The tunnel as a service of a real systemd: one at a time keeps it up, and its lock is proven before.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Output,
};

use testkit::{
    sshd::{Plan, Sshd},
    systemd::UserManager,
};

use super::home::{Named, text, who};
use crate::{
    services::machine,
    support::{binaries::port, until},
};

/// `nobody`, as whom that systemd runs.
const UID: u32 = 65_534;

/// A machine whose tunnel is set up and does not run yet.
struct Home {
    machine: UserManager,
    root: PathBuf,
    sshd: Sshd,
    vps: [u16; 2],
    _services: [Named; 2],
}

fn own(path: &Path) {
    chown(path, Some(UID), Some(UID)).unwrap();
    for entry in fs::read_dir(path).into_iter().flatten() {
        own(&entry.unwrap().path());
    }
}

impl Home {
    async fn new(folder: &Path, change: impl Fn(&mut Plan)) -> Option<Self> {
        let machine = machine(folder).await?;
        let vps = [port(), port()];
        let mut plan = Plan::new(folder, &vps).unwrap();
        change(&mut plan);
        let sshd = plan.start().await.unwrap();
        let services = [Named::start("claude").await, Named::start("ollama").await];
        let root = machine.home().join("ai relay");
        fs::create_dir_all(root.join("data")).unwrap();
        sshd.set_up(&root.join("data/tunnel"), &[services[0].port, services[1].port]).unwrap();
        own(&root);
        Some(Self { machine, root, sshd, vps, _services: services })
    }

    /// `ai-relay-home …` in the project's folder.
    fn home(&self, words: &[&str]) -> Output {
        let program = self.machine.home().join("bin/ai-relay-home").display().to_string();
        let mut command = self.machine.command("env");
        command.arg(format!("--chdir={}", self.root.display())).arg(program).args(words);
        command.output().unwrap()
    }

    fn done(&self, words: &[&str]) -> String {
        let output = self.home(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        text(&output)
    }

    fn refused(&self, words: &[&str]) -> String {
        let output = self.home(words);
        assert!(!output.status.success(), "{words:?}: {}", text(&output));
        text(&output)
    }

    fn recorded(&self) -> String {
        let text = fs::read_to_string(self.root.join("data/run/tunnel.pid")).unwrap_or_default();
        text.lines().next().unwrap_or_default().to_owned()
    }

    fn pid(&self) -> String {
        let words = ["--user", "show", "-P", "MainPID", "ai-relay-tunnel"];
        self.machine.run("systemctl", &words).unwrap().trim().to_owned()
    }

    fn is_installed(&self) -> bool {
        self.machine.home().join(".config/systemd/user/ai-relay-tunnel.service").exists()
    }
}

const INSTALL: [&str; 4] = ["services", "install", "--only", "tunnel"];

#[tokio::test(flavor = "multi_thread")]
async fn the_service_takes_over_from_the_tunnel_in_the_background_and_can_be_restarted() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut home) = Home::new(folder.path(), |_| ()).await else { return };
    home.done(&["tunnel", "up"]);
    let said = home.done(&["tunnel", "restart"]);
    assert!(said.contains("tunnel: stopped (pid") && said.contains("ways closed"), "{said}");
    let before = home.recorded();
    let said = home.done(&INSTALL);
    for part in ["with fresh secrets", "ways closed", "tunnel: stopped (pid", "installed as", "tunnel: up"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    assert_ne!(home.recorded(), before);
    assert_eq!(home.recorded(), home.pid(), "the service is the only one");
    assert_eq!(who(home.vps[1]).await, "ollama");
    for words in [["tunnel", "up"], ["tunnel", "down"]] {
        let said = home.refused(&words);
        assert!(said.contains("systemd keeps the tunnel up") && said.contains("tunnel restart`"), "{said}");
    }
    let before = home.pid();
    let said = home.done(&["tunnel", "restart"]);
    assert!(said.contains("started anew by systemd") && said.contains("ways closed"), "{said}");
    assert_ne!(home.pid(), before);
    assert_eq!(home.recorded(), home.pid());
    let before = home.pid();
    home.done(&["services", "restart"]);
    assert_ne!(home.pid(), before);
    assert!(home.done(&["tunnel", "status"]).contains("connected since"));

    home.sshd.stop();
    assert!(until(async || !home.home(&["tunnel", "status"]).status.success()).await);
    let said = home.refused(&["tunnel", "status"]);
    assert!(said.contains("its log: journalctl --user -u ai-relay-tunnel"), "{said}");
    home.machine.run("systemctl", &["--user", "stop", "ai-relay-tunnel"]).unwrap();
    let said = home.refused(&["tunnel", "status"]);
    assert!(said.contains("systemd should keep it up (inactive (dead))"), "{said}");
    assert!(said.contains("tunnel restart"), "{said}");

    // A VPS that is away keeps nobody from installing.
    let said = home.done(&INSTALL);
    assert!(said.contains("warn  tunnel: nothing could be tried"), "{said}");
    home.done(&["services", "uninstall"]);
    assert!(!home.is_installed());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_service_is_made_of_a_tunnel_whose_lock_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let open = |plan: &mut Plan| plan.block = "GatewayPorts yes\n".to_owned();
    let Some(home) = Home::new(folder.path(), open).await else { return };
    let said = home.refused(&INSTALL);
    assert!(said.contains("nothing was installed") && said.contains("the lock does not hold"), "{said}");
    assert!(!home.is_installed());
}
