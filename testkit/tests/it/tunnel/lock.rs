//! The proof of the lock, against a real sshd: with our texts every way is closed, and each hole is found.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::sshd::{ADDRESS, Plan};

use super::home::{Home, text};
use crate::support::binaries::port;

struct Proof {
    /// Exit code 0.
    holds: bool,
    said: String,
    report: Value,
}

impl Proof {
    fn outcomes(&self, outcome: &str) -> BTreeSet<String> {
        let attempts = self.report["attempts"].as_array().unwrap();
        let of = attempts.iter().filter(|row| row["outcome"] == outcome);
        of.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    }
}

/// Makes a VPS of this plan, and the proof against it.
async fn prove(change: impl Fn(&mut Plan)) -> Proof {
    let folder = tempfile::tempdir().unwrap();
    let ports = [port(), port()];
    let mut plan = Plan::new(folder.path(), &ports).unwrap();
    change(&mut plan);
    let sshd = plan.start().await.unwrap();
    let home = Home::new(folder.path());
    let settings = sshd.set_up(&home.tunnel_dir(), &[port(), port()]).unwrap();
    // A socket file that everybody may call, as systemd's are.
    let socket = folder.path().join("socket");
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let output = home.tunnel(&["prove", "--json", "--unix-socket", socket.to_str().unwrap()]).await;
    let said = text(&output);
    let shown = String::from_utf8_lossy(&output.stdout)
        .replace(&folder.path().display().to_string(), "FOLDER")
        .replace(&format!("127.0.0.1:{}", settings.port), "127.0.0.1:SSHD")
        .replace(&format!("{ADDRESS}:443"), "VPS:443")
        .replace(&ports[0].to_string(), "CLAUDE")
        .replace(&ports[1].to_string(), "OLLAMA");
    let report = serde_json::from_str(&shown).unwrap_or_else(|_| panic!("no report: {said}"));
    Proof { holds: output.status.success(), said, report }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_our_texts_every_way_is_closed() {
    let proof = prove(|_| ()).await;
    assert!(proof.holds, "{}", proof.said);
    assert_eq!(proof.report["forwards"], "granted");
    let lines: Vec<String> = proof.report["attempts"].as_array().unwrap().iter().map(line).collect();
    let (outside, lines): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|line| OUTSIDE.iter().any(|part| line.contains(part)));
    insta::assert_snapshot!(lines.join("\n"));
    // The two ports, and the address that it would listen at.
    let expected = if has_outside() { 3 } else { 0 };
    assert_eq!(outside.iter().filter(|line| line.starts_with("closed")).count(), expected, "{outside:?}");
}

/// Ways that lead through the network. A system with one loopback address has nothing outside of it, and does not try them.
const OUTSIDE: [&str; 2] = ["from the network", "its address on the network"];

fn has_outside() -> bool {
    ADDRESS != "127.0.0.1"
}

