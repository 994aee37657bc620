//! Whatever is sent, there is an answer.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(json!("o/r")),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(word(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Words that mean something here, so that chance gets far.
fn word() -> impl Strategy<Value = String> {
    let known = [
        "jsonrpc",
        "id",
        "method",
        "params",
        "result",
        "error",
        "name",
        "arguments",
        "uri",
        "query",
        "repository",
        "text",
        "limit",
        "ids",
        "reason",
        "paths",
        "_meta",
        "protocolVersion",
        "clientInfo",
        "capabilities",
        "cursor",
    ];
    prop_oneof![4 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,10}"]
}

fn method() -> impl Strategy<Value = String> {
    let known = [
        "initialize",
        "ping",
        "tools/list",
        "tools/call",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "prompts/list",
        "logging/setLevel",
        "completion/complete",
        "resources/subscribe",
        "server/discover",
        "subscriptions/listen",
        "notifications/initialized",
        "notifications/cancelled",
        "tasks/get",
        "skills/list",
    ];
    prop_oneof![6 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,10}"]
}

fn call() -> impl Strategy<Value = Value> {
    let tool = proptest::sample::select(["search", "briefing", "add", "get", "forget", "recent"].to_vec());
    (tool, proptest::collection::btree_map(word(), any_json(), 0..6)).prop_map(|(tool, arguments)| {
        let params = json!({"name": format!("memory_{tool}"), "arguments": arguments});
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let message = (method(), any_json(), any_json()).prop_map(
        |(method, id, params)| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}),
    );
    let notification = (method(), any_json())
        .prop_map(|(method, params)| json!({"jsonrpc": "2.0", "method": method, "params": params}));
    let written = |value: Value| value.to_string().into_bytes();
    prop_oneof![
        any_json().prop_map(written),
        message.prop_map(written),
        notification.prop_map(written),
        call().prop_map(written),
        proptest::collection::vec(any::<u8>(), 0..200),
    ]
}

#[test]
fn any_body_gets_an_answer() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let service = runtime.block_on(start());
    let mut runner = TestRunner::new(Config { cases: 150, failure_persistence: None, ..Config::default() });
    runner
        .run(&body(), |body| {
            let shown = String::from_utf8_lossy(&body).into_owned();
            let (status, answer) = runtime.block_on(answer(request(&service, body)));
            prop_assert!((200..500).contains(&status), "{shown}: {status} {answer}");
            prop_assert!(answer.is_object() || status == 202, "{shown}: {status} {answer}");
            Ok(())
        })
        .unwrap();
    let (status, _) = runtime.block_on(answer(request(&service, message("ping", json!({})))));
    assert_eq!(status, 200);
}
