//! `GET /api/stream` and the operator's routes beside it, over HTTP.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml's exemption for tests does not reach their helper functions"
)]

use std::{ops::Deref, time::Duration};

use queue::{Finish, NewDelivery, Route};
use relay::sse::{Message, Reader};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

mod common;

use common::TOKEN;

/// Only waited for in full when a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A relay, and who asks it.
struct Running {
    relay: common::Running,
    http: Client,
}

impl Deref for Running {
    type Target = common::Running;

    fn deref(&self) -> &common::Running {
        &self.relay
    }
}

async fn start() -> Running {
    Running { relay: common::start().await, http: shared::client::http(None).unwrap() }
}

impl Running {
    async fn open(&self) -> Response {
        self.http.get(format!("{}/api/stream", self.url)).bearer_auth(TOKEN).send().await.unwrap()
    }

    /// A stream whose `hello` was read.
    async fn stream(&self) -> Stream {
        let mut stream = Stream { response: self.open().await, reader: Reader::default(), read: Vec::new() };
        assert_eq!(stream.response.headers()["content-type"], "text/event-stream");
        assert_eq!(stream.next().await.unwrap().event, "hello");
        stream
    }

    async fn post(&self, path: &str) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(TOKEN);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn list(&self, query: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}/api/deliveries?{query}", self.url)).bearer_auth(TOKEN);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

struct Stream {
    response: Response,
    reader: Reader,
    read: Vec<Message>,
}

impl Stream {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Message> {
        while self.read.is_empty() {
            let chunk = timeout(PATIENCE, self.response.chunk()).await.unwrap();
            self.read = self.reader.read(&chunk.unwrap()?).unwrap();
        }
        Some(self.read.remove(0))
    }

    /// Reads until a delivery shows as `wanted`; the deliveries on the way.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            let message = self.next().await.unwrap();
            assert_eq!(message.event, "delivery", "{message:?}");
            seen.push(serde_json::from_str::<Value>(&message.data).unwrap());
            if wanted(seen.last().unwrap()) {
                return seen;
            }
        }
    }
}

fn delivery(id: &str, event: &str, lane: &str) -> NewDelivery {
    NewDelivery {
        id: id.to_owned(),
        digest: None,
        replay_window: Duration::ZERO,
        redelivery: 0,
        event: event.to_owned(),
        action: None,
        repository: Some("o/r".to_owned()),
        headline: "a headline".to_owned(),
        note: None,
        received_at: jiff::Timestamp::now(),
        payload: b"{}".to_vec(),
        routes: vec![Route { lane: lane.to_owned(), key: id.to_owned(), replaces: None }],
    }
}

fn is(id: &str, state: &str) -> impl Fn(&Value) -> bool {
    move |delivery| delivery["id"] == id && delivery["state"] == state
}

#[tokio::test]
async fn a_reader_sees_deliveries_as_they_change() {
    let relay = start().await;
    let mut stream = relay.stream().await;
    // No worker has this lane, so that nothing but the test changes it.
    relay.queue.put(delivery("d1", "push", "elsewhere")).await.unwrap();
    let first = stream.until(is("d1", "pending")).await.pop().unwrap();
    assert_eq!(
        (&first["event"], &first["repository"], &first["targets"][0]["target"]),
        (&json!("push"), &json!("o/r"), &json!("elsewhere"))
    );
    relay.queue.record("d1", "elsewhere", 0, Finish::new("completed", "done")).await.unwrap();
    let last = stream.until(is("d1", "completed")).await.pop().unwrap();
    assert_eq!(last["targets"][0]["outcome"]["summary"], "done");
    assert!(last["targets"][0].get("history").is_none(), "{last}");
}

#[tokio::test]
async fn streams_are_numbered_and_few() {
    let relay = start().await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(relay.stream().await);
    }
    let refused = relay.open().await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "too_many_streams");
    drop(open.pop());
    // The relay notices that a reader is gone when it writes to it.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut n = 0;
    while relay.open().await.status() != StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline, "the place was not given back");
        n += 1;
        relay.queue.put(delivery(&format!("d{n}"), "push", "elsewhere")).await.unwrap();
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_relay_and_does_not_hold_it_up() {
    let relay = start().await;
    let mut stream = relay.stream().await;
    relay.stop.cancel();
    assert_eq!(stream.next().await, None, "it ends in order");
    timeout(PATIENCE, relay.relay.ended).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn strangers_see_no_stream() {
    let relay = start().await;
    let request = relay.http.get(format!("{}/api/stream", relay.url));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn deliveries_are_found_by_event_and_time() {
    let relay = start().await;
    let old = NewDelivery {
        received_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        ..delivery("old", "push", "elsewhere")
    };
    relay.queue.put(old).await.unwrap();
    relay.queue.put(delivery("push", "push", "elsewhere")).await.unwrap();
    relay.queue.put(delivery("issue", "issues", "elsewhere")).await.unwrap();
    let ids = async |query: &str| {
        let (status, answer) = relay.list(query).await;
        assert_eq!(status, 200, "{answer}");
        let found = answer["deliveries"].as_array().unwrap().iter();
        found.map(|found| found["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("event=push").await, ["push", "old"]);
    assert_eq!(ids("event=push&since=2026-02-01T00:00:00Z").await, ["push"]);
    assert_eq!(ids("since=2026-02-01T00:00:00Z").await, ["issue", "push"]);
    let (status, refused) = relay.list("since=yesterday").await;
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("invalid_query")));
    let (status, refused) = relay.list("target=cluade").await;
    assert_eq!((status, &refused["error"]["code"]), (400, &json!("unknown_target")));
    let (_, page) = relay.list("limit=3").await;
    assert_eq!(page["next"], Value::Null, "a full last page promises no other");
}

#[tokio::test]
async fn an_operator_gives_a_delivery_up() {
    let relay = start().await;
    let both = NewDelivery {
        routes: ["claude", "ollama"]
            .map(|lane| Route { lane: lane.to_owned(), key: lane.to_owned(), replaces: None })
            .to_vec(),
        ..delivery("d1", "push", "")
    };
    relay.queue.put(both).await.unwrap();
    let (status, answer) = relay.post("/api/deliveries/d1/discard?target=claude").await;
    assert_eq!((status, &answer["status"], &answer["jobs"]), (200, &json!("discarded"), &json!(1)));
    let states = async || {
        let record = relay.queue.find("d1").await.unwrap().unwrap();
        record
            .jobs
            .iter()
            .map(|job| job.finish.as_ref().map(|finish| finish.state.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(states().await, [Some("discarded".to_owned()), None]);
    assert_eq!(relay.post("/api/deliveries/d1/discard").await.0, 200);
    let (status, answer) = relay.post("/api/deliveries/d1/discard").await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("nothing_to_discard")));
    assert_eq!(relay.post("/api/deliveries/unknown/discard").await.0, 404);
    assert_eq!(relay.post("/api/deliveries/d1/discard?target=nobody").await.0, 400);
    let (status, answer) = relay.post("/api/deliveries/d1/redeliver?target=ollama").await;
    assert_eq!((status, &answer["jobs"]), (202, &json!(1)), "it can be sent again all the same");
    assert_eq!(states().await, [Some("discarded".to_owned()), None]);
}
