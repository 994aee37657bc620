//! The stand-in refuses what current models refuse, and answers in both forms.

use super::*;

fn body() -> Value {
    json!({"model": MODELS[0], "max_tokens": 100,
        "messages": [{"role": "user", "content": "=== a.rs\n@@\n7+    x.unwrap()\n"}]})
}

async fn post(anthropic: &Anthropic, body: &Value) -> (u16, String) {
    let client = shared::client::http(None).unwrap();
    let request = client.post(anthropic.url() + "/v1/messages?beta=true").header("x-api-key", "sk-test");
    let answer =
        request.header("anthropic-version", "2023-06-01").body(body.to_string()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn with(key: &str, value: Value) -> Value {
    let mut body = body();
    body[key] = value;
    body
}

fn with_schema(schema: &Value) -> Value {
    with("output_config", json!({"format": {"type": "json_schema", "schema": schema}}))
}

#[tokio::test]
async fn what_current_models_refuse() {
    let anthropic = Anthropic::start(reviewer()).await.unwrap();
    let object =
        |more: Value| json!({"type": "object", "additionalProperties": false, "properties": {"a": more}});
    let refused = [
        with("temperature", json!(0)),
        with("top_p", json!(1)),
        with("top_k", json!(1)),
        with("max_tokens", Value::Null),
        with("tool_choice", json!({"type": "tool", "name": "x"})),
        with("tool_choice", json!({"type": "any"})),
        with("messages", json!([])),
        with("messages", json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}])),
        with_schema(&json!({"type": "object", "properties": {}})),
        with_schema(&object(json!({"type": "integer", "minimum": 1}))),
        with_schema(&object(json!({"type": "array", "items": {"type": "string", "maxLength": 3}}))),
        with_schema(&object(json!({"anyOf": [{"type": "object"}]}))),
    ];
    for body in refused {
        let (status, answer) = post(&anthropic, &body).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer.contains("invalid_request_error"), "{answer}");
    }
    assert_eq!(post(&anthropic, &with("model", json!("claude-2"))).await.0, 404);
    assert_eq!(post(&anthropic, &with_schema(&object(json!({"type": "string"})))).await.0, 200);
    assert_eq!(anthropic.requests().len(), 1);
}

