//! The inbox as the relay sees it: over HTTP, with the signed client.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's exemption for tests does not reach their helper functions"
)]

use std::time::Duration;

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{Query, State},
    middleware::from_fn_with_state,
    routing::{get, post},
};
use inbox::auth::{Auth, Caller, guard};
use queue::{Finish, Queue};
use shared::{
    client::{CallError, SignedClient},
    outcome::{Feed, FeedQuery},
    server::{Limits, serve},
    signature::{SigningKeys, Tokens},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_KEY: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn keys(list: &str) -> SigningKeys {
    SigningKeys::parse(&list.into()).unwrap()
}

struct Endpoint {
    queue: Queue,
    url: String,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

async fn start() -> Endpoint {
    let folder = tempfile::tempdir().unwrap();
    let queue =
        queue::open(&format!("sqlite://{}/queue.db", folder.path().display()), queue::Options::default())
            .await
            .unwrap();
    let stop = CancellationToken::new();
    let receive = async |State((queue, _)): State<(Queue, CancellationToken)>,
                         Extension(_): Extension<Caller>,
                         body: Bytes| {
        let envelope = inbox::receive::envelope(&body)?;
        inbox::receive::accept(
            "test-endpoint",
            &queue,
            inbox::receive::delivery(&envelope, "work", true, body.to_vec()),
        )
        .await
    };
    let outcomes = async |State((queue, stop)): State<(Queue, CancellationToken)>,
                          Query(query): Query<FeedQuery>| {
        inbox::outcomes::feed(&queue, "work", query, &stop).await
    };
    let auth = Auth::signed_or_bearer(
        "test-endpoint",
        keys(KEY),
        Some(Tokens::parse(&"a-long-bearer-token".into()).unwrap()),
        "sign it, or send the token",
    );
    let router = Router::new()
        .route("/in", post(receive))
        .route("/outcomes", get(outcomes))
        .layer(from_fn_with_state(auth, guard))
        .with_state((queue.clone(), stop.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, router, Limits::default(), CancellationToken::new()));
    Endpoint { queue, url, stop, _folder: folder }
}

fn client(endpoint: &Endpoint, key: &str) -> SignedClient {
    SignedClient::new("test-endpoint", endpoint.url.parse().unwrap(), keys(key), Duration::from_secs(5))
        .unwrap()
}

fn envelope(id: &str) -> Bytes {
    let json = serde_json::json!({"version": 1, "id": id, "event": "push", "action": null, "received_at": "2026-11-22T10:00:00Z",
        "subject": {"kind": "other"}, "payload": {}});
    Bytes::from(json.to_string())
}

#[tokio::test]
async fn an_event_is_stored_once_and_the_answers_are_signed() {
    let endpoint = start().await;
    let relay = client(&endpoint, KEY);
    let first = relay.post("/in", "d1", envelope("d1")).await.unwrap();
    assert_eq!(
        (first.status, &first.body[..]),
        (202, &br#"{"id":"d1","service":"test-endpoint","status":"accepted"}"#[..])
    );
    assert_eq!(relay.post("/in", "d1", envelope("d1")).await.unwrap().status, 200);
    assert!(endpoint.queue.find("d1").await.unwrap().is_some());
    let broken = relay.post("/in", "d2", Bytes::from("{")).await.unwrap();
    assert_eq!(broken.status, 400);
    assert!(broken.message().contains("not an envelope"));
}

#[tokio::test]
async fn strangers_are_refused_and_their_answers_not_believed() {
    let endpoint = start().await;
    let error = client(&endpoint, OTHER_KEY).post("/in", "d1", envelope("d1")).await.unwrap_err();
    assert!(matches!(error, CallError::NotOurs { status: 401, .. }), "{error}");
    let http = shared::client::http(None).unwrap();
    let url = format!("{}/in", endpoint.url);
    let status = async |token: &str| {
        http.post(&url).bearer_auth(token).body(envelope("d1")).send().await.unwrap().status().as_u16()
    };
    assert_eq!(http.post(&url).body(envelope("d1")).send().await.unwrap().status(), 401);
    assert_eq!(status("wrong").await, 401);
    assert!(endpoint.queue.find("d1").await.unwrap().is_none());
    assert_eq!(status("a-long-bearer-token").await, 202);
}

#[tokio::test]
async fn a_stale_signature_is_refused_before_the_body_is_read() {
    let endpoint = start().await;
    let mut stream = TcpStream::connect(endpoint.url.trim_start_matches("http://")).await.unwrap();
    let head = "POST /in HTTP/1.1\r\nhost: x\r\nwebhook-id: d1\r\nwebhook-timestamp: 1000000000\r\n\
                webhook-signature: v1,AAAA\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let read = stream.read_exact(&mut answer);
    // Well before the minute in which a body may arrive, of which nothing has.
    tokio::time::timeout(Duration::from_secs(30), read).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
}

#[tokio::test]
async fn a_large_body_is_taken_and_a_question_has_none() {
    let endpoint = start().await;
    let relay = client(&endpoint, KEY);
    let json = serde_json::json!({"version": 1, "id": "d1", "event": "push", "action": null, "received_at": "2026-11-22T10:00:00Z",
        "subject": {"kind": "other"}, "payload": {"text": "x".repeat(1_100_000)}});
    assert_eq!(relay.post("/in", "d1", Bytes::from(json.to_string())).await.unwrap().status, 202);
    let signed = |body: &[u8]| keys(KEY).sign("id", jiff::Timestamp::now().as_second(), body);
    let ask = async |body: &'static [u8]| {
        let headers = signed(body);
        let request = shared::client::http(None).unwrap().get(format!("{}/outcomes?wait=0", endpoint.url));
        let request = request.header("webhook-id", headers.id).header("webhook-timestamp", headers.timestamp);
        let request = request.header("webhook-signature", headers.signature).body(body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((ask(b"").await, ask(b"{}").await), (200, 413));
}

#[tokio::test]
async fn outcomes_are_followed_by_long_poll_and_a_lost_feed_is_noticed() {
    let endpoint = start().await;
    let relay = client(&endpoint, KEY);
    let feed = async |after: u64, wait: u64| -> Feed {
        let answer = relay.get(&format!("/outcomes?after={after}&wait={wait}"), None).await.unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    };
    let nothing = feed(0, 0).await;
    assert_eq!((nothing.outcomes.len(), nothing.next), (0, 0));
    relay.post("/in", "d1", envelope("d1")).await.unwrap();
    let finish = async {
        let lease = endpoint.queue.lease("work", 1, Duration::from_secs(9)).await.unwrap().remove(0);
        lease.done(Finish::new("completed", "posted")).await.unwrap();
    };
    let (waited, ()) = tokio::join!(feed(0, 4), finish);
    assert_eq!(
        (waited.outcomes[0].delivery.as_str(), waited.outcomes[0].summary.as_str(), waited.next),
        ("d1", "posted", 1)
    );
    let put = async |id: &str, lane: &str| {
        let envelope = inbox::receive::envelope(&envelope(id)).unwrap();
        let delivery = inbox::receive::delivery(&envelope, lane, false, vec![]);
        endpoint.queue.put(delivery).await.unwrap();
        let lease = endpoint.queue.lease(lane, 1, Duration::from_secs(9)).await.unwrap().remove(0);
        lease.done(Finish::new("completed", "")).await.unwrap();
    };
    put("d2", "own affairs").await;
    let passed = feed(1, 0).await;
    assert_eq!((passed.outcomes.len(), passed.next), (0, 2), "another lane's entry is passed over");
    let (waited, ()) = tokio::join!(feed(1, 4), put("d3", "work"));
    assert_eq!((waited.outcomes[0].delivery.as_str(), waited.outcomes.len(), waited.next), ("d3", 1, 3));
    assert_eq!(feed(99, 25).await.next, 0, "a reader ahead of the feed starts again");
    let (stopped, ()) = tokio::join!(feed(3, 25), async { endpoint.stop.cancel() });
    assert_eq!(stopped.next, 3, "stopping ends a long poll at once");
}
