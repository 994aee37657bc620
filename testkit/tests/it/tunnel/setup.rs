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
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verb_it_asks_and_goes_on_as_setup_does() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = Plan::new(folder.path(), &[port(), port()]).unwrap().start().await.unwrap();
    let home = Home::new(folder.path());
    let nobody = home.tunnel(&[]).await;
    assert!(!nobody.status.success() && text(&nobody).contains("setup --host VPS --user ai-tunnel"));
    assert_eq!(home.leftovers(), Vec::<String>::new());

    let offers_a_service = home::services::Manager::detect().is_ok();
    let no_service = if offers_a_service { "no\n" } else { "" };
    let said = format!("{ADDRESS}\n\n{}\nno\n{no_service}no\n", sshd.port());
    let asked = text(&home.at_terminal(&[], &said).await);
    assert!(asked.contains("Are these the fingerprints") && asked.contains("nothing was pinned"), "{asked}");
    assert!(!home.tunnel_dir().join("known_hosts").exists());
    let said = format!("{ADDRESS}\n\n{}\nno\n{no_service}yes\n", sshd.port());
    let asked = text(&home.at_terminal(&[], &said).await);
    for part in [
        &format!("setup --host {ADDRESS} --user ai-tunnel --port {}", sshd.port()),
        "Match User ai-tunnel",
        "Press Enter when that is done",
        "there was no answer",
    ] {
        assert!(asked.contains(part), "{part} is missing in {asked}");
    }
    assert!(home.tunnel_dir().join("known_hosts").exists());
    home.done(&["--uninstall"]).await;
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstall_never_throws_a_key_away_without_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = Plan::new(folder.path(), &[port(), port()]).unwrap().start().await.unwrap();
    let home = Home::new(folder.path());
    sshd.set_up(&home.tunnel_dir(), &[port(), port()]).unwrap();
    home.done(&["up"]).await;
    fs::remove_file(home.tunnel_dir().join("known_hosts")).unwrap();

    let bailed = home.tunnel(&["uninstall", "--apply", "root@127.0.0.1:1", "--yes"]).await;
    assert!(!bailed.status.success() && text(&bailed).contains("nothing was changed"), "{}", text(&bailed));
    assert!(home.leftovers().contains(&"run/tunnel.connected".to_owned()), "the tunnel is still up");
    let key = fs::read_to_string(home.tunnel_dir().join("id_ed25519.pub")).unwrap();
    let said = home.done(&["uninstall"]).await;
    assert!(said.contains("cannot be read any more") && said.contains(key.trim()), "{said}");
    assert_eq!(home.leftovers(), Vec::<String>::new());
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
