//! The whole service over HTTP, with testkit's Ollama behind it.

use std::time::Duration;

use serde_json::{Value, json};
use shared::client::SignedClient;
use testkit::control::post;
use testkit::ollama::{Model, Ollama as StandIn};

use super::*;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOKEN: &str = "a-token-for-the-tests";

struct Running {
    base: String,
    directory: tempfile::TempDir,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    ollama: StandIn,
}

fn keys() -> SigningKeys {
    SigningKeys::parse(&KEY.into()).unwrap()
}

fn config(directory: &tempfile::TempDir, ollama: &StandIn) -> Config {
    let minute = Duration::from_secs(60);
    Config {
        data_dir: directory.path().to_owned(),
        queue_url: format!("sqlite://{}", directory.path().join("queue.db").display()),
        keys: keys(),
        token: Some(TOKEN.into()),
        ollama_url: ollama.url().parse().unwrap(),
        chat_model: "llama3.2".into(),
        embed_model: "nomic-embed-text".into(),
        proxy: proxy::Limits { concurrency: 4, waiting: 4, wait: minute, idle: minute, admin: false },
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
async fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    let (directory, ollama) = (tempfile::tempdir().unwrap(), StandIn::start().await.unwrap());
    let mut config = config(&directory, &ollama);
    change(&mut config);
    started(directory, ollama, config).await
}

async fn start() -> Running {
    start_with(|_| {}).await
}

impl Running {
    fn signed(&self) -> SignedClient {
        SignedClient::new(self.base.parse().unwrap(), keys(), Duration::from_secs(30)).unwrap()
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let http = shared::client::http(Some(Duration::from_secs(30))).unwrap();
        http.request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.request(method, path).bearer_auth(TOKEN);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    /// The outcome after position `after`; waits for it.
    async fn outcome(&self, after: u64) -> Value {
        let answer = self.signed().get(&format!("/outcomes?after={after}&wait=25"), None).await.unwrap();
        let feed: Value = serde_json::from_slice(&answer.body).unwrap();
        feed["outcomes"][0].clone()
    }

    async fn restarted(self) -> Running {
        self.stop.cancel();
        self.task.await.unwrap();
        let config = config(&self.directory, &self.ollama);
        started(self.directory, self.ollama, config).await
    }

    async fn health(&self) -> Value {
        self.request("GET", "/health").send().await.unwrap().json().await.unwrap()
    }

    /// Waits until `count` memories have a vector.
    async fn embedded(&self, count: u64) {
        let look = async || {
            while self.ask("GET", "/memory/stats", None).await.1["vectors"]["with"] != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), look()).await.expect("the vectors do not come");
    }
}

fn update(context: &str) -> Option<Value> {
    Some(json!({"repository": "o/r", "context": context, "agent": "jules"}))
}

fn envelope(id: &str, event: &str, payload: &Value) -> bytes::Bytes {
    let envelope = json!({
        "version": 1, "id": id, "event": event, "action": "opened", "received_at": "2026-11-22T10:00:00Z",
        "repository": {"full_name": "o/r", "private": true, "default_branch": "main"},
        "sender": {"login": "ann", "kind": "user"}, "subject": {"kind": "other"}, "payload": payload,
    });
    envelope.to_string().into()
}

#[tokio::test]
async fn an_update_is_found_forgotten_and_counted() {
    let service = start().await;
    let (status, accepted) =
        service.ask("POST", "/memory-update", update("Retries are capped at five")).await;
    assert_eq!((status, accepted["status"].as_str()), (202, Some("accepted")));
    let outcome = service.outcome(0).await;
    assert_eq!(
        (outcome["delivery"].clone(), outcome["state"].as_str()),
        (accepted["id"].clone(), Some("completed"))
    );
    assert_eq!(outcome["summary"], "1 memory stored");

    let (status, again) = service.ask("POST", "/memory-update", update("Retries are capped at five")).await;
    assert_eq!((status, again["status"].as_str()), (200, Some("duplicate")));

    let (_, found) = service.ask("GET", "/memory/search?repository=o/r&q=how%20many%20retries", None).await;
    let hit = &found["results"][0];
    assert_eq!(
        (hit["text"].as_str(), hit["source"]["agent"].as_str()),
        (Some("Retries are capped at five"), Some("jules"))
    );
    let path = format!("/memory/{}", hit["id"].as_str().unwrap());
    let (status, memory) = service.ask("GET", &path, None).await;
    assert_eq!((status, memory["text"].clone()), (200, hit["text"].clone()));

    assert_eq!(service.ask("DELETE", &path, None).await.0, 204);
    for method in ["GET", "DELETE"] {
        let (status, error) = service.ask(method, &path, None).await;
        assert_eq!((status, error["error"]["code"].as_str()), (404, Some("not_found")));
    }
    let (_, stats) = service.ask("GET", "/memory/stats", None).await;
    assert_eq!((stats["records"].as_u64(), stats["memories"].as_u64()), (Some(1), Some(0)));
    assert_eq!(
        (stats["vectors"]["model"].as_str(), stats["ollama"]["state"].as_str()),
        (Some("nomic-embed-text"), Some("up"))
    );
}

#[tokio::test]
async fn an_envelope_becomes_a_memory_and_survives_a_restart() {
    let service = start().await;
    let client = service.signed();
    let body = envelope(
        "d1",
        "issues",
        &json!({"issue": {"number": 5, "title": "Leak in the pool", "body": "Grows."}}),
    );
    assert_eq!(client.post("/memory-update", "d1", body.clone()).await.unwrap().status, 202);
    assert_eq!(service.outcome(0).await["state"], "completed");
    assert_eq!(client.post("/memory-update", "d1", body).await.unwrap().status, 200);
    let star = envelope("d2", "star", &json!({}));
    assert_eq!(client.post("/memory-update", "d2", star).await.unwrap().status, 202);
    let outcome = service.outcome(1).await;
    assert_eq!((outcome["state"].as_str(), outcome["delivery"].as_str()), (Some("skipped"), Some("d2")));
    assert!(outcome["summary"].as_str().unwrap().contains("no text"), "{outcome}");

    let service = service.restarted().await;
    let (_, found) = service.ask("GET", "/memory/search?q=leak&kind=discussion", None).await;
    assert_eq!(found["results"][0]["source"]["delivery"], "d1");
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn only_known_callers_pass() {
    let service = start().await;
    for (method, path) in [
        ("POST", "/memory-update"),
        ("GET", "/memory/search?q=x"),
        ("GET", "/memory/x"),
        ("DELETE", "/memory/x"),
        ("GET", "/memory/stats"),
        ("GET", "/outcomes"),
        ("GET", "/metrics"),
        ("GET", "/readyz"),
        ("POST", "/api/chat"),
        ("GET", "/v1/models"),
    ] {
        for token in ["", "wrong"] {
            let answer = service.request(method, path).bearer_auth(token).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{method} {path}");
            assert!(answer.text().await.unwrap().contains("MEMORY_TOKEN"));
        }
    }
    for path in ["/livez", "/health"] {
        assert_eq!(service.request("GET", path).send().await.unwrap().status(), 200);
    }
    assert_eq!(service.ask("GET", "/readyz", None).await.0, 200);
    let by_bearer = service.request("POST", "/memory-update").bearer_auth(TOKEN).body(envelope(
        "d1",
        "issues",
        &json!({}),
    ));
    assert_eq!(by_bearer.send().await.unwrap().status(), 401, "an envelope must be signed");
    assert_eq!(service.signed().get("/memory/search?q=x", None).await.unwrap().status, 200);
    assert_eq!(service.signed().get("/health", None).await.unwrap().status, 200, "and its answer is signed");
}

#[tokio::test]
async fn without_a_token_the_refusal_says_what_to_set() {
    let service = start_with(|config| config.token = None).await;
    let (status, error) = service.ask("GET", "/memory/stats", None).await;
    assert_eq!(status, 401);
    assert!(error["error"]["message"].as_str().unwrap().contains("set MEMORY_TOKEN"), "{error}");
}

#[tokio::test]
async fn bad_input_is_refused_with_the_reason() {
    let service = start().await;
    let refused = async |body: &str| {
        let answer = service
            .request("POST", "/memory-update")
            .bearer_auth(TOKEN)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(refused("{").await.0, 400);
    assert_eq!(refused("[]").await.0, 400);
    let (status, text) = refused(r#"{"repository":"o/r"}"#).await;
    assert!(status == 400 && text.contains("`context`"), "{text}");
    assert_eq!(
        refused(&format!(r#"{{"repository":"o/r","context":"{}"}}"#, "x".repeat(256 * 1024))).await.0,
        413
    );
    let (status, error) = service.ask("GET", "/memory/search?q=x&limit=51", None).await;
    assert_eq!((status, error["error"]["code"].as_str()), (400, Some("invalid_query")));
    assert_eq!(service.ask("GET", "/nothing", None).await.0, 404);
    let large = json!({"repository": "o/r", "context": "x".repeat(256 * 1024)}).to_string();
    assert_eq!(service.signed().post("/memory-update", "u", large.into()).await.unwrap().status, 413);
}

const CHAT: &str = r#"{"model":"llama3.2","messages":[{"role":"user","content":"hi"}],"stream":false}"#;

#[tokio::test]
async fn the_proxy_takes_a_token_or_a_signature_or_anybody_if_told() {
    let service = start().await;
    let chat: Value = serde_json::from_str(CHAT).unwrap();
    let (status, answer) = service.ask("POST", "/api/chat", Some(chat)).await;
    assert_eq!((status, answer["done"].as_bool()), (200, Some(true)), "{answer}");
    assert_eq!(service.ask("POST", "/api/pull", Some(json!({}))).await.0, 403);
    let signed = keys().sign("p1", jiff::Timestamp::now().as_second(), CHAT.as_bytes());
    let request = service
        .request("POST", "/api/chat")
        .header("webhook-id", signed.id)
        .header("webhook-timestamp", signed.timestamp)
        .header("webhook-signature", signed.signature)
        .header("content-type", "application/json");
    assert_eq!(request.body(CHAT).send().await.unwrap().status(), 200);

    let service = start_with(|config| config.proxy_auth = ProxyAuth::None).await;
    assert_eq!(service.request("POST", "/api/chat").body(CHAT).send().await.unwrap().status(), 200);
    assert_eq!(service.request("GET", "/memory/stats").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn health_names_what_is_missing_and_how_to_get_it() {
    let service = start().await;
    assert_eq!(service.health().await["status"], "pass");

    let service = start_with(|config| config.chat_model = "qwen3".into()).await;
    let health = service.health().await;
    assert_eq!(health["status"], "warn");
    assert!(
        health["checks"]["ollama:chat-model"][0]["output"].as_str().unwrap().contains("ollama pull qwen3")
    );
    assert_eq!(health["checks"]["ollama:embed-model"][0]["status"], "pass");

    let service = start().await;
    service.ollama.stop().await;
    let health = service.health().await;
    let statuses = [&health["status"], &health["checks"]["memory"][0]["status"]];
    assert_eq!(statuses, ["warn", "pass"]);
    assert!(health["checks"]["ollama"][0]["output"].as_str().unwrap().contains("ollama serve"));
}

#[tokio::test]
async fn what_was_said_while_ollama_was_away_gets_its_vector_when_it_is_back() {
    let service = start().await;
    service.ollama.stop().await;
    assert_eq!(service.ask("POST", "/memory-update", update("Deploys happen on Tuesdays")).await.0, 202);
    service.outcome(0).await;
    let (_, found) = service.ask("GET", "/memory/search?q=deploys", None).await;
    assert_eq!((found["mode"].as_str(), found["results"].as_array().unwrap().len()), (Some("lexical"), 1));
    assert_eq!(service.ask("GET", "/api/tags", None).await.0, 503);
    service.ollama.start_again().await.unwrap();
    service.embedded(1).await;
    let (_, found) = service.ask("GET", "/memory/search?q=deploys", None).await;
    assert_eq!(
        (found["mode"].as_str(), found["results"][0]["vector_rank"].as_u64()),
        (Some("hybrid"), Some(1))
    );
    let embedded = service.ollama.requests().into_iter().filter(|(path, _)| path == "/api/embed");
    let inputs: Vec<Value> = embedded.map(|(_, body)| body["input"][0].clone()).collect();
    assert_eq!(inputs, ["search_document: Deploys happen on Tuesdays", "search_query: deploys"]);
}

#[tokio::test]
async fn a_poisonous_text_and_a_missing_model_hold_up_nothing_else() {
    let service = start().await;
    service.ollama.set_models(vec![Model::llama3_2()]);
    service.ollama.poison("unspeakable");
    for (after, text) in
        ["One plain fact", "An unspeakable one", "Another plain fact"].into_iter().enumerate()
    {
        assert_eq!(service.ask("POST", "/memory-update", update(text)).await.0, 202);
        service.outcome(after as u64).await;
    }
    let health = service.health().await;
    let output = health["checks"]["ollama:embed-model"][0]["output"].as_str().unwrap();
    assert!(output.contains("ollama pull nomic-embed-text"), "{output}");
    service.ollama.set_models(vec![Model::nomic_embed_text()]);
    service.embedded(2).await;
    let (_, stats) = service.ask("GET", "/memory/stats", None).await;
    assert_eq!(
        (stats["vectors"]["rejected"].as_u64(), stats["vectors"]["waiting"].as_u64()),
        (Some(1), Some(0))
    );
    let (_, found) = service.ask("GET", "/memory/search?q=unspeakable", None).await;
    assert!(
        found["results"][0]["text"].as_str().unwrap().contains("unspeakable"),
        "words find it all the same"
    );
}

#[tokio::test]
async fn a_search_does_not_wait_for_a_cold_model() {
    let service = start().await;
    service.ask("POST", "/memory-update", update("Deploys happen on Tuesdays")).await;
    service.embedded(1).await;
    let loading = service.ollama.gate(post("/api/embed"));
    let (_, found) = service.ask("GET", "/memory/search?q=deploys", None).await;
    assert_eq!((found["mode"].as_str(), found["results"].as_array().unwrap().len()), (Some("lexical"), 1));
    loading.release();
}
