//! The endpoint under test with everything around it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code fails by panicking")]
#![allow(dead_code, reason = "no test file needs all of it")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use bytes::Bytes;
use claude_endpoint::App;
use claude_endpoint::config::{Config, DeskSettings, GithubSettings, Limits, MemorySettings};
use claude_endpoint::desk::Terms;
use claude_endpoint::ledger::Entry;
use claude_endpoint::reviewer::Reviewers;
use claude_endpoint::reviewer::anthropic::Anthropic as Reviewer;
use claude_endpoint::status::Threshold;
use http::{StatusCode, Uri};
use inbox::auth::{Auth, guard};
use serde_json::{Value, json};
use shared::client::SignedClient;
use shared::memory::Update;
use shared::signature::SigningKeys;
use tempfile::TempDir;
use testkit::anthropic::{Anthropic, Reply, Responder};
use testkit::github::GitHub;
use testkit::scenario::{REVIEWER_TOKEN, Scenario};
use testkit::webhook;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const SIGNING_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// For one question.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const API_KEY: &str = "sk-ant-canary-0000000000";

fn keys() -> SigningKeys {
    SigningKeys::parse(&SIGNING_KEY.into()).unwrap()
}

/// GitHub, the model, the memory, and a disk.
pub(crate) struct World {
    pub(crate) github: GitHub,
    pub(crate) anthropic: Anthropic,
    pub(crate) memory: Memory,
    pub(crate) scenario: Scenario,
    data: TempDir,
}

impl World {
    pub(crate) async fn start(responder: Responder) -> Self {
        Self::start_with(responder, Scenario::default()).await
    }

    pub(crate) async fn start_with(responder: Responder, scenario: Scenario) -> Self {
        let github = GitHub::start().await.unwrap();
        scenario.load_into(&github);
        let anthropic = Anthropic::start(responder).await.unwrap();
        Self {
            github,
            anthropic,
            memory: Memory::start().await,
            scenario,
            data: tempfile::tempdir().unwrap(),
        }
    }

    fn ledger_file(&self) -> PathBuf {
        self.data.path().join("ledger.jsonl")
    }

    /// What the program prints beside the running service.
    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_claude-endpoint"));
        let output = command.arg("--data-dir").arg(self.data.path()).args(arguments).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What was asked so far.
    pub(crate) fn ledger(&self) -> Vec<Entry> {
        claude_endpoint::ledger::read(&self.ledger_file()).unwrap().map(Result::unwrap).collect()
    }

    pub(crate) async fn endpoint(&self) -> Endpoint {
        self.endpoint_with(|_| {}).await
    }

    pub(crate) async fn endpoint_with(&self, change: impl FnOnce(&mut Config)) -> Endpoint {
        let reviewer = Reviewer::new(
            self.anthropic.url().parse().unwrap(),
            API_KEY.into(),
            "claude-sonnet-5-5".into(),
            TIMEOUT,
        );
        let mut config = Config {
            queue_url: format!("sqlite://{}", self.data.path().join("queue.db").display()),
            retention: shared::config::RetentionArgs {
                retention_days: 14,
                retention_dead_days: 90,
                retention_size: 1024,
            },
            data_dir: self.data.path().to_owned(),
            keys: keys(),
            rings: Vec::new(),
            github: GithubSettings {
                url: self.github.url(),
                token: Some(REVIEWER_TOKEN.into()),
                pacing: Duration::ZERO,
                status_context: Some("ai-relay".into()),
                ..GithubSettings::default()
            },
            memory: MemorySettings { url: self.memory.url.parse().unwrap(), token: None },
            reviewers: Reviewers::new(vec![Arc::new(reviewer.unwrap().with_cheaper("claude-haiku-5-5"))], ""),
            desk: DeskSettings {
                terms: Terms {
                    timeout: TIMEOUT,
                    prices: claude_endpoint::prices::DEFAULT.parse().unwrap(),
                    ..Terms::default()
                },
                ledger: Some(self.ledger_file()),
                ..DeskSettings::default()
            },
            review: Limits {
                concurrency: 2,
                timeout: TIMEOUT,
                token_budget: 50_000,
                drafts: false,
                most_prompts: 4,
                push_severity: Threshold::Major,
                agent_rounds: 3,
                resolve_fixed: true,
                fail_on: Threshold::Major,
                announced_after: Duration::from_secs(60),
            },
            server: shared::server::Limits::default(),
        };
        change(&mut config);
        let service = App::build(config).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let running = tokio::spawn(service.run(listener, stop.clone()));
        let client =
            SignedClient::new("claude-endpoint", base.parse().unwrap(), keys(), Duration::from_secs(40))
                .unwrap();
        Endpoint { client, stop, running }
    }

