//! What the journeys share: a world of stand-ins, and the services in it, in this process or as binaries.

use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use testkit::{
    anthropic::Anthropic,
    github::GitHub,
    ollama::Ollama,
    scenario::{REVIEWER_TOKEN, Scenario},
    webhook::{self, Delivery},
};
use tokio::time::{Instant, sleep};

pub mod binaries;
pub mod in_process;
pub mod tools;

pub const WEBHOOK_SECRET: &str = "a-webhook-secret-for-the-journey";
pub const SIGNING_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const ADMIN_TOKEN: &str = "an-admin-token-for-the-journey";
pub const MEMORY_TOKEN: &str = "a-memory-token-for-the-journey";

/// How long a condition may take to come true. Generous: it is only waited for in full when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything outside the three services.
pub struct World {
    pub github: GitHub,
    pub anthropic: Anthropic,
    pub ollama: Ollama,
    pub folder: tempfile::TempDir,
    pub http: Client,
}

impl World {
    /// Running stand-ins that know `scenario`'s pull request.
    pub async fn start(scenario: &Scenario) -> Self {
        let world = Self {
            github: GitHub::start().await.unwrap(),
            anthropic: Anthropic::start(testkit::anthropic::reviewer()).await.unwrap(),
            ollama: Ollama::start().await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
            http: shared::client::http(Some(Duration::from_secs(10))).unwrap(),
        };
        scenario.load_into(&world.github);
        world
    }

    /// A folder of its own for one service.
    pub fn data(&self, service: &str) -> String {
        self.folder.path().join(service).display().to_string()
    }

    /// The claude-endpoint's flags: everything real, towards the stand-ins.
    pub fn claude_flags(&self, memory_url: &str) -> Vec<String> {
        let fixed = [
            "--relay-signing-key",
            SIGNING_KEY,
            "--github-token",
            REVIEWER_TOKEN,
            "--github-pacing-ms",
            "0",
            "--reviewer",
            "anthropic",
            "--anthropic-api-key",
            "sk-ant-testkit-0000000000000000",
        ];
        let urls = [
            ("--data-dir", self.data("claude-endpoint")),
            ("--github-api-url", self.github.url()),
            ("--anthropic-base-url", self.anthropic.url()),
            ("--memory-url", memory_url.to_owned()),
        ];
        fixed
            .map(str::to_owned)
            .into_iter()
            .chain(urls.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]))
            .collect()
    }

    /// The ollama-endpoint's flags.
    pub fn ollama_flags(&self) -> Vec<String> {
        let data = self.data("ollama-endpoint");
        let url = self.ollama.url();
        [
            "--relay-signing-key",
            SIGNING_KEY,
            "--memory-token",
            MEMORY_TOKEN,
            "--data-dir",
            &data,
            "--ollama-url",
            &url,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// The relay's flags.
    pub fn relay_flags(&self, claude_url: &str, ollama_url: &str) -> Vec<String> {
        let data = self.data("relay");
        [
            "--github-webhook-secret",
            WEBHOOK_SECRET,
            "--relay-signing-key",
            SIGNING_KEY,
            "--relay-admin-token",
            ADMIN_TOKEN,
            "--listen",
            "127.0.0.1",
            "--metrics-listen",
            "127.0.0.1:0",
            "--data-dir",
            &data,
            "--claude-endpoint",
            claude_url,
            "--ollama-endpoint",
            ollama_url,
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// The URLs of running services, and what a test asks of them.
#[derive(Debug, Clone)]
pub struct Site {
    pub relay: String,
    pub memory: String,
    pub http: Client,
}

impl Site {
    /// Sends a webhook; the answer's status.
    pub async fn send(&self, delivery: &Delivery) -> u16 {
        delivery.send(&format!("{}/github-webhook", self.relay), WEBHOOK_SECRET).await.unwrap().status
    }

    /// A delivery as the relay shows it.
    pub async fn delivery(&self, id: &str) -> Option<Value> {
        let request = self.http.get(format!("{}/api/deliveries/{id}", self.relay)).bearer_auth(ADMIN_TOKEN);
        request.send().await.ok()?.json().await.ok()
    }

    /// The state of one target of a delivery.
    pub async fn state(&self, id: &str, target: &str) -> Option<String> {
        let delivery = self.delivery(id).await?;
        let targets = delivery["targets"].as_array()?;
        let found = targets.iter().find(|one| one["target"] == target)?;
        Some(found["state"].as_str()?.to_owned())
    }

    /// Waits until a target of a delivery has come to `state`.
    pub async fn until(&self, id: &str, target: &str, state: &str) {
        let reached = until(async || self.state(id, target).await.as_deref() == Some(state)).await;
        assert!(reached, "{id} did not become {state} at {target}: {:#?}", self.delivery(id).await);
    }

    /// The texts that a search of the memory finds.
    pub async fn search(&self, repository: &str, query: &str) -> Vec<Value> {
        let request = self.http.get(format!("{}/memory/search", self.memory)).bearer_auth(MEMORY_TOKEN);
        let answer =
            request.query(&[("repository", repository), ("q", query), ("limit", "50")]).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let found: Value = answer.json().await.unwrap();
        found["results"].as_array().unwrap().clone()
    }
}

/// Waits for a condition; `false` if it does not come true.
pub async fn until(mut condition: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
    true
}

/// A `pull_request` webhook of a scenario.
pub fn pull_request(id: &str, scenario: &Scenario, action: &str) -> Delivery {
    Delivery::new(id, "pull_request", &webhook::pull_request(scenario, action))
}
