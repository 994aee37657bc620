//! The three services in this process.

use std::ffi::OsString;

use relay::Relay;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Site, World};

/// A running service.
pub struct Running {
    pub url: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops it as SIGTERM would.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn arguments(flags: Vec<String>) -> Vec<OsString> {
    std::iter::once("service".to_owned()).chain(flags).map(OsString::from).collect()
}

async fn listen(port: u16) -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Starts the claude-endpoint.
pub async fn claude(flags: Vec<String>, port: u16) -> Running {
    let (listener, url) = listen(port).await;
    let config = claude_endpoint::config::load(arguments(flags)).unwrap().cli.config().unwrap();
    let service = claude_endpoint::App::build(config).await.unwrap();
    let stop = CancellationToken::new();
    Running { url, task: tokio::spawn(service.run(listener, stop.clone())), stop }
}

/// Starts the ollama-endpoint.
pub async fn ollama(flags: Vec<String>, port: u16) -> Running {
    let (listener, url) = listen(port).await;
    let config = ollama_endpoint::config::load(arguments(flags)).unwrap().cli.config().unwrap();
    let app = ollama_endpoint::App::build(config).await.unwrap();
    let stop = CancellationToken::new();
    Running { url, task: tokio::spawn(app.run(listener, stop.clone())), stop }
}

/// Starts the relay.
pub async fn relay(flags: Vec<String>) -> Running {
    let (listener, url) = listen(0).await;
    let loaded = relay::config::load(arguments(flags)).unwrap();
    let config = relay::config::Config::new(loaded.cli.args, &loaded.tables).unwrap();
    let relay = Relay::build(config).await.unwrap();
    let stop = CancellationToken::new();
    let running = relay.run(listener, stop.clone());
    Running { url, task: tokio::spawn(async move { running.await.unwrap() }), stop }
}

/// All three, in a world.
pub struct Services {
    pub claude: Running,
    pub ollama: Running,
    pub relay: Running,
}

impl Services {
    /// Starts all three.
    pub async fn start(world: &World) -> Self {
        let ollama = ollama(world.ollama_flags(), 0).await;
        let claude = claude(world.claude_flags(&ollama.url), 0).await;
        let relay = relay(world.relay_flags(&claude.url, &ollama.url)).await;
        Self { claude, ollama, relay }
    }

    /// What a test asks of them.
    pub fn site(&self, world: &World) -> Site {
        Site { relay: self.relay.url.clone(), memory: self.ollama.url.clone(), http: world.http.clone() }
    }
}
