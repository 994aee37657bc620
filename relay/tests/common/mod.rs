//! A relay whose targets do not exist, for tests of what an operator sees.

#![allow(dead_code, reason = "each test looks at what it needs")]

use std::ffi::OsString;

use queue::Queue;
use relay::{Relay, config};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The operator's.
pub(crate) const TOKEN: &str = "an-admin-token-for-tests";

/// A relay in this process.
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) queue: Queue,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: JoinHandle<anyhow::Result<()>>,
}

/// A relay whose targets do not exist.
pub(crate) async fn start() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let arguments = [
        "relay",
        "--data-dir",
        &data,
        "--metrics-listen",
        "127.0.0.1:0",
        "--github-webhook-secret",
        "a-webhook-secret-for-tests",
        "--relay-signing-key",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "--claude-endpoint",
        "http://127.0.0.1:9",
        "--ollama-endpoint",
        "http://127.0.0.1:9",
        "--relay-admin-token",
        TOKEN,
    ];
    let loaded = config::load(arguments.map(OsString::from)).unwrap();
    let relay = Relay::build(config::Config::new(loaded.cli.args, &loaded.tables).unwrap()).await.unwrap();
    let queue = relay.app().queue.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let ended = tokio::spawn(relay.run(listener, stop.clone()));
    Running { url, folder, queue, stop, ended }
}
