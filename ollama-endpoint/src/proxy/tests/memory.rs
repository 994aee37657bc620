//! Chats that ask for what the memory knows, with a memory that says what the test wants.

use std::future::pending;
use std::sync::Mutex;

use async_trait::async_trait;
use shared::memory::{Briefing, BriefingLine, Mode};

use super::*;

type Asked = Arc<Mutex<Vec<(String, String, usize)>>>;

#[derive(Debug, Clone, Copy)]
enum Says {
    Knows(&'static str),
    Fails,
    Hangs,
}

#[derive(Debug)]
struct Scripted {
    says: Says,
    asked: Asked,
}

#[async_trait]
impl Briefer for Scripted {
    async fn briefing(&self, repository: &str, question: &str, budget: usize) -> Result<Briefing, String> {
        self.asked.lock().unwrap().push((repository.to_owned(), question.to_owned(), budget));
        let text = match self.says {
            Says::Knows(text) => text,
            Says::Fails => return Err("the disk is on fire".to_owned()),
            Says::Hangs => pending().await,
        };
        let line = |line: &str| BriefingLine {
            id: "m".into(),
            line: line.to_owned(),
            about: String::new(),
            text: String::new(),
            source: Default::default(),
        };
        Ok(Briefing {
            mode: Mode::Lexical,
            text: text.to_owned(),
            tokens: text.split_whitespace().count(),
            budget,
            lines: text.lines().map(line).collect(),
            left_out: 0,
        })
    }
}

async fn fixture(says: Says) -> (Fixture, Asked) {
    let asked = Asked::default();
    let briefer = Arc::new(Scripted { says, asked: Arc::clone(&asked) });
    (Fixture::with(limits(), |proxy| proxy.with_memory(briefer)).await, asked)
}

fn post(path: &str, memory: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: p\r\nx-ai-relay-memory: {memory}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const OK: &str = "HTTP/1.1 200 OK\r\nx-ai-relay-memory: theirs\r\ncontent-length: 2\r\n\r\nok";

fn length(head: &str) -> usize {
    head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap()
}

impl Fixture {
    /// What Ollama is sent as a body, and what the caller is told of the memory.
    async fn enriched(&self, request: &str) -> (String, String) {
        let mut caller = self.caller(request).await;
        let mut ollama = self.ollama().await;
        let head = ollama.until("\r\n\r\n").await;
        assert!(!head.contains("x-ai-relay-memory"), "{head}");
        let body = ollama.exactly(length(&head)).await;
        ollama.send(OK).await;
        let answer = caller.until("\r\n\r\nok").await;
        let told = answer.split("x-ai-relay-memory: ").nth(1).unwrap().split("\r\n").next().unwrap();
        assert_eq!(answer.matches("x-ai-relay-memory").count(), 1, "{answer}");
        (body, told.to_owned())
    }
}

#[tokio::test]
async fn a_chat_gets_what_is_known_and_is_told_so() {
    let (fixture, asked) = fixture(Says::Knows("Retries are capped (#7)\nDeploys happen on Tuesdays")).await;
    let bodies = [
        ("/api/chat", r#"{"model":"m","messages":[{"role":"user","content":"how many retries?"}],"n":1.0}"#),
        (
            "/v1/chat/completions",
            r#"{"messages":[{"role":"user","content":"how many retries?"}],"stream":true}"#,
        ),
        (
            "/v1/messages",
            r#"{"messages":[{"role":"user","content":"how many retries?"}],"system":"Be brief."}"#,
        ),
        ("/v1/responses", r#"{"input":"how many retries?"}"#),
    ];
    for (path, body) in bodies {
        let (sent, told) = fixture.enriched(&post(path, "o/r", body)).await;
        assert_eq!(told, "o/r; memories=2; tokens=8; mode=lexical", "{path}");
        let known = r"\n| Retries are capped (#7)\n| Deploys happen on Tuesdays";
        assert!(sent.contains(known) && sent.contains("of the project o/r"), "{path}: {sent}");
        let _: serde_json::Value = serde_json::from_str(&sent).unwrap();
    }
    let question = ("o/r".to_owned(), "how many retries?".to_owned(), 500);
    assert_eq!(*asked.lock().unwrap(), vec![question; 4]);
}

#[tokio::test]
async fn without_the_memory_the_chat_goes_on_as_it_was_sent() {
    let chat = r#"{ "messages": [{"role":"user","content":"hi"}] }"#;
    for (says, body, told) in [
        (Says::Fails, chat, "o/r; unavailable"),
        (Says::Knows(""), chat, "o/r; memories=0; tokens=0; mode=lexical"),
        (Says::Knows("x"), "{ \"messages\": [] }", "o/r; nothing-asked"),
        (Says::Knows("x"), "{ no JSON", "o/r; nothing-asked"),
    ] {
        let (fixture, _) = fixture(says).await;
        assert_eq!(
            fixture.enriched(&post("/api/chat", "o/r", body)).await,
            (body.to_owned(), told.to_owned()),
            "{says:?}"
        );
    }
    let fixture = Fixture::new(limits()).await;
    let (_, told) = fixture.enriched(&post("/api/chat", "o/r", chat)).await;
    assert_eq!(told, "o/r; unavailable", "there is none");
}

#[tokio::test]
async fn a_memory_that_hangs_holds_up_the_chat_for_a_moment_only() {
    let (fixture, asked) = fixture(Says::Hangs).await;
    let chat = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
    let mut caller = fixture.caller(&post("/api/chat", "o/r", chat)).await;
    while asked.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    let mut ollama = fixture.ollama().await;
    tokio::time::resume();
    ollama.until(chat).await;
    ollama.send(OK).await;
    assert!(caller.until("\r\n\r\nok").await.contains("x-ai-relay-memory: o/r; unavailable\r\n"));
}

#[tokio::test]
async fn what_cannot_be_done_is_said_in_the_words_of_the_api() {
    let (fixture, asked) = fixture(Says::Knows("x")).await;
    let large = format!("content-length: {}", 8 * 1024 * 1024 + 1);
    let too_large =
        post("/api/chat", "o/r", "").replace("content-length: 0", &large) + &" ".repeat(8 * 1024 * 1024 + 1);
    for (request, status, shape, hint) in [
        (post("/api/generate", "o/r", "{}"), 400, r#"{"error":"x-ai-relay-memory: "#, "/v1/responses"),
        (post("/api/chat", "o", "{}"), 400, r#"{"error":"x-ai-relay-memory: "#, "`owner/name`"),
        (post("/v1/embeddings", "o/r", "{}"), 400, r#"{"error":{"message":"x-ai"#, "/api/chat"),
        (
            post("/v1/messages", "", "{}"),
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"x-ai"#,
            "`owner/name`",
        ),
        (too_large, 413, r#"{"error":"the body is larger than 8388608 bytes"#, "without the header"),
    ] {
        let mut caller = fixture.caller(&request).await;
        let head = caller.until("\r\n\r\n").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let body = caller.exactly(length(&head)).await;
        assert!(body.starts_with(shape) && body.contains(hint), "{body}");
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_the_header_nothing_is_read_whole_or_told() {
    let (fixture, asked) = fixture(Says::Knows("x")).await;
    let mut caller = fixture.caller("POST /api/chat HTTP/1.1\r\nhost: p\r\ncontent-length: 9\r\n\r\n{").await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{").await;
    caller.send("\"a\": 1 }").await;
    ollama.until("\"a\": 1 }").await;
    ollama.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert!(!caller.until("\r\n\r\nok").await.contains("x-ai-relay-memory"));
    assert!(asked.lock().unwrap().is_empty());
}