/// Root may be what it takes to try a device, and the numbers of the system's errors differ.
fn line(row: &Value) -> String {
    let word = |key: &str| row[key].as_str().unwrap();
    let outcome = if word("name").contains("device") && word("outcome") == "skipped" {
        "closed"
    } else {
        word("outcome")
    };
    format!("{outcome}  {}", word("name"))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_lock_every_way_is_found_open() {
    let proof = prove(|plan| {
        plan.authorized_key = plan.bare_key.clone();
        plan.block = "GatewayPorts yes\nPermitTunnel yes\nX11Forwarding yes\nPasswordAuthentication yes\n\
                      AllowAgentForwarding yes\nXAuthLocation /bin/sh\n"
            .to_owned();
        plan.general = String::new();
    })
    .await;
    assert!(!proof.holds && proof.said.contains("the lock does not hold"), "{}", proof.said);
    assert_eq!(proof.outcomes("closed"), BTreeSet::new(), "{}", proof.said);
    let open = proof.outcomes("open");
    for way in [
        "run a command",
        "open a shell",
        "get a terminal",
        "agent forwarding",
        "X11 forwarding",
        "log in without the key",
    ] {
        assert!(open.contains(way), "{way} is missing in {open:?}");
    }
    let parts = ["sftp", "-L to 127.0.0.1:SSHD", "socket file (-L", "socket file (-R", "every address"];
    for part in parts.iter().chain(OUTSIDE.iter().filter(|_| has_outside())) {
        assert!(open.iter().any(|name| name.contains(part)), "{part} is missing in {open:?}");
    }
}

/// A lock with one hole: which part of which name must be open, and nothing else.
async fn hole(change: impl Fn(&mut Plan), open: &[&str]) {
    let proof = prove(change).await;
    let found = proof.outcomes("open");
    assert!(!proof.holds, "{open:?} was not found");
    let expected = |name: &String| open.iter().any(|part| name.contains(part));
    assert!(found.iter().all(expected), "more is open than {open:?}: {}", proof.said);
    for part in open {
        assert!(found.iter().any(|name| name.contains(part)), "{part} is not open: {}", proof.said);
    }
}

/// A change of one line of the block. The key's own options would close most holes again, so it has none.
fn block(from: &'static str, to: &'static str) -> impl Fn(&mut Plan) {
    move |plan| {
        assert!(plan.block.contains(from), "the block has no {from}");
        plan.block = plan.block.replace(from, to);
        plan.authorized_key = plan.bare_key.clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_sshd_opens_to_the_network_are_found() {
    if !has_outside() {
        eprintln!("skipped: this system has one loopback address only, so nothing is outside of it");
        return;
    }
    hole(block("GatewayPorts no", "GatewayPorts yes"), &["from the network"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_allowed_are_found() {
    let sessions = |text: &str| {
        text.replace("MaxSessions 0", "MaxSessions 10").replace("    ForceCommand /bin/false\n", "")
    };
    let open = |plan: &mut Plan, more: &str| {
        plan.block = sessions(&plan.block) + more;
        plan.authorized_key = plan.bare_key.clone();
    };
    hole(|plan| open(plan, ""), &["run a command", "open a shell", "sftp"]).await;
    let files = |plan: &mut Plan| open(plan, "    ForceCommand internal-sftp\n");
    hole(files, &["sftp"]).await;
    let all = |plan: &mut Plan| {
        open(plan, "");
        plan.block = plan
            .block
            .replace("PermitTTY no", "PermitTTY yes")
            .replace("AllowAgentForwarding no", "AllowAgentForwarding yes");
    };
    hole(all, &["run a command", "open a shell", "sftp", "terminal", "agent"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_through_the_vps_are_found() {
    hole(
        |plan| {
            block("AllowTcpForwarding remote", "AllowTcpForwarding yes")(plan);
            plan.block = plan.block.replace("    PermitOpen none\n", "");
        },
        &["(-L to 1", "(-L to VPS"],
    )
    .await;
    hole(block("AllowStreamLocalForwarding no", "AllowStreamLocalForwarding yes"), &["socket file (-R"])
        .await;
    // The way to socket files is closed by `PermitOpen none`, too; that it is found where nothing closes it, is seen above.
}

#[tokio::test(flavor = "multi_thread")]
async fn other_ports_and_passwords_are_found() {
    hole(
        |plan| {
            let listen = plan.block.lines().find(|line| line.contains("PermitListen")).unwrap().to_owned();
            plan.block = plan.block.replace(&listen, "    PermitListen any");
            plan.authorized_key = plan.bare_key.clone();
        },
        &["every address", "no address given", "IPv6", "another port", "any port", "-R 127.0.0."],
    )
    .await;
    hole(block("AuthenticationMethods publickey", "PasswordAuthentication yes"), &["without the key"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_keeps_the_tunnel_out_is_no_good_one() {
    let proof = prove(|plan| {
        plan.block = plan.block.replace("AllowTcpForwarding remote", "AllowTcpForwarding no");
    })
    .await;
    assert!(!proof.holds && proof.said.contains("too tight"), "{}", proof.said);
    assert_eq!(proof.outcomes("open"), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_there_is_no_proof() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = Plan::new(folder.path(), &[port(), port()]).unwrap().start().await.unwrap();
    let home = Home::new(folder.path());
    sshd.set_up(&home.tunnel_dir(), &[port(), port()]).unwrap();
    drop(sshd);
    let output = home.tunnel(&["prove"]).await;
    let said = text(&output);
    assert!(!output.status.success() && said.contains("nothing could be tried"), "{said}");
}
