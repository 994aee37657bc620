//! The service as the tests run it: on a port of its own, with testkit's Ollama behind it.

use std::time::Duration;

use serde_json::Value;
use shared::client::SignedClient;
use testkit::ollama::Ollama as StandIn;

use crate::*;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const TOKEN: &str = "a-token-for-the-tests";

pub(super) struct Running {
    base: String,
    directory: tempfile::TempDir,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    pub(super) ollama: StandIn,
}

pub(super) fn keys() -> SigningKeys {
    SigningKeys::parse(&KEY.into()).unwrap()
}

fn config(directory: &tempfile::TempDir, ollama: &StandIn) -> Config {
    let minute = Duration::from_secs(60);
    Config {
        data_dir: directory.path().to_owned(),
        queue_url: format!("sqlite://{}", directory.path().join("queue.db").display()),
        most_open: inbox::MOST_OPEN,
        retention: shared::config::RetentionArgs {
            retention_days: 14,
            retention_dead_days: 90,
            retention_size: 1024,
        },
        keys: keys(),
        token: Some(shared::signature::Tokens::parse(&TOKEN.into()).unwrap()),
        rings: Vec::new(),
        mcp_allowed_hosts: Vec::new(),
        ollama_url: ollama.url().parse().unwrap(),
        chat_model: "llama3.2".into(),
        embed_model: "nomic-embed-text".into(),
        refine: config::Refine::Off,
        memory_retention: memory::Retention { junk: None, memories: None },
        proxy: proxy::Limits {
            concurrency: 4,
            waiting: 4,
            wait: minute,
            idle: minute,
            admin: false,
            memory_tokens: 1000,
        },
        proxy_auth: ProxyAuth::Required,
        server: Default::default(),
    }
}

async fn started(directory: tempfile::TempDir, ollama: StandIn, config: Config) -> Running {
    let app = App::build(config).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn(app.run(listener, stop.clone()));
    Running { base, directory, stop, task, ollama }
}

/// The service as `change` configures it.
pub(super) async fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    let (directory, ollama) = (tempfile::tempdir().unwrap(), StandIn::start().await.unwrap());
    let mut config = config(&directory, &ollama);
    change(&mut config);
    started(directory, ollama, config).await
}

pub(super) async fn start() -> Running {
    start_with(|_| {}).await
}

impl Running {
    pub(super) fn signed(&self) -> SignedClient {
        SignedClient::new("ollama-endpoint", self.base.parse().unwrap(), keys(), Duration::from_secs(30))
            .unwrap()
    }

    pub(super) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let http = shared::client::http(Some(Duration::from_secs(30))).unwrap();
        http.request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.request(method, path).bearer_auth(TOKEN);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    /// The outcome after position `after`; waits for it.
    pub(super) async fn outcome(&self, after: u64) -> Value {
        let answer = self.signed().get(&format!("/outcomes?after={after}&wait=25"), None).await.unwrap();
        let feed: Value = serde_json::from_slice(&answer.body).unwrap();
        feed["outcomes"][0].clone()
    }

    pub(super) async fn restarted(self) -> Running {
        self.stop.cancel();
        self.task.await.unwrap();
        let config = config(&self.directory, &self.ollama);
        started(self.directory, self.ollama, config).await
    }

    pub(super) async fn health(&self) -> Value {
        self.request("GET", "/health").send().await.unwrap().json().await.unwrap()
    }

    /// Waits until `count` memories have a vector.
    pub(super) async fn embedded(&self, count: u64) {
        until(async || self.ask("GET", "/memory/stats", None).await.1["vectors"]["with"] == count).await;
    }
}

/// Looks again and again whether `happened`.
pub(super) async fn until(happened: impl AsyncFn() -> bool) {
    let look = async {
        while !happened().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), look).await.expect("it does not happen");
}
