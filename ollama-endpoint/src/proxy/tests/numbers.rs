//! What the metrics tell. The recorder is this thread's, and all of a test runs on it.

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;

/// Serves one answer to `path` in these pieces and says which numbers there are afterwards.
async fn after(path: &str, pieces: &[&str]) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let fixture = Fixture::new(limits()).await;
    let mut caller =
        fixture.caller(&format!("POST {path} HTTP/1.1\r\nhost: p\r\ncontent-length: 2\r\n\r\n{{}}")).await;
    let mut ollama = fixture.ollama().await;
    ollama.until("\r\n\r\n{}").await;
    ollama.send(STREAM).await;
    caller.until("\r\n\r\n").await;
    assert!(!handle.render().contains("first_byte_seconds_count"), "a head is no byte of the body");
    for piece in pieces {
        ollama.send(&format!("{:X}\r\n{piece}\r\n", piece.len())).await;
        caller.until(&format!("{piece}\r\n")).await;
        assert!(handle.render().contains("ollama_proxy_first_byte_seconds_count 1"));
    }
    ollama.send("0\r\n\r\n").await;
    caller.until("0\r\n\r\n").await;
    // The end of the answer is sent before its body is let go of.
    drop(caller);
    while fixture.inner.slots.available_permits() < limits().concurrency {
        tokio::task::yield_now().await;
    }
    handle.render()
}

fn tokens(text: &str) -> [Option<&str>; 2] {
    ["in", "out"].map(|direction| {
        let name = format!("ollama_proxy_tokens_total{{direction=\"{direction}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name))
    })
}

#[tokio::test]
async fn tokens_are_counted_in_passing() {
    let ndjson = ["{\"done\":false}\n{\"done\":true,\"prompt_eval_co", "unt\":11,\"eval_count\":6}\n"];
    assert_eq!(tokens(&after("/api/chat", &ndjson).await), [Some("11"), Some("6")]);
    let events = ["data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n", "data: [DONE]\n\n"];
    assert_eq!(tokens(&after("/v1/chat/completions", &events).await), [Some("3"), Some("4")]);
    assert_eq!(tokens(&after("/api/show", &["{\"license\":\"\"}"]).await), [None, None]);
}

#[tokio::test]
async fn what_the_proxy_answers_itself_is_not_ollamas_first_byte() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let fixture = Fixture::new(limits()).await;
    fixture.caller("GET /api/x HTTP/1.1\r\nhost: p\r\n\r\n").await.until("}").await;
    let text = handle.render();
    assert!(text.contains("ollama_proxy_requests_total{status=\"403\"} 1"), "{text}");
    assert!(!text.contains("first_byte"), "{text}");
}
