//! The stand-in against what a real Ollama answered: the texts here are from captures of v0.33.

use http::Method;
use serde_json::json;

use super::*;

mod captures;

use self::captures::skeleton;

struct Answer {
    status: u16,
    content_type: String,
    chunked: bool,
    body: String,
}

async fn captured_models() -> Ollama {
    Ollama::start_on(ANY_PORT, vec![Model::all_minilm(), Model::smollm2()]).await.unwrap()
}

async fn ask(ollama: &Ollama, method: Method, path: &str, body: &str) -> Answer {
    let client = shared::client::http(None).unwrap();
    read(client.request(method, ollama.url() + path).body(body.to_owned())).await
}

async fn read(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: answer.status().as_u16(),
        content_type: header("content-type").unwrap_or_default(),
        chunked: header("transfer-encoding").as_deref() == Some("chunked"),
        body: answer.text().await.unwrap(),
    }
}

async fn post(ollama: &Ollama, path: &str, body: Value) -> Answer {
    ask(ollama, Method::POST, path, &body.to_string()).await
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

#[tokio::test]
async fn errors_are_word_for_word() {
    let ollama = captured_models().await;
    let json_type = "application/json; charset=utf-8";
    let hello = json!([{"role": "user", "content": "Hello"}]);
    let of =
        |model: &str, more: Value| crate::shape::extended(json!({"model": model, "messages": hello}), more);
    let long = json!({"model": "all-minilm", "input": "word ".repeat(600), "truncate": false});
    let tools = json!({"tools": [{"type": "function"}]});
    let cases = [
        (
            "/api/chat",
            of("nope", json!({})).to_string(),
            404,
            json_type,
            r#"{"error":"model 'nope' not found"}"#,
        ),
        (
            "/api/show",
            r#"{"model":"nope"}"#.into(),
            404,
            json_type,
            r#"{"error":"model 'nope:latest' not found"}"#,
        ),
        (
            "/api/chat",
            "{bad".into(),
            400,
            json_type,
            r#"{"error":"invalid character 'b' looking for beginning of object key string"}"#,
        ),
        (
            "/api/chat",
            of("smollm2:135m", json!({"think": true})).to_string(),
            400,
            json_type,
            r#"{"error":"\"smollm2:135m\" does not support thinking"}"#,
        ),
        (
            "/api/chat",
            of("smollm2:135m", tools).to_string(),
            400,
            json_type,
            r#"{"error":"registry.ollama.ai/library/smollm2:135m does not support tools"}"#,
        ),
        (
            "/api/embed",
            long.to_string(),
            400,
            json_type,
            r#"{"error":"the input length exceeds the context length"}"#,
        ),
        (
            "/v1/chat/completions",
            of("nope", json!({})).to_string(),
            404,
            "application/json",
            r#"{"error":{"message":"model 'nope' not found","type":"not_found_error","param":null,"code":null}}"#,
        ),
    ];
    for (path, body, status, content_type, text) in cases {
        let answer = ask(&ollama, Method::POST, path, &body).await;
        assert_eq!(
            (answer.status, answer.content_type.as_str(), answer.body.as_str()),
            (status, content_type, text)
        );
    }
}

#[tokio::test]
async fn paths_and_methods_it_does_not_have() {
    let ollama = captured_models().await;
    let wrong = ask(&ollama, Method::GET, "/api/chat", "").await;
    assert_eq!((wrong.status, wrong.content_type.as_str()), (405, "text/plain"));
    assert_eq!(wrong.body, "405 method not allowed");
    let unknown = ask(&ollama, Method::GET, "/api/nothing", "").await;
    assert_eq!((unknown.status, unknown.content_type.as_str()), (404, "text/plain"));
    assert_eq!(unknown.body, "404 page not found");
    let root = ask(&ollama, Method::GET, "/", "").await;
    assert_eq!(
        (root.content_type.as_str(), root.body.as_str()),
        ("text/plain; charset=utf-8", "Ollama is running")
    );
    let client = shared::client::http(None).unwrap();
    let head = client.head(ollama.url()).send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"17".parse().unwrap()));
    let allow = client.get(ollama.url() + "/api/chat").send().await.unwrap();
    assert_eq!(allow.headers()["allow"], "POST");
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_forbidden() {
    let ollama = captured_models().await;
    let client = shared::client::http(None).unwrap();
    let status = async |name: &str, value: &str| {
        let answer = read(client.get(ollama.url() + "/api/tags").header(name, value)).await;
        assert!(answer.status == 200 || answer.body.is_empty());
        answer.status
    };
    assert_eq!(status("host", "relay.example.com").await, 403);
    assert_eq!(status("origin", "https://evil.example").await, 403);
    assert_eq!(status("host", "localhost:11434").await, 200);
    assert_eq!(status("host", "host.docker.internal:8091").await, 200);
    assert_eq!(status("origin", "http://localhost:3000").await, 200);
}

