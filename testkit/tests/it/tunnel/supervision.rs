//! The supervisor brings the tunnel back after every kind of loss.

use std::net::UdpSocket;

use testkit::sshd::{Plan, Sshd};
use tokio::net::TcpListener;

use super::home::{Home, Named, signal, text, who};
use crate::support::{binaries::port, until};

struct Joined {
    home: Home,
    sshd: Sshd,
    vps: [u16; 2],
    _services: [Named; 2],
    _folder: tempfile::TempDir,
}

impl Joined {
    /// Everything is ready, and the tunnel does not run yet.
    async fn new(change: impl Fn(&mut Plan)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vps = [port(), port()];
        let mut plan = Plan::new(folder.path(), &vps).unwrap();
        change(&mut plan);
        let sshd = plan.start().await.unwrap();
        let services = [Named::start("claude").await, Named::start("ollama").await];
        let home = Home::new(folder.path());
        sshd.set_up(&home.tunnel_dir(), &[services[0].port, services[1].port]).unwrap();
        Self { home, sshd, vps, _services: services, _folder: folder }
    }

    async fn up() -> Self {
        let mut joined = Self::new(|_| ()).await;
        joined.home.run();
        joined.goes_through(1).await;
        joined
    }

    /// Both ports lead home, after so many connections.
    async fn goes_through(&self, connections: usize) {
        self.home.says(" tunnel: up", connections).await;
        for (port, name) in self.vps.into_iter().zip(["claude", "ollama"]) {
            assert_eq!(who(port).await, name, "{}", self.home.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ssh_that_is_killed_or_frozen_is_replaced() {
    let joined = Joined::up().await;
    let first = joined.home.ssh();
    signal(first, "KILL");
    joined.goes_through(2).await;
    let second = joined.home.ssh();
    assert_ne!(first, second);
    signal(second, "STOP");
    joined.goes_through(3).await;
    let log = joined.home.log();
    assert!(log.contains("ssh was stuck"), "{log}");
    // Killed, up, stuck, up: a line for each, and nothing more.
    let changes = log.lines().filter(|line| line.contains("down: ") || line.contains(": up")).count();
    assert_eq!(changes, 5, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_sshd_gets_the_tunnel_back() {
    let mut joined = Joined::up().await;
    joined.sshd.stop();
    joined.home.says("down: ", 1).await;
    joined.sshd.run().await.unwrap();
    joined.goes_through(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_somebody_else_took_is_waited_for() {
    let mut joined = Joined::up().await;
    joined.sshd.stop();
    joined.home.says("down: ", 1).await;
    let mut squatter = None;
    // The connection that was cut holds the port for a moment.
    let taken = until(async || {
        squatter = TcpListener::bind(("127.0.0.1", joined.vps[0])).await.ok();
        squatter.is_some()
    });
    assert!(taken.await);
    joined.sshd.run().await.unwrap();
    joined.home.says("another program has the port", 1).await;
    assert_eq!(joined.home.log().matches(" tunnel: up").count(), 1, "one forward of two is not up");
    drop(squatter);
    joined.goes_through(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_clean_and_a_killed_supervisor_leaves_nothing_that_lasts() {
    let mut joined = Joined::up().await;
    let second = joined.home.tunnel(&["run"]).await;
    assert!(!second.status.success() && text(&second).contains("runs already"), "{}", text(&second));
    joined.home.done(&["status"]).await;

    let orphan = joined.home.ssh();
    signal(joined.home.pid(), "KILL");
    assert!(!joined.home.ended().await);
    joined.home.run();
    joined.goes_through(2).await;
    assert_ne!(joined.home.ssh(), orphan);

    signal(joined.home.pid(), "TERM");
    assert!(joined.home.ended().await, "{}", joined.home.log());
    assert_eq!(who(joined.vps[0]).await, "", "the VPS does not listen any more");
    let left: Vec<_> = joined.home.leftovers().into_iter().filter(|path| path.starts_with("run/")).collect();
    assert_eq!(left, Vec::<String>::new());
    let status = joined.home.tunnel(&["status"]).await;
    assert!(!status.status.success() && text(&status).contains("ai-relay-home tunnel up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vps_that_does_not_allow_the_ports_is_told_of() {
    let mut joined = Joined::new(|plan| {
        plan.block = plan.block.replace("AllowTcpForwarding remote", "AllowTcpForwarding no");
    })
    .await;
    joined.home.run();
    joined.home.says("does not allow our ports", 1).await;
    signal(joined.home.pid(), "TERM");
    assert!(joined.home.ended().await);
    assert!(!joined.home.log().contains(" tunnel: up"));
}

/// This machine's own address on the network, if it has one.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("203.0.113.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_from_the_network_ends_the_tunnel() {
    let Some(address) = own_address() else {
        eprintln!("skipped: this machine has no address on a network");
        return;
    };
    let mut joined =
        Joined::new(|plan| plan.block = plan.block.replace("GatewayPorts no", "GatewayPorts yes")).await;
    joined.home.run();
    joined.goes_through(1).await;
    let _stranger = tokio::net::TcpStream::connect((address, joined.vps[1])).await.unwrap();
    joined.home.says("GatewayPorts is in effect", 1).await;
    assert!(until(async || who(joined.vps[0]).await.is_empty()).await, "the tunnel is down");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_proves_the_lock_and_down_ends_it() {
    let joined = Joined::new(|_| ()).await;
    let said = joined.home.done(&["up"]).await;
    assert!(said.contains("tunnel: up") && said.contains("ways closed"), "{said}");
    assert_eq!(who(joined.vps[1]).await, "ollama");
    let said = joined.home.done(&["up"]).await;
    assert!(said.contains("already running") && said.contains("ways closed"), "{said}");
    let said = joined.home.done(&["restart"]).await;
    assert!(said.contains("tunnel: stopped (pid") && said.contains("ways closed"), "{said}");
    assert_eq!(who(joined.vps[1]).await, "ollama");
    assert!(joined.home.done(&["down"]).await.contains("stopped"));
    assert_eq!(who(joined.vps[1]).await, "");
}

/// launchd writes what the supervisor says at its start into a file that it lets grow for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_cannot_start_does_not_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    let log = home.data.join("tunnel.launchd.log");
    std::fs::write(&log, vec![b'x'; 2 << 20]).unwrap();
    let appended = std::fs::File::options().append(true).open(&log).unwrap();
    let own = home.data.join("tunnel.log").display().to_string();
    // As launchd starts it; in a shell standard error is somebody's own.
    assert!(!home.command(&["run", "--log", &own]).stderr(appended).status().unwrap().success());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("the tunnel is not set up") && said.len() < 1000, "{} bytes", said.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn up_does_not_leave_a_tunnel_with_an_open_lock() {
    let joined = Joined::new(|plan| plan.block = "GatewayPorts yes\n".to_owned()).await;
    let output = joined.home.tunnel(&["up"]).await;
    assert!(!output.status.success() && text(&output).contains("was stopped again"), "{}", text(&output));
    assert!(until(async || who(joined.vps[0]).await.is_empty()).await);
}
