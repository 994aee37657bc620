//! The answers of `POST /github-webhook` and of the admin routes, as the contract's tables list them, over HTTP.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's exemption for tests does not reach their helper functions"
)]

use std::ffi::OsString;

use relay::{Relay, config};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use shared::signature::GithubSecrets;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

#[path = "contract/limits.rs"]
mod limits;

const SECRET: &str = "a-webhook-secret-for-tests";
const TOKEN: &str = "an-admin-token-for-tests";

struct Running {
    url: String,
    queue: queue::Queue,
    http: Client,
    _folder: tempfile::TempDir,
}

/// A relay whose targets do not exist.
async fn start(extra: &[&str]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let fixed = [
        "relay",
        "--data-dir",
        &data,
        "--metrics-listen",
        "127.0.0.1:0",
        "--github-webhook-secret",
        SECRET,
        "--relay-signing-key",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "--claude-endpoint",
        "http://127.0.0.1:9",
        "--ollama-endpoint",
        "http://127.0.0.1:9",
    ];
    let loaded = config::load(fixed.iter().chain(extra).map(OsString::from)).unwrap();
    let relay = Relay::build(config::Config::new(loaded.cli.args, &loaded.tables).unwrap()).await.unwrap();
    let queue = relay.app().queue.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(relay.run(listener, CancellationToken::new()));
    Running { url, queue, http: shared::client::http(None).unwrap(), _folder: folder }
}

impl Running {
    fn webhook(&self, event: &str, id: &str, body: &[u8]) -> RequestBuilder {
        let secrets = GithubSecrets::parse(&SECRET.into()).unwrap();
        self.http
            .post(format!("{}/github-webhook", self.url))
            .header("x-github-event", event)
            .header("x-github-delivery", id)
            .header("x-hub-signature-256", secrets.sign(body))
            .header("content-type", "application/json")
            .body(body.to_vec())
    }

    fn admin(&self, method: &str, path: &str) -> RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{}{path}", self.url)).bearer_auth(TOKEN)
    }
}

