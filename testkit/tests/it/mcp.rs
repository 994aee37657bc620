//! The memory over MCP, for clients that nobody of this project wrote: the official Python package, and the Claude CLI.

use std::{path::Path, process::Command, sync::Arc};

use serde_json::{Value, json};
use testkit::{
    anthropic::{Reply, Request},
    scenario::Scenario,
};

use crate::support::{
    MEMORY_TOKEN, World,
    in_process::{self, Running},
    tools, until,
};

const REPOSITORY: &str = "octo/harbour";
const FACT: &str = "The staging database is reset every Sunday at noon.";
const SEARCH: &str = "mcp__memory__memory_search";

async fn start() -> (World, Running) {
    let world = World::start(&Scenario::default()).await;
    let memory = in_process::ollama(world.ollama_flags(), 0).await;
    (world, memory)
}

async fn official_client(mode: &str) {
    let Some(python) = tools::python() else { return };
    let (_world, memory) = start().await;
    let mut client = python.script("mcp_client.py");
    client.args([memory.url.as_str(), MEMORY_TOKEN, mode, REPOSITORY]);
    assert_eq!(tools::run(client).await, "everything is as it should be\n");
    memory.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_that_introduces_itself() {
    official_client("legacy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_of_the_newest_generation() {
    official_client("auto").await;
}

/// The real CLI with a home of its own.
fn claude(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(tools::claude_cli());
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", home).current_dir(home);
    command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").args(arguments);
    command
}

/// `claude mcp add`, as README has it, in that home.
async fn add_to_claude(home: &Path, memory: &Running, token: &str) {
    let (header, url) = (format!("Authorization: Bearer {token}"), format!("{}/mcp", memory.url));
    // The header comes last: the CLI would take a name behind it for another header.
    let add = ["mcp", "add", "--scope", "user", "--transport", "http", "memory", &url, "--header", &header];
    tools::run(claude(home, &add)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claude_cli_connects_after_one_line() {
    let (_world, memory) = start().await;
    let home = tempfile::tempdir().unwrap();
    add_to_claude(home.path(), &memory, MEMORY_TOKEN).await;
    for arguments in [&["mcp", "list"][..], &["mcp", "get", "memory"]] {
        let said = tools::run(claude(home.path(), arguments)).await;
        assert!(said.contains("Connected"), "{said}");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    add_to_claude(elsewhere.path(), &memory, "something-else-entirely").await;
    let said = tools::run(claude(elsewhere.path(), &["mcp", "list"])).await;
    assert!(said.contains("memory: ") && !said.contains("Connected"), "{said}");
    memory.stop().await;
}

/// A model that searches the memory and then says what it found.
fn searcher(request: &Request) -> Reply {
    match request.tool_result() {
        Some(found) => Reply::text(format!("The memory says: {found}")),
        None if request.tools().contains(&SEARCH) => {
            Reply::tool(SEARCH, json!({"query": "staging database reset", "repository": REPOSITORY}))
        }
        None => Reply::text("I was not given the memory."),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_in_the_claude_cli_finds_what_is_remembered() {
    let (world, memory) = start().await;
    let update = json!({"repository": REPOSITORY, "context": FACT, "kind": "convention"});
    let sent =
        world.http.post(format!("{}/memory-update", memory.url)).bearer_auth(MEMORY_TOKEN).json(&update);
    assert_eq!(sent.send().await.unwrap().status(), 202);
    let stats = async || -> Value {
        let asked = world.http.get(format!("{}/memory/stats", memory.url)).bearer_auth(MEMORY_TOKEN);
        asked.send().await.unwrap().json().await.unwrap()
    };
    assert!(until(async || stats().await["memories"] == 1).await, "{}", stats().await);

    world.anthropic.respond_with(Arc::new(searcher));
    let home = tempfile::tempdir().unwrap();
    add_to_claude(home.path(), &memory, MEMORY_TOKEN).await;
    let question = ["-p", "When is the staging database reset?", "--model", "claude-sonnet-5-5"];
    let mut command = claude(home.path(), &question);
    command.args(["--output-format", "json", "--allowedTools", SEARCH]);
    command.env("ANTHROPIC_BASE_URL", world.anthropic.url()).env("ANTHROPIC_API_KEY", "sk-ant-test");
    let said: Value = serde_json::from_str(&tools::run(command).await).unwrap();
    let result = said["result"].as_str().unwrap_or_default();
    assert!(result.contains(FACT), "{said:#}");
    memory.stop().await;
}
