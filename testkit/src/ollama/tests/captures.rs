//! Where the captures of a real Ollama lie beside the repository, every one of them is compared.

use std::path::Path;

use super::*;

/// The order and kind of a JSON text's fields; numbers and texts are alike, an array is its first element.
pub(super) fn skeleton(text: &str) -> String {
    let (mut out, mut depth_of_array) = (String::new(), vec![]);
    let mut rest = text.chars().peekable();
    let mut depth = 0_usize;
    while let Some(c) = rest.next() {
        let skips = depth_of_array.iter().any(|(_, skipping)| *skipping);
        let piece = match c {
            '"' => {
                let mut word = String::new();
                while let Some(c) = rest.next() {
                    match c {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        c => word.push(c),
                    }
                }
                if rest.peek() == Some(&':') { format!("{word:?}") } else { "s".into() }
            }
            '{' | '[' => {
                depth += 1;
                if c == '[' {
                    depth_of_array.push((depth, false));
                }
                c.to_string()
            }
            '}' | ']' => {
                if c == ']' {
                    depth_of_array.pop();
                }
                depth -= 1;
                c.to_string()
            }
            ',' => {
                let in_array = depth_of_array.last_mut().filter(|(at, _)| *at == depth);
                match in_array {
                    Some(array) => {
                        array.1 = true;
                        String::new()
                    }
                    None => ",".into(),
                }
            }
            '0'..='9' | '-' => {
                while rest.next_if(|c| c.is_ascii_digit() || ".eE+-".contains(*c)).is_some() {}
                "n".into()
            }
            c if c.is_whitespace() => String::new(),
            c => c.to_string(),
        };
        if !skips || c == ']' && !depth_of_array.iter().any(|(_, skipping)| *skipping) {
            out.push_str(&piece);
        }
    }
    out
}

#[test]
fn a_skeleton_keeps_order_and_first_elements() {
    assert_eq!(
        skeleton(r#"{"b":[{"x":1.5e-3},{"x":2}],"a":"t","c":[[1,2],[3]],"d":true}"#),
        r#"{"b":[{"x":n}],"a":s,"c":[[n]],"d":true}"#
    );
}

/// Capture, method, path, body; `LONG` stands for a text beyond the context.
const CAPTURES: &[(&str, &str, &str, &str)] = &[
    ("chat_404", "POST", "/api/chat", r#"{"model":"nope","messages":[{"role":"user","content":"Hi"}]}"#),
    ("chat_405", "GET", "/api/chat", ""),
    ("chat_bad", "POST", "/api/chat", "{bad"),
    (
        "chat_nostream",
        "POST",
        "/api/chat",
        r#"{"model":"smollm2:135m","stream":false,"options":{"num_predict":2},"messages":[{"role":"user","content":"Hi"}]}"#,
    ),
    (
        "chat_stream",
        "POST",
        "/api/chat",
        r#"{"model":"smollm2:135m","options":{"num_predict":2},"messages":[{"role":"user","content":"Hi"}]}"#,
    ),
    ("embed", "POST", "/api/embed", r#"{"model":"all-minilm","input":["one","two"]}"#),
    ("embed_dims", "POST", "/api/embed", r#"{"model":"all-minilm","input":"one","dimensions":8}"#),
    ("embed_empty", "POST", "/api/embed", r#"{"model":"all-minilm"}"#),
    ("embed_toolong", "POST", "/api/embed", r#"{"model":"all-minilm","truncate":false,"input":"LONG"}"#),
    ("embeddings", "POST", "/api/embeddings", r#"{"model":"all-minilm","prompt":"one"}"#),
    ("gen_load", "POST", "/api/generate", r#"{"model":"smollm2:135m"}"#),
    ("gen_nostream", "POST", "/api/generate", r#"{"model":"smollm2:135m","stream":false,"prompt":"Hi"}"#),
    ("gen_stream", "POST", "/api/generate", r#"{"model":"smollm2:135m","prompt":"Hi"}"#),
    ("gen_unload", "POST", "/api/generate", r#"{"model":"smollm2:135m","keep_alive":0}"#),
    ("path_404", "GET", "/nothing", ""),
    ("root", "GET", "/", ""),
    ("show_404", "POST", "/api/show", r#"{"model":"nope"}"#),
    ("tags", "GET", "/api/tags", ""),
    (
        "v1_404",
        "POST",
        "/v1/chat/completions",
        r#"{"model":"nope","messages":[{"role":"user","content":"Hi"}]}"#,
    ),
    (
        "v1_chat",
        "POST",
        "/v1/chat/completions",
        r#"{"model":"smollm2:135m","max_tokens":2,"messages":[{"role":"user","content":"Hi"}]}"#,
    ),
    (
        "v1_chat_stream",
        "POST",
        "/v1/chat/completions",
        r#"{"model":"smollm2:135m","stream":true,"max_tokens":2,"messages":[{"role":"user","content":"Hi"}]}"#,
    ),
    ("v1_embed", "POST", "/v1/embeddings", r#"{"model":"all-minilm","input":"one"}"#),
    (
        "v1_embed_b64",
        "POST",
        "/v1/embeddings",
        r#"{"model":"all-minilm","input":"one","encoding_format":"base64"}"#,
    ),
    (
        "v1_messages",
        "POST",
        "/v1/messages",
        r#"{"model":"smollm2:135m","max_tokens":2,"messages":[{"role":"user","content":"Hi"}]}"#,
    ),
    (
        "v1_messages_stream",
        "POST",
        "/v1/messages",
        r#"{"model":"smollm2:135m","stream":true,"max_tokens":2,"messages":[{"role":"user","content":"Hi"}]}"#,
    ),
    ("v1_models", "GET", "/v1/models", ""),
    (
        "v1_responses",
        "POST",
        "/v1/responses",
        r#"{"model":"smollm2:135m","max_output_tokens":4,"input":"Hi"}"#,
    ),
    ("version", "GET", "/api/version", ""),
];

#[tokio::test]
async fn every_capture_has_the_same_shape() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/ollama-captures");
    if !folder.exists() {
        eprintln!("no captures beside the repository: only the texts in this file are compared");
        return;
    }
    for (name, method, path, body) in CAPTURES {
        let ollama = captured_models().await;
        let capture = std::fs::read_to_string(folder.join(format!("{name}.http"))).unwrap();
        let (head, expected) = capture.split_once("\r\n\r\n").unwrap();
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let body = body.replace("LONG", &"word ".repeat(600));
        let answer = ask(&ollama, method.parse().unwrap(), path, &body).await;
        assert_eq!(answer.status.to_string(), head.split(' ').nth(1).unwrap(), "{name}");
        assert_eq!(answer.content_type, header("Content-Type:"), "{name}");
        assert_eq!(answer.chunked, header("Transfer-Encoding:") == "chunked", "{name}");
        let frames = |text: &str| {
            let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).map(skeleton).collect();
            (lines.first().cloned(), lines.last().cloned(), lines.iter().rev().nth(1).cloned())
        };
        assert_eq!(frames(&answer.body), frames(expected), "{name}");
    }
}
