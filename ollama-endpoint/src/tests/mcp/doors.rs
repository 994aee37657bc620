//! Who comes in, with what, and by which version of the protocol.

use testkit::control::post;

use crate::tests::running::start_with;

use super::*;

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn both_generations_of_the_protocol_are_served() {
    let service = start().await;
    for (asked, agreed) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let (status, answer) = answer(request(&service, introduction(asked, "old"))).await;
        assert_eq!((status, answer["result"]["protocolVersion"].as_str()), (200, Some(agreed)), "{asked}");
        let instructions = answer["result"]["instructions"].as_str().unwrap();
        for word in
            ["memory_briefing", "memory_search", "memory_add", "secrets", "never an instruction", "fork"]
        {
            assert!(instructions.contains(word), "{word}");
        }
    }
    let (status, discovered) = modern(&service, "server/discover", json!({})).await;
    let versions = discovered["result"]["supportedVersions"].as_array().unwrap();
    assert_eq!((status, versions.len()), (200, 5), "{discovered}");
    let (status, tools) = modern(&service, "tools/list", json!({})).await;
    assert_eq!((status, tools["result"]["tools"].as_array().unwrap().len()), (200, 6));
    let add =
        json!({"name": "memory_add", "arguments": {"repository": "o/r", "text": "Modern agents remember"}});
    let (status, added) = modern(&service, "tools/call", add).await;
    assert_eq!(
        (status, &added["result"]["structuredContent"]["agent"]),
        (200, &json!("modern-agent")),
        "{added}"
    );
    let (status, missing) = modern(&service, "resources/read", json!({"uri": "memory://memory/none"})).await;
    assert_eq!((status, &missing["error"]["code"]), (200, &json!(-32602)), "{missing}");
    let (_, refused) = modern(&service, "subscriptions/listen", json!({"notifications": {}})).await;
    assert_eq!(refused["error"]["code"], -32601, "no stream is opened that somebody would have to end");
}

#[tokio::test]
async fn only_the_token_opens_it() {
    let service = start().await;
    let list = message("tools/list", json!({}));
    let bare = service.request("POST", "/mcp").header("accept", ACCEPT).body(list.clone());
    let bare = bare.header("content-type", "application/json");
    let (status, refused) = answer(bare.try_clone().unwrap()).await;
    assert_eq!((status, code(&refused)), (401, "unauthorized"));
    let (status, _) = answer(bare.bearer_auth("another-token-for-the-tests")).await;
    assert_eq!(status, 401);
    let signed = service.signed().post("/mcp", "1", list.clone().into()).await;
    assert!(signed.as_ref().is_ok_and(|answer| answer.status == 401) || signed.is_err(), "{signed:?}");

    let closed = start_with(|config| config.token = None).await;
    let (status, refused) = answer(request(&closed, list)).await;
    assert_eq!((status, code(&refused)), (403, "token_required"));
    assert!(refused["error"]["message"].as_str().unwrap().contains("MEMORY_TOKEN"));
}

#[tokio::test]
async fn other_machines_names_and_their_pages_are_refused() {
    let service = start_with(|config| config.mcp_allowed_hosts = vec!["mac.local".into()]).await;
    let ask = async |header: &str, value: &str| {
        answer(request(&service, message("ping", json!({}))).header(header, value)).await
    };
    for host in ["127.0.0.1", "127.0.0.1:8091", "localhost:8090", "[::1]:8090", "mac.local:8090"] {
        assert_eq!(ask("host", host).await.0, 200, "{host}");
    }
    for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:6274", "http://mac.local:8090"]
    {
        assert_eq!(ask("origin", origin).await.0, 200, "{origin}");
    }
    for (header, value) in [
        ("host", "evil.example"),
        ("host", "192.168.0.7:8090"),
        ("host", "127.0.0.1.evil.example"),
        ("origin", "https://evil.example"),
        ("origin", "http://localhost.evil.example"),
        ("origin", "null"),
        ("origin", ""),
    ] {
        let (status, refused) = ask(header, value).await;
        assert_eq!((status, code(&refused)), (403, "foreign_caller"), "{header}: {value}");
        assert!(refused["error"]["message"].as_str().unwrap().contains("MCP_ALLOWED_HOSTS"));
    }
}

#[tokio::test]
async fn there_is_no_session_to_open_a_stream_for_or_to_end() {
    let agent = Agent::meet(start().await).await;
    for method in ["GET", "DELETE", "PUT"] {
        let request = agent.service.request(method, "/mcp").bearer_auth(TOKEN);
        let request =
            request.header("accept", ACCEPT).header("mcp-session-id", agent.session.clone().unwrap());
        let response = request.send().await.unwrap();
        let allowed = response.headers()["allow"].to_str().unwrap();
        assert_eq!((response.status().as_u16(), allowed), (405, "POST"), "{method}");
    }
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    assert_eq!(answer(request(&agent.service, notification)).await, (202, json!("")));
}

#[tokio::test]
async fn a_restart_ends_no_session() {
    let Agent { service, session } = Agent::meet(start().await).await;
    let agent = Agent { service: service.restarted().await, session };
    let added = agent.told("memory_add", json!({"repository": "o/r", "text": "Restarts are harmless"})).await;
    assert_eq!(added["agent"], "claude-code");
}

#[tokio::test]
async fn a_call_that_is_under_way_is_answered_before_the_service_ends() {
    let agent = Agent::meet(start().await).await;
    agent.remembers("o/r", "Deploys happen on Tuesdays").await;
    agent.service.embedded(1).await;
    let slow = agent.service.ollama.gate(post("/api/embed"));
    let search = json!({"name": "memory_search", "arguments": {"query": "deploys"}});
    let call = tokio::spawn(answer(request(&agent.service, message("tools/call", search))));
    slow.reached().await.unwrap();
    agent.service.restarted().await;
    let (status, answer) = call.await.unwrap();
    assert_eq!((status, &answer["result"]["isError"]), (200, &json!(false)), "{answer}");
}

#[tokio::test]
async fn what_is_no_message_is_told_so() {
    let service = start().await;
    for (body, status, error) in [
        ("", 400, -32700),
        ("{\"jsonrpc\"", 400, -32700),
        ("\u{0}", 400, -32700),
        ("[]", 400, -32600),
        ("3", 400, -32600),
        ("{\"id\":5}", 400, -32600),
        ("{\"jsonrpc\":\"1.0\",\"id\":5,\"method\":\"ping\"}", 400, -32600),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", 400, -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/destroy\"}", 200, -32601),
        ("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\"}", 200, -32602),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{\"name\":\"memory_destroy\"}}",
            200,
            -32602,
        ),
        ("{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"resources/read\",\"params\":{}}", 200, -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}", 400, -32600),
    ] {
        let (got, answer) = answer(request(&service, body.to_owned())).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(error)), "{body}: {answer}");
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
    }
    let too_long = message("ping", json!({"padding": "x".repeat(1024 * 1024)}));
    let (status, refused) = answer(request(&service, too_long)).await;
    assert_eq!((status, code(&refused)), (413, "body_too_large"));
    let text = request(&service, message("ping", json!({}))).header("accept", "text/html");
    assert_eq!(answer(text).await.0, 200, "the first `Accept` suffices");
}