    pub(crate) fn opened(&self, id: &str) -> Value {
        self.envelope(id, "opened", &self.scenario)
    }

    pub(crate) fn synchronized(&self, id: &str, scenario: &Scenario) -> Value {
        self.envelope(id, "synchronize", scenario)
    }

    fn envelope(&self, id: &str, action: &str, scenario: &Scenario) -> Value {
        json!({
            "version": 1, "id": id, "event": "pull_request", "action": action, "received_at": "2026-11-22T10:00:00Z",
            "repository": {"full_name": scenario.repository, "private": scenario.private, "default_branch": "main"},
            "sender": {"login": scenario.author, "kind": "user"},
            "subject": {"kind": "pull_request", "number": scenario.number, "head_sha": scenario.head_sha,
                        "base_sha": scenario.base_sha, "title": scenario.title, "author": scenario.author, "draft": scenario.draft},
            "payload": webhook::pull_request(scenario, action),
        })
    }

    /// Reviews a head as it is pushed: the outcome.
    pub(crate) async fn review(&self, endpoint: &Endpoint, id: &str, head: &Scenario) -> Value {
        head.push_to(&self.github);
        endpoint.send(&self.synchronized(id, head)).await;
        endpoint.outcome(id).await
    }

    pub(crate) fn pushed(&self, id: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut envelope = self.opened(id);
        let mut subject = json!({"kind": "push", "ref": "refs/heads/main", "before": self.scenario.before,
                                 "after": self.scenario.head_sha, "commits": 1, "forced": false});
        change(&mut subject);
        envelope["event"] = json!("push");
        envelope["action"] = Value::Null;
        envelope["subject"] = subject;
        envelope["payload"] = webhook::push(&self.scenario);
        envelope
    }

