//! `GET /metrics`, in a process of its own: there is one metrics recorder to a process.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's exemption for tests does not reach their helper functions"
)]

use std::ffi::OsString;

use ollama_endpoint::{App, config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "a-token-for-the-tests";

#[tokio::test]
async fn the_queue_is_measured_when_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "ollama-endpoint",
        "--relay-signing-key",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "--memory-token",
        TOKEN,
        "--data-dir",
        folder.path().to_str().unwrap(),
    ];
    let config = config::load(arguments.map(OsString::from)).unwrap().cli.config().unwrap();
    let app = App::build(config).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(app.run(listener, stop.clone()));
    let http = shared::client::http(None).unwrap();
    let update = http.post(format!("{url}/memory-update")).bearer_auth(TOKEN);
    let update = update.body(r#"{"repository":"o/r","context":"Retries are capped"}"#);
    assert_eq!(update.send().await.unwrap().status(), 202);
    let asked = http.get(format!("{url}/metrics")).bearer_auth(TOKEN);
    let text = asked.send().await.unwrap().text().await.unwrap();
    assert!(text.contains(r#"ai_relay_queue_jobs{lane="memory",state="pending"}"#), "{text}");
    stop.cancel();
    running.await.unwrap();
}
