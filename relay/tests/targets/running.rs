//! A running relay, as its operator sees it.

use std::ffi::OsString;

use queue::JobState;
use relay::{Relay, config};
use serde_json::{Value, json};
use shared::signature::GithubSecrets;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::receiver::KEY;

const SECRET: &str = "a-webhook-secret-for-tests";
const TOKEN: &str = "an-admin-token-for-tests";

pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) relay: relay::App,
    http: reqwest::Client,
    _folder: tempfile::TempDir,
}

/// One `[[targets]]`.
pub(crate) fn target(name: &str, url: &str, rest: &str) -> String {
    format!("[[targets]]\nname = \"{name}\"\nurl = \"{url}\"\nsigning_key = \"{KEY}\"\n{rest}\n")
}

/// A relay with this configuration file; its endpoints are away unless `flags` say where they are.
pub(crate) async fn start(toml: &str, flags: &[&str]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, toml).unwrap();
    let (data, file) = (folder.path().display().to_string(), file.display().to_string());
    let fixed = [
        "relay",
        "--config",
        &file,
        "--data-dir",
        &data,
        "--metrics-listen",
        "127.0.0.1:0",
        "--github-webhook-secret",
        SECRET,
        "--relay-admin-token",
        TOKEN,
        "--relay-signing-key",
        KEY,
    ];
    let away = ["--claude-endpoint", "http://127.0.0.1:9", "--ollama-endpoint", "http://127.0.0.1:9"];
    let away = away.chunks(2).filter(|pair| !flags.contains(&pair[0])).flatten();
    let loaded = config::load(fixed.iter().chain(away).chain(flags).map(OsString::from)).unwrap();
    let shown = shared::config::show(&loaded.settings);
    let checked = config::Config::new(loaded.cli.args.clone(), &loaded.tables).unwrap();
    let secret = KEY.trim_start_matches("whsec_");
    assert!(!format!("{loaded:?}{checked:?}{shown}").contains(secret), "a key is shown");
    let relay = Relay::build(checked).await.unwrap();
    let app = relay.app().clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(relay.run(listener, CancellationToken::new()));
    Running { url, relay: app, http: shared::client::http(None).unwrap(), _folder: folder }
}

fn of(repository: &str) -> Value {
    json!({"full_name": repository, "private": true, "default_branch": "main"})
}

impl Running {
    /// GitHub's webhook for an issue; answers with the targets, or with the reason why there are none.
    pub(crate) async fn issue(&self, id: &str, repository: &str) -> Value {
        self.webhook("issues", id, json!({"action": "opened", "delivery": id, "repository": of(repository)}))
            .await
    }

    /// As [`issue`](Self::issue), with so many bytes more.
    pub(crate) async fn large(&self, id: &str, bytes: usize) -> Value {
        let body = json!({"action": "opened", "repository": of("o/r"), "text": "x".repeat(bytes)});
        self.webhook("issues", id, body).await
    }

    /// As [`issue`](Self::issue), for a push to one and the same branch.
    pub(crate) async fn push(&self, id: &str) -> Value {
        self.webhook(
            "push",
            id,
            json!({"ref": "refs/heads/topic", "before": "0", "after": id, "repository": of("o/r")}),
        )
        .await
    }

    async fn webhook(&self, event: &str, id: &str, body: Value) -> Value {
        let (body, secrets) = (body.to_string(), GithubSecrets::parse(&SECRET.into()).unwrap());
        let request = self
            .http
            .post(format!("{}/github-webhook", self.url))
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .header("x-hub-signature-256", secrets.sign(body.as_bytes()))
            .header("content-type", "application/json")
            .body(body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        if answer["targets"].is_null() { answer["reason"].clone() } else { answer["targets"].clone() }
    }

    pub(crate) async fn admin(&self, method: &str, path: &str) -> Value {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        request.bearer_auth(TOKEN).send().await.unwrap().json().await.unwrap()
    }

    /// One target's part of a delivery, as soon as it is as `wanted`.
    pub(crate) async fn job(
        &self,
        id: &str,
        target: &str,
        wanted: impl Fn(&queue::JobRecord) -> bool,
    ) -> queue::JobRecord {
        let mut changes = self.relay.queue.changes();
        loop {
            changes.mark_unchanged();
            let record = self.relay.queue.find(id).await.unwrap().unwrap();
            let job = record.jobs.into_iter().find(|job| job.lane == target).unwrap();
            if wanted(&job) {
                return job;
            }
            changes.changed().await.unwrap();
        }
    }

    pub(crate) async fn done(&self, id: &str, target: &str) -> queue::JobRecord {
        self.job(id, target, |job| job.state == JobState::Done).await
    }

    pub(crate) async fn dead(&self, id: &str, target: &str) -> String {
        self.job(id, target, |job| job.state == JobState::Dead).await.error.unwrap()
    }

    /// Why a target's lane is paused, as soon as it is.
    pub(crate) async fn paused(&self, target: &str) -> String {
        let status = self.relay.targets.iter().find(|one| one.name == target).unwrap();
        status.lane.clone().wait_for(|lane| lane.paused.is_some()).await.unwrap().paused.clone().unwrap()
    }

    /// What `/health` says of a target.
    pub(crate) async fn health(&self, target: &str) -> (Value, String) {
        let report: Value =
            self.http.get(format!("{}/health", self.url)).send().await.unwrap().json().await.unwrap();
        let check = &report["checks"][format!("target:{target}")][0];
        (check["status"].clone(), check["output"].as_str().unwrap_or_default().to_owned())
    }
}