#[tokio::test]
async fn credentials_and_version_are_required() {
    let anthropic = Anthropic::start(reviewer()).await.unwrap();
    let client = shared::client::http(None).unwrap();
    let ask = |headers: &[(&str, &str)]| {
        let request = client.post(anthropic.url() + "/v1/messages").body(body().to_string());
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send()
    };
    let version = ("anthropic-version", "2023-06-01");
    assert_eq!(ask(&[version]).await.unwrap().status(), 401);
    assert_eq!(ask(&[version, ("x-api-key", "nonsense")]).await.unwrap().status(), 401);
    assert_eq!(ask(&[("x-api-key", "sk-test")]).await.unwrap().status(), 400);
    assert_eq!(ask(&[version, ("authorization", "Bearer sk-ant-oat01-x")]).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_answer_follows_from_the_prompt() {
    let anthropic = Anthropic::start(reviewer()).await.unwrap();
    let (_, answer) = post(&anthropic, &body()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let review: Value = serde_json::from_str(answer["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!((&review["findings"][0]["path"], &review["findings"][0]["line"]), (&json!("a.rs"), &json!(7)));
    assert_eq!(answer["stop_reason"], "end_turn");
}

#[tokio::test]
async fn a_question_of_another_kind_gets_an_answer_of_its_schema() {
    let second_look = json!({"type": "object", "additionalProperties": false, "properties": {
        "holds": {"type": "string", "enum": ["yes", "no"]}, "reason": {"type": "string"}}});
    let findings = json!({"type": "object", "additionalProperties": false, "properties": {
        "findings": {"type": "array", "items": {"type": "string"}}}});
    for responder in [reviewer(), always_review(Reply::json(json!({"same": 1})))] {
        let anthropic = Anthropic::start(responder).await.unwrap();
        let text = async |schema: &Value| {
            let (_, answer) = post(&anthropic, &with_schema(schema)).await;
            let answer: Value = serde_json::from_str(&answer).unwrap();
            answer["content"][0]["text"].as_str().unwrap().to_owned()
        };
        assert_eq!(text(&second_look).await, r#"{"holds":"yes","reason":"=== a.rs"}"#);
        let review = text(&findings).await;
        assert!(review == r#"{"same":1}"# || review.contains("a.rs"), "{review}");
        let requests = anthropic.requests();
        assert!(requests[0].asks_for("holds") && requests[1].asks_for("findings"));
    }
}

#[tokio::test]
async fn a_stream_has_the_real_order_of_events_and_the_same_text() {
    let anthropic = Anthropic::start(reviewer()).await.unwrap();
    let (_, whole) = post(&anthropic, &body()).await;
    let (_, stream) = post(&anthropic, &with("stream", json!(true))).await;
    let events = |name: &str| stream.lines().filter(|line| *line == format!("event: {name}")).count();
    for once in
        ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]
    {
        assert_eq!(events(once), 1, "{once}");
    }
    let datas: Vec<Value> = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let text: String = datas.iter().filter_map(|data| data["delta"]["text"].as_str()).collect();
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(text, whole["content"][0]["text"].as_str().unwrap());
    assert_eq!(datas.last().unwrap()["type"], "message_stop");
}

#[tokio::test]
async fn the_clis_tool_is_used_once_and_then_the_turn_ends() {
    let anthropic = Anthropic::start(reviewer()).await.unwrap();
    let tools = json!([{"name": STRUCTURED_OUTPUT, "input_schema": {"type": "object"}}]);
    let (_, first) = post(&anthropic, &with("tools", tools.clone())).await;
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(
        (&first["stop_reason"], &first["content"][0]["name"]),
        (&json!("tool_use"), &json!(STRUCTURED_OUTPUT))
    );
    assert_eq!(first["content"][0]["input"]["findings"][0]["line"], 7);
    let result = json!([{"type": "tool_result", "tool_use_id": first["content"][0]["id"], "content": "ok"}]);
    let mut next = with("tools", tools);
    let turns = next["messages"].as_array_mut().unwrap();
    turns.push(json!({"role": "assistant", "content": first["content"]}));
    turns.push(json!({"role": "user", "content": result}));
    let (_, second) = post(&anthropic, &next).await;
    assert!(second.contains("\"end_turn\""), "{second}");
}

#[tokio::test]
async fn what_can_go_wrong() {
    let anthropic = Anthropic::start(always(Reply::refusal())).await.unwrap();
    assert!(post(&anthropic, &body()).await.1.contains("\"stop_reason\":\"refusal\""));
    anthropic.answer_next(Reply::overloaded_529());
    anthropic.answer_next(Reply::spend_limit());
    anthropic.answer_next(Reply::max_tokens());
    anthropic.answer_next(Reply::mid_stream_error());
    assert_eq!(post(&anthropic, &body()).await.0, 529);
    let (status, answer) = post(&anthropic, &body()).await;
    assert_eq!(status, 429);
    assert!(answer.contains("enforced_spend_limit_reached"), "{answer}");
    assert!(post(&anthropic, &body()).await.1.contains("\"max_tokens\""));
    let (status, stream) = post(&anthropic, &with("stream", json!(true))).await;
    assert_eq!(status, 200);
    assert!(stream.contains("event: error\ndata: {\"error\":{\"message\":\"Overloaded\""), "{stream}");
    assert!(!stream.contains("message_stop"));
}

#[tokio::test]
async fn tokens_are_counted_without_a_model() {
    let anthropic = Anthropic::start(reviewer()).await.unwrap();
    let client = shared::client::http(None).unwrap();
    let request = client.post(anthropic.url() + "/v1/messages/count_tokens").header("x-api-key", "sk-test");
    let body = json!({"model": MODELS[0], "messages": [{"role": "user", "content": "x".repeat(400)}]});
    let answer =
        request.header("anthropic-version", "2023-06-01").body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["input_tokens"], 100);
    assert!(anthropic.requests().is_empty());
}