    pub(crate) async fn post_review_as(&self, token: &str, body: &str) {
        let http = shared::client::http(None).unwrap();
        let url = format!("{}/repos/acme/shop/pulls/7/reviews", self.github.url());
        let review = json!({"event": "COMMENT", "body": body});
        let answer = http.post(url).bearer_auth(token).json(&review).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}

/// The running endpoint.
pub(crate) struct Endpoint {
    client: SignedClient,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Endpoint {
    pub(crate) async fn send(&self, envelope: &Value) -> (u16, Value) {
        let id = envelope["id"].as_str().unwrap();
        let answer = self.client.post("/ai-sync", id, Bytes::from(envelope.to_string())).await.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// Follows the feed until the delivery ends.
    pub(crate) async fn outcome(&self, id: &str) -> Value {
        let mut after = 0;
        loop {
            let answer = self.client.get(&format!("/outcomes?after={after}&wait=25"), None).await.unwrap();
            let feed: Value = serde_json::from_slice(&answer.body).unwrap();
            let outcomes = feed["outcomes"].as_array().unwrap();
            if let Some(outcome) = outcomes.iter().find(|outcome| outcome["delivery"] == id) {
                return outcome.clone();
            }
            assert!(!outcomes.is_empty(), "{id} did not end in time");
            after = feed["next"].as_u64().unwrap();
        }
    }

    pub(crate) async fn outcomes(&self) -> Value {
        let answer = self.client.get("/outcomes?after=0", None).await.unwrap();
        serde_json::from_slice::<Value>(&answer.body).unwrap()["outcomes"].clone()
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(path, None).await.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    pub(crate) async fn post(&self, path: &str) -> (u16, Value) {
        let answer = self.client.post(path, "id", Bytes::new()).await.unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    pub(crate) async fn health(&self) -> Value {
        serde_json::from_slice(&self.client.get("/health", None).await.unwrap().body).unwrap()
    }

    pub(crate) async fn health_until(&self, condition: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1_000 {
            let health = self.health().await;
            if condition(&health) {
                return health;
            }
            tokio::task::yield_now().await;
        }
        panic!("health never came to that: {}", self.health().await);
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

/// A memory that knows one thing and takes updates, signed requests only.
#[derive(Clone)]
pub(crate) struct Memory {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    updates: Mutex<Vec<Update>>,
    searches: Mutex<Vec<String>>,
    failures: AtomicUsize,
    /// The status of every answer to an update, if it is refused.
    refusal: Mutex<Option<StatusCode>>,
    /// What else it knows of a repository, and how far that is trusted.
    known: Mutex<Vec<(String, String, &'static str)>>,
}

impl Memory {
    async fn start() -> Self {
        let inner = Arc::<Inner>::default();
        let routes = Router::new()
            .route("/memory/search", get(search))
            .route("/memory/briefing", get(briefing))
            .route("/memory-update", post(update))
            .layer(middleware::from_fn_with_state(Auth::signed("ollama-endpoint", keys()), guard))
            .with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(shared::server::serve(
            listener,
            routes,
            shared::server::Limits::default(),
            CancellationToken::new(),
        ));
        Self { url, inner }
    }

    pub(crate) fn fail_next(&self, requests: usize) {
        self.inner.failures.store(requests, Ordering::SeqCst);
    }

    pub(crate) fn refuse_updates(&self, status: Option<StatusCode>) {
        *self.inner.refusal.lock().unwrap() = status;
    }

    /// Makes it know `text` of a repository.
    pub(crate) fn know(&self, repository: &str, text: &str, trust: &'static str) {
        self.inner.known.lock().unwrap().push((repository.to_owned(), text.to_owned(), trust));
    }

    /// Waits until so many updates have arrived.
    pub(crate) async fn updated(&self, count: usize) {
        let arrived = async {
            while self.updates().len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), arrived).await.unwrap();
    }

    pub(crate) fn updates(&self) -> Vec<Update> {
        self.inner.updates.lock().unwrap().clone()
    }

    /// Decoded queries.
    pub(crate) fn searches(&self) -> Vec<String> {
        self.inner.searches.lock().unwrap().clone()
    }
}

impl Inner {
    fn fails(&self) -> bool {
        self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

async fn search(State(inner): State<Arc<Inner>>, uri: Uri) -> Response {
    if inner.fails() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    inner.searches.lock().unwrap().push(format!("{query:?}"));
    let hit = |id: &str, text: &str, source: Value| {
        json!({"id": id, "text": text, "kind": "convention", "repository": "acme/shop", "score": 1.0, "lexical_rank": 1,
               "vector_rank": null, "source": source, "created_at": "2026-11-01T00:00:00Z"})
    };
    let mut results = vec![
        hit("m1", "Money is in cents", json!({})),
        hit("m2", "Told by this very event", json!({"delivery": "d1"})),
    ];
    for (repository, text, trust) in inner.known.lock().unwrap().iter() {
        if query.iter().any(|(name, value)| name == "repository" && value == repository) {
            results.push(hit("m3", text, json!({"trust": trust})));
        }
    }
    Json(json!({"mode": "lexical", "results": results})).into_response()
}

/// What a search finds, as lines.
async fn briefing(State(inner): State<Arc<Inner>>, uri: Uri) -> Response {
    let found = search(State(inner), uri).await;
    if !found.status().is_success() {
        return found;
    }
    let body = axum::body::to_bytes(found.into_body(), usize::MAX).await.unwrap();
    let found: Value = serde_json::from_slice(&body).unwrap();
    let lines = found["results"].as_array().unwrap().iter().map(|hit| {
        json!({"id": hit["id"], "line": hit["text"], "about": "convention, 2026-11-01", "text": hit["text"], "source": hit["source"]})
    });
    let lines: Vec<Value> = lines.collect();
    Json(json!({"mode": "lexical", "text": "", "tokens": 0, "budget": 0, "lines": lines, "left_out": 0}))
        .into_response()
}

async fn update(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    if inner.fails() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(status) = *inner.refusal.lock().unwrap() {
        return (status, Json(json!({"error": {"code": "x", "message": "it is not wanted"}})))
            .into_response();
    }
    inner.updates.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    (StatusCode::ACCEPTED, Json(json!({"status": "accepted", "id": "x"}))).into_response()
}

pub(crate) fn finding(path: &str, line: u32, end_line: u32, quote: &str, severity: &str) -> Value {
    json!({"path": path, "line": line, "end_line": end_line, "side": "RIGHT", "quote": quote, "severity": severity,
           "category": "bug", "title": format!("About {path}"), "body": "It fails.", "suggestion": null})
}

pub(crate) fn reply(findings: Vec<Value>) -> Reply {
    Reply::review(json!({"summary": "Adds a search.", "verdict": "request_changes", "findings": findings,
                         "remember": ["Money is in cents", "Searches are paged"]}))
}
