//! The journey through a real sshd, with the three real binaries at its ends.

use testkit::{scenario::Scenario, sshd::Sshd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    journey::journey_is_complete,
    support::{
        Site, World,
        binaries::{Process, port},
        pull_request, until,
    },
};

#[cfg(target_os = "linux")]
mod applied;
mod home;
mod lock;
#[cfg(target_os = "linux")]
mod service;
mod setup;
mod supervision;

struct Road {
    world: World,
    claude: Process,
    ollama: Process,
    relay: Process,
    sshd: Sshd,
    /// As the VPS sees the endpoints.
    vps: [u16; 2],
    site: Site,
}

fn local(process: &Process) -> u16 {
    process.url.rsplit(':').next().unwrap().parse().unwrap()
}

impl Road {
    /// Everything runs but the tunnel.
    async fn start(scenario: &Scenario) -> Self {
        let world = World::start(scenario).await;
        let mut ollama = Process::new(&world, "ollama-endpoint", world.ollama_flags());
        let mut claude = Process::new(&world, "claude-endpoint", world.claude_flags(&ollama.url));
        let vps = [port(), port()];
        let [claude_url, ollama_url] = vps.map(|port| format!("http://127.0.0.1:{port}"));
        let mut relay = Process::new(&world, "relay", world.relay_flags(&claude_url, &ollama_url));
        for process in [&mut ollama, &mut claude, &mut relay] {
            process.start(&world).await;
        }
        let sshd =
            Sshd::start(world.folder.path(), &vps.map(|port| format!("127.0.0.1:{port}"))).await.unwrap();
        let site = Site { relay: relay.url.clone(), memory: ollama.url.clone(), http: world.http.clone() };
        Self { world, claude, ollama, relay, sshd, vps, site }
    }

    fn pairs(&self) -> [(u16, u16); 2] {
        [(self.vps[0], local(&self.claude)), (self.vps[1], local(&self.ollama))]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journey_goes_through_a_real_sshd_and_survives_its_loss() {
    let scenario = Scenario::default();
    let road = Road::start(&scenario).await;
    let tunnel = road.sshd.tunnel(&road.pairs()).unwrap();
    assert_eq!(road.site.send(&pull_request("d1", &scenario, "opened")).await, 202);
    journey_is_complete(&road.world, &road.site, "d1", &scenario).await;

    drop(tunnel);
    let later = Scenario { number: 8, head_sha: format!("{:040x}", 8), ..scenario };
    later.load_into(&road.world.github);
    assert_eq!(
        road.site.send(&pull_request("d2", &later, "opened")).await,
        202,
        "taken while the tunnel is down"
    );
    assert!(until(async || road.relay.log().contains("lane paused")).await);
    let _tunnel = road.sshd.tunnel(&road.pairs()).unwrap();
    road.site.until("d2", "claude", "completed").await;
    road.site.until("d2", "ollama", "completed").await;
    assert_eq!(road.world.github.reviews(&later.repository, 8).len(), 1);
    let attempts = &road.site.delivery("d2").await.unwrap()["targets"][0]["attempts"];
    assert_eq!(attempts, 1, "waiting for the tunnel counts no attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_the_port_while_the_tunnel_is_down_cannot_swallow_an_event() {
    let scenario = Scenario::default();
    let road = Road::start(&scenario).await;
    let squatter = tokio::net::TcpListener::bind(("127.0.0.1", road.vps[0])).await.unwrap();
    let squatting = tokio::spawn(async move {
        while let Ok((stream, _)) = squatter.accept().await {
            tokio::spawn(say_yes(stream));
        }
    });
    road.site.send(&pull_request("d1", &scenario, "opened")).await;
    assert!(
        until(async || road.relay.log().contains("without a valid signature")).await,
        "{}",
        road.relay.log()
    );
    road.site.until("d1", "claude", "pending").await;
    squatting.abort();
    assert!(squatting.await.unwrap_err().is_cancelled());
    let _tunnel = road.sshd.tunnel(&road.pairs()).unwrap();
    journey_is_complete(&road.world, &road.site, "d1", &scenario).await;
}

/// Takes everything, as the endpoint would, but cannot sign that it did.
async fn say_yes(mut stream: tokio::net::TcpStream) {
    let mut start = [0; 1024];
    if stream.read(&mut start).await.is_ok() {
        let body = r#"{"status":"accepted","id":"d1"}"#;
        let answer = format!(
            "HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}