fn pull_request(number: u64) -> Vec<u8> {
    json!({"action": "opened", "number": number, "repository": {"full_name": "o/r", "private": false, "default_branch": "main"},
        "pull_request": {"number": number, "title": "Fix", "user": {"login": "ann"}, "head": {"sha": "h"}, "base": {"sha": "b"}}})
    .to_string()
    .into_bytes()
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response: Response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

async fn error(request: RequestBuilder) -> (u16, String) {
    let (status, body) = answer(request).await;
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{status} {body}");
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_event_is_accepted_once() {
    let relay = start(&[]).await;
    let first = answer(relay.webhook("pull_request", "d1", &pull_request(1))).await;
    assert_eq!(
        first,
        (202, json!({"status": "accepted", "delivery": "d1", "targets": ["claude", "ollama"]}))
    );
    let again = answer(relay.webhook("pull_request", "d1", &pull_request(1))).await;
    assert_eq!(again, (200, json!({"status": "duplicate", "delivery": "d1"})));
    let replay = answer(relay.webhook("pull_request", "d2", &pull_request(1))).await;
    assert_eq!(
        replay,
        (200, json!({"status": "duplicate", "delivery": "d1"})),
        "the id header is not signed"
    );
    assert_eq!(answer(relay.webhook("pull_request", "d3", &pull_request(2))).await.0, 202);
}

#[tokio::test]
async fn a_replay_window_of_zero_turns_that_defence_off() {
    let relay = start(&["--dedup-body-window", "0"]).await;
    for id in ["d1", "d2"] {
        assert_eq!(answer(relay.webhook("pull_request", id, &pull_request(1))).await.0, 202);
    }
}

#[tokio::test]
async fn a_redelivery_of_a_dead_one_revives_it() {
    let relay = start(&[]).await;
    answer(relay.webhook("issues", "d1", b"{}")).await;
    relay.queue.record("d1", "ollama", 0, queue::Finish::new("failed", "why")).await.unwrap();
    assert_eq!(answer(relay.webhook("issues", "d1", b"{}")).await.0, 202);
}

#[tokio::test]
async fn ping_is_answered_and_the_unwanted_is_recorded() {
    let relay = start(&["--relay-admin-token", TOKEN]).await;
    let pong = answer(relay.webhook("ping", "d1", br#"{"zen":"Keep it logically awesome."}"#)).await;
    assert_eq!(pong, (200, json!({"status": "pong", "zen": "Keep it logically awesome."})));
    let (status, ignored) = answer(relay.webhook("star", "d2", br#"{"action":"created"}"#)).await;
    assert_eq!(
        (status, &ignored["status"], &ignored["reason"]),
        (200, &json!("ignored"), &json!("star.created: nothing to remember"))
    );
    let (_, listed) = answer(relay.admin("GET", "/api/deliveries?state=ignored")).await;
    assert_eq!(
        (&listed["deliveries"][0]["id"], &listed["deliveries"][0]["targets"]),
        (&json!("d2"), &json!([]))
    );
    let (status, unknown) =
        answer(relay.webhook("an_event_of_next_year", "d3", br#"{"action":["odd"]}"#)).await;
    assert_eq!((status, &unknown["targets"]), (202, &json!(["ollama"])));
}

#[tokio::test]
async fn only_a_sha256_signature_over_these_bytes_counts() {
    let relay = start(&[]).await;
    let body = pull_request(1);
    let bare = || {
        relay
            .http
            .post(format!("{}/github-webhook", relay.url))
            .header("content-type", "application/json")
            .body(body.clone())
    };
    assert_eq!(error(bare()).await, (401, "unauthorized".into()));
    assert_eq!(
        error(bare().header("x-hub-signature", "sha1=0123456789012345678901234567890123456789")).await.0,
        401
    );
    for wrong in ["sha256=00", "sha256=", "nonsense", &format!("sha256={}", "0".repeat(64))] {
        assert_eq!(error(bare().header("x-hub-signature-256", wrong)).await.0, 401, "{wrong}");
    }
    let tampered = relay.webhook("pull_request", "d1", &body).body(pull_request(2));
    assert_eq!(error(tampered).await.0, 401);
    assert!(relay.queue.find("d1").await.unwrap().is_none());
}

#[tokio::test]
async fn a_form_is_taken_and_its_signature_covers_the_form() {
    let relay = start(&[]).await;
    let json = String::from_utf8(pull_request(1)).unwrap();
    let form: String = form_urlencoded::Serializer::new(String::new()).append_pair("payload", &json).finish();
    let request = |body: &str| {
        let (client, mut request) = relay.webhook("pull_request", "d1", body.as_bytes()).build_split();
        request
            .as_mut()
            .unwrap()
            .headers_mut()
            .insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        RequestBuilder::from_parts(client, request.unwrap())
    };
    assert_eq!(error(request("nothing=here")).await, (400, "invalid_payload".into()));
    assert_eq!(answer(request(&form)).await.0, 202);
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let relay = start(&[]).await;
    assert_eq!(error(relay.webhook("push", "d1", b"{\"a\":")).await, (400, "invalid_payload".into()));
    assert_eq!(error(relay.webhook("push", "", b"{}")).await, (400, "missing_header".into()));
    assert_eq!(error(relay.webhook("pu sh", "d1", b"{}")).await, (400, "missing_header".into()));
    let text = relay
        .http
        .post(format!("{}/github-webhook", relay.url))
        .header("content-type", "text/plain")
        .body("{}");
    assert_eq!(error(text).await, (415, "unsupported_content_type".into()));
    assert_eq!(error(relay.http.get(format!("{}/nowhere", relay.url))).await.0, 404);
    assert_eq!(error(relay.http.get(format!("{}/github-webhook", relay.url))).await.0, 405);
}

#[tokio::test]
async fn a_body_has_a_size() {
    let relay = start(&[]).await;
    let largest = relay::receive::LARGEST_WEBHOOK;
    let padded = |length: usize| [br#"{"a":""#.to_vec(), vec![b'x'; length - 8], br#""}"#.to_vec()].concat();
    assert_eq!(answer(relay.webhook("issues", "d1", &padded(largest))).await.0, 202);
    assert_eq!(
        error(relay.webhook("issues", "d2", &padded(largest + 1))).await,
        (413, "body_too_large".into())
    );
    assert!(relay.queue.find("d2").await.unwrap().is_none());
}

#[tokio::test]
async fn a_body_has_a_time() {
    let relay = start(&["--body-timeout", "1"]).await;
    let mut stalled = TcpStream::connect(relay.url.trim_start_matches("http://")).await.unwrap();
    let head = "POST /github-webhook HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-github-event: push\r\n\
                x-github-delivery: d1\r\nx-hub-signature-256: sha256=00\r\ncontent-length: 100\r\n\r\n{";
    stalled.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stalled.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    assert_eq!(answer_ok(&relay).await, 202, "others are served");
}

#[tokio::test]
async fn announcing_large_bodies_costs_others_nothing() {
    let relay = start(&["--max-body-memory", "32"]).await;
    let mut idle = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(relay.url.trim_start_matches("http://")).await.unwrap();
        let head = "POST /github-webhook HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-github-event: push\r\n\
                    x-github-delivery: d1\r\nx-hub-signature-256: sha256=00\r\ncontent-length: 26214400\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        idle.push(stream);
    }
    assert_eq!(answer_ok(&relay).await, 202);
}

async fn answer_ok(relay: &Running) -> u16 {
    answer(relay.webhook("pull_request", "d9", &pull_request(9))).await.0
}

#[tokio::test]
async fn a_full_backlog_is_said_and_nothing_is_half_stored() {
    let relay = start(&["--max-backlog", "2"]).await;
    assert_eq!(answer(relay.webhook("pull_request", "d1", &pull_request(1))).await.0, 202);
    let full = relay.webhook("pull_request", "d2", &pull_request(2)).send().await.unwrap();
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(full.headers().contains_key("retry-after"));
    assert_eq!(full.json::<Value>().await.unwrap()["error"]["code"], "backlog_full");
    assert!(relay.queue.find("d2").await.unwrap().is_none());
}

#[tokio::test]
async fn health_tells_of_a_mac_that_is_away_and_stays_healthy() {
    let relay = start(&[]).await;
    let path = |path: &str| relay.http.get(format!("{}{path}", relay.url));
    for open in ["/livez", "/readyz"] {
        assert_eq!(path(open).send().await.unwrap().status(), 200);
    }
    let response = path("/health").send().await.unwrap();
    assert_eq!(
        (response.status(), &response.headers()["content-type"]),
        (StatusCode::OK, &"application/health+json".parse().unwrap())
    );
    let report: Value = response.json().await.unwrap();
    assert_eq!(
        (&report["status"], &report["checks"]["store"][0]["status"]),
        (&json!("warn"), &json!("pass"))
    );
    assert_eq!(report["checks"]["target:claude"][0]["status"], "warn");
    for (check, unit) in [("store:backlog", "jobs"), ("store:backlog-size", "bytes"), ("store:size", "bytes")]
    {
        let check = &report["checks"][check][0];
        assert_eq!((&check["status"], &check["observedUnit"]), (&json!("pass"), &json!(unit)));
    }
}

#[tokio::test]
async fn health_tells_whether_webhooks_come_over_tls() {
    let tls = async |flags: &[&str], scheme: &str| {
        let relay = start(flags).await;
        let webhook =
            relay.webhook("pull_request", "d1", &pull_request(1)).header("x-forwarded-proto", scheme);
        assert_eq!(webhook.send().await.unwrap().status(), 202);
        // A doctor's ping comes by a way of its own, and tells nothing.
        for scheme in ["http", "https"] {
            let ping = relay.webhook("ping", "p1", br#"{"zen":"z"}"#).header("x-forwarded-proto", scheme);
            assert_eq!(ping.send().await.unwrap().status(), 200);
        }
        let (_, report) = answer(relay.http.get(format!("{}/health", relay.url))).await;
        report["checks"]["webhooks:tls"][0]["status"].clone()
    };
    assert_eq!(tls(&[], "https").await, "pass");
    assert_eq!(tls(&[], "http").await, "warn");
    assert_eq!(tls(&[], "").await, Value::Null);
    assert_eq!(tls(&["--trusted-proxies", "none"], "https").await, "warn", "anybody can say so");
}

#[tokio::test]
async fn the_keys_are_shown_by_what_they_were_used_for() {
    let both = format!("a-new-admin-token-that-is-long,{TOKEN}");
    let relay = start(&["--relay-admin-token", &both]).await;
    let hook = [
        ("x-github-hook-id", "7"),
        ("x-github-hook-installation-target-type", "repository"),
        ("x-github-hook-installation-target-id", "99"),
    ];
    let webhook = relay.webhook("pull_request", "d1", &pull_request(1));
    let webhook = hook.iter().fold(webhook, |webhook, (name, value)| webhook.header(*name, *value));
    assert_eq!(webhook.send().await.unwrap().status(), 202);
    assert_eq!(error(relay.http.get(format!("{}/api/keys", relay.url))).await.0, 401);
    let (_, report) = answer(relay.admin("GET", "/api/keys")).await;
    let key = |setting: &str, position: u64| {
        let keys = report["keys"].as_array().unwrap().iter();
        keys.clone().find(|key| key["setting"] == setting && key["position"] == position).unwrap()["uses"]
            .clone()
    };
    let [used, new, old] =
        [key("GITHUB_WEBHOOK_SECRET", 1), key("RELAY_ADMIN_TOKEN", 1), key("RELAY_ADMIN_TOKEN", 2)];
    assert_eq!((&used[0]["by"], &used[0]["times"]), (&json!("hook 7 of repository 99"), &json!(1)));
    assert_eq!((&new, &old[0]["what"]), (&json!([]), &json!("admin routes")));
    assert!(!report.to_string().contains(SECRET) && !report.to_string().contains(TOKEN));
}

#[tokio::test]
async fn admin_routes_are_closed_without_a_token_and_to_strangers() {
    let closed = start(&[]).await;
    assert_eq!(error(closed.admin("GET", "/api/deliveries")).await, (403, "admin_closed".into()));
    assert_eq!(error(closed.admin("POST", "/test-webhook")).await.0, 403);
    let open = start(&["--relay-admin-token", TOKEN]).await;
    assert_eq!(error(open.http.get(format!("{}/api/deliveries", open.url))).await.0, 401);
    let wrong = open.http.get(format!("{}/api/deliveries", open.url)).bearer_auth("wrong");
    assert_eq!(error(wrong).await.0, 401);
}

#[tokio::test]
async fn an_operator_sees_and_resends_a_delivery() {
    let relay = start(&["--relay-admin-token", TOKEN]).await;
    for number in 1..=3 {
        answer(relay.webhook("pull_request", &format!("d{number}"), &pull_request(number))).await;
    }
    let (_, page) = answer(relay.admin("GET", "/api/deliveries?limit=2")).await;
    let ids = |page: &Value| {
        page["deliveries"].as_array().unwrap().iter().map(|d| d["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&page), ["d3", "d2"]);
    let (_, rest) =
        answer(relay.admin("GET", &format!("/api/deliveries?limit=2&before={}", page["next"]))).await;
    assert_eq!((ids(&rest), &rest["next"]), (vec![json!("d1")], &Value::Null));
    relay.queue.record("d1", "claude", 0, queue::Finish::new("failed", "the model refused")).await.unwrap();
    let (_, dead) =
        answer(relay.admin("GET", "/api/deliveries?state=dead&target=claude&repository=o/r")).await;
    assert_eq!(ids(&dead), ["d1"]);
    let (_, shown) = answer(relay.admin("GET", "/api/deliveries/d1")).await;
    assert_eq!(
        (&shown["state"], &shown["targets"][0]["error"]),
        (&json!("dead"), &json!("the model refused"))
    );
    assert_eq!(answer(relay.admin("POST", "/api/deliveries/d1/redeliver")).await.0, 202);
    let (_, shown) = answer(relay.admin("GET", "/api/deliveries/d1")).await;
    assert_eq!((&shown["redelivery"], &shown["targets"][0]["error"]), (&json!(1), &Value::Null));
    assert_eq!(
        error(relay.admin("POST", "/api/deliveries/d1/redeliver")).await,
        (409, "nothing_to_redeliver".into())
    );
    assert_eq!(error(relay.admin("GET", "/api/deliveries?limit=many")).await, (400, "invalid_query".into()));
    assert_eq!(error(relay.admin("GET", "/api/deliveries/unknown")).await.0, 404);
    assert_eq!(error(relay.admin("POST", "/api/deliveries/unknown/redeliver")).await.0, 404);
    let (status, test) = answer(relay.admin("POST", "/test-webhook")).await;
    assert_eq!((status, &test["targets"]), (202, &json!(["claude", "ollama"])));
}
