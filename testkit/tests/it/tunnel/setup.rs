//! Setting the tunnel up, on both machines, and taking it back.

use std::{fs, os::unix::fs::PermissionsExt};

use testkit::sshd::{ADDRESS, Plan};

use super::home::{Home, text};
use crate::support::binaries::port;

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_it_says_what_the_vps_needs_and_pins_only_the_right_key() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = Plan::new(folder.path(), &[port(), port()]).unwrap().start().await.unwrap();
    let home = Home::new(folder.path());
    let at = sshd.port().to_string();
    let mut words = vec!["setup", "--host", ADDRESS, "--port", &at, "--user", "ai-tunnel"];

    let unconfirmed = home.tunnel(&words).await;
    assert!(text(&unconfirmed).contains("--host-key-fingerprint"), "{}", text(&unconfirmed));
    words.extend(["--host-key-fingerprint", "SHA256:wrong"]);
    let wrong = home.tunnel(&words).await;
    assert!(text(&wrong).contains("nothing was pinned") && !home.tunnel_dir().join("known_hosts").exists());

    let fingerprint = sshd.fingerprint().unwrap();
    *words.last_mut().unwrap() = &fingerprint;
    let said = home.done(&words).await;
    let key = fs::read_to_string(home.tunnel_dir().join("id_ed25519.pub")).unwrap();
    for part in [
        "Match User ai-tunnel",
        "permitlisten=\"127.0.0.1:8091\"",
        key.trim(),
        "does not let the tunnel in yet",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    assert!(home.done(&words).await.contains("exists and is kept"), "a second run changes nothing");
    assert_eq!(fs::read_to_string(home.tunnel_dir().join("id_ed25519.pub")).unwrap(), key);
    for (name, mode) in [("", 0o700), ("id_ed25519", 0o600), ("known_hosts", 0o600), ("ssh_config", 0o600)] {
        let found = fs::metadata(home.tunnel_dir().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }

    let pinned = home.tunnel_dir().join("known_hosts");
    let other = fs::read_to_string(&pinned).unwrap().replace("AAAA", "AAAB");
    fs::write(&pinned, other).unwrap();
    let changed = home.tunnel(&words).await;
    assert!(
        !changed.status.success() && text(&changed).contains("somebody may be in between"),
        "{}",
        text(&changed)
    );

    let said = home.done(&["uninstall"]).await;
    assert!(said.contains("On 127.0.0.") && said.contains(key.trim()), "{said}");
    assert_eq!(home.leftovers(), ["log", "run"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsafe_settings_are_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    let refused = async |more: &[&str], reason: &str| {
        let mut words = vec!["setup", "--host", ADDRESS];
        words.extend(more);
        let output = home.tunnel(&words).await;
        assert!(!output.status.success() && text(&output).contains(reason), "{more:?}: {}", text(&output));
        assert_eq!(home.leftovers(), Vec::<String>::new());
    };
    refused(&["--user", "root"], "an account of its own").await;
    refused(&["--user", "t", "--claude-port", "6000", "--ollama-port", "6000"], "the same port").await;
    refused(&["--user", "t", "--claude-port", "80"], "only root may listen").await;
    refused(&["--user", "-oProxyCommand=x"], "--user").await;
    fs::create_dir(home.tunnel_dir()).unwrap();
    fs::set_permissions(home.tunnel_dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let open = home.tunnel(&["setup", "--host", ADDRESS, "--user", "t"]).await;
    assert!(text(&open).contains("chmod go-rwx"), "{}", text(&open));
}

#[cfg(target_os = "linux")]
mod applied {
    use testkit::vps::Vps;

    use super::*;
    use crate::tunnel::home::who;

    fn vps(vps: &Vps, command: &str) -> String {
        let output = vps.run(command).unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_vps_is_changed_over_the_administrators_ssh_and_changed_back() {
        if let Err(why) = Vps::possible() {
            eprintln!("skipped: this machine cannot have a VPS in a namespace: {why}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let server = Vps::start(folder.path()).await.unwrap();
        let home = Home::new(folder.path());
        let (at, fingerprint) = (server.port.to_string(), server.fingerprint().unwrap());
        let admin = format!("{}:{at}", server.admin());
        let config = server.admin_config().unwrap().display().to_string();
        let [claude, ollama] = [port(), port()].map(|port| port.to_string());
        let apply = ["--apply", &admin, "--apply-config", &config];
        let mut words = vec!["setup", "--host", ADDRESS, "--port", &at, "--user", "ai-tunnel"];
        words.extend([
            "--claude-port",
            &claude,
            "--ollama-port",
            &ollama,
            "--host-key-fingerprint",
            &fingerprint,
        ]);
        words.extend(apply);

        let asked = home.tunnel(&words).await;
        assert!(text(&asked).contains("add --yes"), "nothing is changed unasked: {}", text(&asked));
        assert_eq!(vps(&server, "id ai-tunnel; ls /etc/ssh/sshd_config.d"), "");
        words.push("--yes");

        // What sshd refuses is taken back, whoever made the mistake.
        vps(&server, "echo 'No such word' >/etc/ssh/sshd_config.d/zz-broken.conf");
        let refused = home.tunnel(&words).await;
        assert!(text(&refused).contains("taken back"), "{}", text(&refused));
        vps(
            &server,
            "echo 'Match User ai-*\n GatewayPorts yes' >/etc/ssh/sshd_config.d/aa-other.conf; rm /etc/ssh/sshd_config.d/zz-broken.conf",
        );
        let overruled = home.tunnel(&words).await;
        assert!(text(&overruled).contains("gatewayports no"), "{}", text(&overruled));
        assert_eq!(
            vps(&server, "ls /etc/ssh/sshd_config.d; cat ~ai-tunnel/.ssh/authorized_keys"),
            "aa-other.conf"
        );
        vps(&server, "rm /etc/ssh/sshd_config.d/aa-other.conf");

        let said = home.done(&words).await;
        assert!(said.contains("ways closed, "), "{said}");
        assert_eq!(
            vps(&server, "stat -c '%U %a' ~ai-tunnel/.ssh ~ai-tunnel/.ssh/authorized_keys"),
            "ai-tunnel 700\nai-tunnel 600"
        );
        let again = home.done(&words).await;
        assert!(again.contains("key: in place") && again.contains("restrictions are in place"), "{again}");
        assert_eq!(
            vps(&server, "wc -l <~ai-tunnel/.ssh/authorized_keys; ls /etc/ssh/sshd_config.d"),
            "1\nai-relay.conf"
        );
        assert!(home.done(&["up"]).await.contains("tunnel: up"));

        let mut back = vec!["uninstall", "--yes"];
        back.extend(apply);
        home.done(&back).await;
        assert_eq!(home.leftovers(), ["log", "run"]);
        assert_eq!(
            vps(&server, "id ai-tunnel; ls /etc/ssh/sshd_config.d /home"),
            "/etc/ssh/sshd_config.d:\n\n/home:"
        );
        assert_eq!(who(claude.parse().unwrap()).await, "");
    }
}