#[tokio::test]
async fn streams_have_a_line_per_piece_and_totals_at_the_end() {
    let ollama = captured_models().await;
    let body =
        json!({"model": "smollm2:135m", "messages": [{"role": "user", "content": "Tell me about SQL."}]});
    let answer = post(&ollama, "/api/chat", body.clone()).await;
    assert_eq!((answer.content_type.as_str(), answer.chunked), ("application/x-ndjson", true));
    assert_eq!(
        skeleton(answer.body.lines().next().unwrap()),
        r#"{"model":s,"created_at":s,"message":{"role":s,"content":s},"done":false}"#
    );
    assert_eq!(
        skeleton(last_line(&answer.body)),
        r#"{"model":s,"created_at":s,"message":{"role":s,"content":s},"done":true,"done_reason":s,"total_duration":n,"load_duration":n,"prompt_eval_count":n,"prompt_eval_duration":n,"eval_count":n,"eval_duration":n}"#
    );
    let content = |line: &str| serde_json::from_str::<Value>(line).unwrap()["message"]["content"].clone();
    let text: String = answer.body.lines().map(|line| content(line).as_str().unwrap().to_owned()).collect();
    assert_eq!(text, "You wrote: Tell me about SQL.");

    ollama.break_next_stream();
    let broken = post(&ollama, "/api/chat", body.clone()).await;
    assert_eq!(broken.status, 200);
    assert!(last_line(&broken.body).starts_with(r#"{"error":"#), "{}", broken.body);
    assert!(post(&ollama, "/api/chat", body).await.body.contains(r#""done":true"#), "it breaks once");
}

#[tokio::test]
async fn a_schema_for_reviews_gets_a_review_of_the_prompt() {
    let ollama = Ollama::start().await.unwrap();
    let schema = json!({"type": "object", "properties": {"findings": {"type": "array"}}});
    let body = json!({"model": "llama3.2", "stream": false, "think": false, "format": schema,
        "messages": [{"role": "user", "content": "=== a.rs\n@@\n3+eval(x)\n"}]});
    let answer: Value = serde_json::from_str(&post(&ollama, "/api/chat", body).await.body).unwrap();
    let review: Value = serde_json::from_str(answer["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(review["findings"][0]["quote"], "eval(x)");
}

async fn embeddings(ollama: &Ollama, body: Value) -> Vec<Vec<f32>> {
    let answer: Value = serde_json::from_str(&post(ollama, "/api/embed", body).await.body).unwrap();
    serde_json::from_value(answer["embeddings"].clone()).unwrap()
}

#[tokio::test]
async fn vectors_have_norm_one_and_similar_texts_are_near() {
    let ollama = Ollama::start().await.unwrap();
    let texts =
        ["bind SQL parameters in queries", "SQL queries bind their parameters", "the cart has a red button"];
    let vectors = embeddings(&ollama, json!({"model": "nomic-embed-text", "input": texts})).await;
    let dot = |a: usize, b: usize| vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum::<f32>();
    assert_eq!(vectors[0].len(), 768);
    assert!((dot(0, 0) - 1.0).abs() < 1e-5);
    assert!(dot(0, 1) > 0.6 && dot(0, 2) < 0.3, "{} {}", dot(0, 1), dot(0, 2));
    let short =
        embeddings(&ollama, json!({"model": "nomic-embed-text", "input": "SQL", "dimensions": 8})).await;
    assert_eq!(short[0].len(), 8);
    assert!((short[0].iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
}

#[tokio::test]
async fn one_bad_text_fails_its_batch() {
    let ollama = Ollama::start().await.unwrap();
    ollama.poison("cursed");
    let embed = async |input: Value| {
        post(&ollama, "/api/embed", json!({"model": "nomic-embed-text", "input": input})).await
    };
    assert_eq!(embed(json!(["fine", "a cursed text"])).await.status, 500);
    assert_eq!(embed(json!(["fine"])).await.status, 200);
    assert_eq!(embed(json!(["fine", 7])).await.status, 400);
    for nothing in [json!([]), json!(""), Value::Null] {
        assert_eq!(embed(nothing).await.body, r#"{"model":"nomic-embed-text","embeddings":[]}"#);
    }
}

#[tokio::test]
async fn busy_means_503_for_what_runs_a_model() {
    let ollama = Ollama::start().await.unwrap();
    ollama.set_busy(true);
    let body = json!({"model": "nomic-embed-text", "input": "x"});
    assert_eq!(post(&ollama, "/api/embed", body.clone()).await.status, 503);
    assert_eq!(ask(&ollama, Method::GET, "/api/tags", "").await.status, 200);
    ollama.set_busy(false);
    assert_eq!(post(&ollama, "/api/embed", body).await.status, 200);
}

#[tokio::test]
async fn loading_unloading_copying_and_deleting_show() {
    let ollama = captured_models().await;
    let listed = async |path: &str| {
        let answer = ask(&ollama, Method::GET, path, "").await;
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["models"].as_array().unwrap().len()
    };
    assert_eq!((listed("/api/tags").await, listed("/api/ps").await), (2, 0));
    let load = post(&ollama, "/api/generate", json!({"model": "smollm2:135m"})).await;
    assert_eq!(
        skeleton(&load.body),
        r#"{"model":s,"created_at":s,"response":s,"done":true,"done_reason":s}"#
    );
    assert_eq!(listed("/api/ps").await, 1);
    post(&ollama, "/api/generate", json!({"model": "smollm2:135m", "keep_alive": 0})).await;
    assert_eq!(listed("/api/ps").await, 0);
    post(&ollama, "/api/copy", json!({"source": "smollm2:135m", "destination": "mine"})).await;
    assert_eq!(listed("/api/tags").await, 3);
    assert_eq!(ask(&ollama, Method::DELETE, "/api/delete", r#"{"model":"mine"}"#).await.body, "");
    assert_eq!(listed("/api/tags").await, 2);
}

#[tokio::test]
async fn ps_and_show_have_the_captured_order() {
    let ollama = captured_models().await;
    post(&ollama, "/api/embed", json!({"model": "all-minilm", "input": "x"})).await;
    let ps = ask(&ollama, Method::GET, "/api/ps", "").await;
    assert_eq!(
        skeleton(&ps.body),
        r#"{"models":[{"name":s,"model":s,"size":n,"digest":s,"details":{"parent_model":s,"format":s,"family":s,"families":[s],"parameter_size":s,"quantization_level":s},"expires_at":s,"size_vram":n,"context_length":n}]}"#
    );
    let show = post(&ollama, "/api/show", json!({"model": "all-minilm"})).await;
    let order = [
        "modelfile",
        "parameters",
        "template",
        "details",
        "model_info",
        "tensors",
        "capabilities",
        "modified_at",
    ];
    let places: Vec<_> = order.iter().map(|key| show.body.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}
