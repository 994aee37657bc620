//! `/mcp` over HTTP, as an agent's client speaks to it.

mod any_body;
mod doors;
mod history;
mod tools;

use http::HeaderValue;
use serde_json::{Value, json};

use super::running::{Running, TOKEN, start, until};

const ACCEPT: &str = "application/json, text/event-stream";

/// An MCP client of the older generation: it has introduced itself.
struct Agent {
    service: Running,
    session: Option<HeaderValue>,
}

/// An answer's status and body.
type Answer = (u16, Value);

fn request(service: &Running, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
    let request = service.request("POST", "/mcp").bearer_auth(TOKEN).header("accept", ACCEPT);
    request.header("content-type", "application/json").body(body)
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
}

fn message(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
}

fn introduction(version: &str, name: &str) -> String {
    let client = json!({"name": name, "version": "1"});
    message("initialize", json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client}))
}

/// A request of the newest generation, which says everything itself.
async fn modern(service: &Running, method: &str, mut params: Value) -> Answer {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "modern-agent", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let named = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
    let request = request(service, message(method, params));
    let request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
    answer(match named {
        Some(name) => request.header("mcp-name", name),
        None => request,
    })
    .await
}

impl Agent {
    async fn meet(service: Running) -> Self {
        let response = request(&service, introduction("2025-06-18", "claude-code")).send().await.unwrap();
        let session = response.headers().get("mcp-session-id").cloned();
        assert_eq!(response.status().as_u16(), 200);
        Self { service, session }
    }

    async fn ask(&self, method: &str, params: Value) -> Answer {
        let request = request(&self.service, message(method, params));
        let request = request.header("mcp-protocol-version", "2025-06-18");
        answer(request.header("mcp-session-id", self.session.clone().unwrap())).await
    }

    /// The result of a tool.
    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let (status, answer) = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert_eq!(status, 200, "{answer}");
        answer["result"].clone()
    }

    /// What a tool answers to a call that it can do.
    async fn told(&self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        assert!(!result["content"][0]["text"].as_str().unwrap().is_empty());
        result["structuredContent"].clone()
    }

    /// What a tool says to a call that it cannot do.
    async fn refused(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert!(result["isError"] == true && result.get("structuredContent").is_none(), "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// The id of the memory that says this, once it can be found.
    async fn remembers(&self, repository: &str, text: &str) -> String {
        self.told("memory_add", json!({"repository": repository, "text": text, "kind": "decision"})).await;
        let found = async || {
            let found = self.told("memory_recent", json!({"repository": repository, "limit": 50})).await;
            let memories = found["memories"].as_array().unwrap().clone();
            let said = |memory: &Value| text.starts_with(memory["text"].as_str().unwrap());
            memories.into_iter().find(said).map(|memory| memory["id"].clone())
        };
        until(async || found().await.is_some()).await;
        found().await.unwrap().as_str().unwrap().to_owned()
    }
}
