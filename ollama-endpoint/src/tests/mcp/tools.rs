//! The six tools: what is said of them, what they do, and what they say when they cannot.

use super::*;

#[tokio::test]
async fn the_tools_are_listed_like_this() {
    let agent = Agent::meet(start().await).await;
    let (_, answer) = agent.ask("tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let order = ["search", "briefing", "add", "get", "forget", "recent"].map(|tool| format!("memory_{tool}"));
    assert_eq!(names, order);
    for tool in tools {
        let hints = tool["annotations"].as_object().unwrap();
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(hints[hint].is_boolean(), "{hint} of {}", tool["name"]);
        }
        for (name, property) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(
                property["description"].is_string() && property["type"].is_string(),
                "{name}: {property}"
            );
        }
    }
    insta::assert_json_snapshot!(tools);
}

#[tokio::test]
async fn what_one_agent_adds_the_next_finds() {
    let agent = Agent::meet(start().await).await;
    let text = "Retries are capped at five, because GitHub bans faster clients";
    let id = agent.remembers("o/r", text).await;
    agent.remembers("o/other", "Deploys happen on Tuesdays").await;

    let found = agent
        .told("memory_search", json!({"query": "retries capped", "repository": "o/r", "limit": 3}))
        .await;
    let memory = &found["memories"][0];
    assert_eq!(
        (&memory["id"], &memory["text"], &memory["kind"]),
        (&json!(id), &json!(text), &json!("decision"))
    );
    assert_eq!((&memory["source"]["agent"], &memory["untrusted"]), (&json!("claude-code"), &json!(false)));
    assert!(memory["score"].as_f64().unwrap() > 0.0);

    let got = agent.call("memory_get", json!({"id": id})).await;
    assert_eq!(got["structuredContent"]["text"], text);
    let shown = got["content"][0]["text"].as_str().unwrap();
    assert!(
        shown.contains(&format!("> {text}")) && shown.contains(&id) && shown.contains("by claude-code"),
        "{shown}"
    );

    for (filter, found) in [
        (json!({"agent": "claude-code", "kind": "decision"}), 2),
        (json!({"agent": "jules"}), 0),
        (json!({"path": "src"}), 0),
        (json!({"since": "2026-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}), 2),
        (json!({"until": "2026-01-01T00:00:00Z"}), 0),
    ] {
        let recent = agent.told("memory_recent", filter.clone()).await;
        assert_eq!(recent["memories"].as_array().unwrap().len(), found, "{filter}");
    }
    let recent = agent.told("memory_recent", json!({"limit": 1})).await;
    assert_eq!(recent["memories"][0]["text"], "Deploys happen on Tuesdays");
    let briefing = json!({"repository": "o/r", "query": "retries", "paths": ["src/retry.rs"], "budget": 200});
    let briefed = agent.told("memory_briefing", briefing).await;
    assert!(briefed["text"].as_str().unwrap().contains("capped at five"), "{briefed}");
    assert_eq!(briefed["sources"][0]["id"], id);
    let nothing = agent.told("memory_search", json!({"query": "zebra", "repository": "o/none"})).await;
    assert_eq!(nothing["memories"], json!([]));
}

#[tokio::test]
async fn an_addition_is_an_update_like_any_other() {
    let agent = Agent::meet(start().await).await;
    let add = json!({
        "repository": "o/r", "text": "The cache is keyed by commit", "agent": "jules", "branch": "main",
        "paths": ["src/cache.rs"], "commits": ["a".repeat(40)], "pull_request": 7, "url": "https://example.com/7", "id": "mine",
    });
    let added = agent.told("memory_add", add.clone()).await;
    assert_eq!(added, json!({"status": "accepted", "id": "update:mine", "agent": "jules"}));
    let again = agent.call("memory_add", add).await;
    assert_eq!(again["structuredContent"]["status"], "duplicate");
    assert!(again["content"][0]["text"].as_str().unwrap().contains("accepted before"));
    let outcome = agent.service.outcome(0).await;
    assert_eq!(
        (&outcome["delivery"], &outcome["summary"]),
        (&json!("update:mine"), &json!("1 memory stored"))
    );
    let found = agent.told("memory_recent", json!({})).await;
    let source = &found["memories"][0]["source"];
    assert_eq!(
        (&source["paths"], &source["pull_request"]),
        (&json!(["src/cache.rs"]), &json!(7)),
        "{source}"
    );
}

#[tokio::test]
async fn forgetting_is_looked_at_first() {
    let agent = Agent::meet(start().await).await;
    let (first, second) = (
        agent.remembers("o/r", "The password is hunter2").await,
        agent.remembers("o/r", "Tea is at four").await,
    );
    let dry = agent
        .told(
            "memory_forget",
            json!({"query": "password", "repository": "o/r", "limit": 1, "reason": "secret"}),
        )
        .await;
    assert_eq!((&dry["dry_run"], &dry["forgotten"][0]["id"]), (&json!(true), &json!(first)));
    assert!(agent.told("memory_get", json!({"id": first})).await.is_object(), "it is still there");

    let ids = json!({"ids": [&first[..8], "unheard-of"], "reason": "secret"});
    let gone = agent.told("memory_forget", ids).await;
    assert_eq!((&gone["dry_run"], gone["forgotten"].as_array().unwrap().len()), (&json!(false), 1));
    assert_eq!(gone["unknown"], json!(["unheard-of"]));
    assert!(agent.refused("memory_get", json!({"id": first})).await.contains("no memory with this id"));

    let query = json!({"query": "tea", "dry_run": false, "reason": "not about code"});
    assert_eq!(agent.told("memory_forget", query).await["forgotten"][0]["id"], second);
    assert_eq!(agent.told("memory_recent", json!({})).await["memories"], json!([]));
}

#[tokio::test]
async fn a_refusal_names_the_argument_and_what_it_takes() {
    let agent = Agent::meet(start().await).await;
    let long = "x".repeat(9_000);
    for (tool, arguments, expected) in [
        ("memory_search", json!({}), "`query`"),
        ("memory_search", json!({"query": " "}), "memory_recent"),
        ("memory_search", json!({"query": long}), "`query` is longer than"),
        ("memory_search", json!({"query": "x", "limit": 51}), "`limit` must be a number from 1 to 50"),
        ("memory_search", json!({"query": "x", "limit": "ten"}), "`limit` cannot be read"),
        ("memory_search", json!({"query": "x", "as_of": "yesterday"}), "2026-11-22T10:00:00Z"),
        ("memory_search", json!({"query": "x", "repo": "o/r"}), "unknown field `repo`"),
        ("memory_recent", json!({"limit": 0}), "`limit`"),
        ("memory_briefing", json!({"query": "x"}), "`repository`"),
        (
            "memory_briefing",
            json!({"repository": "o/r", "budget": 1}),
            "`budget` must be a number from 100 to 32000",
        ),
        ("memory_briefing", json!({"repository": "o/r", "paths": [""]}), "`paths[0]`"),
        ("memory_add", json!({"repository": "o/r"}), "`text`"),
        ("memory_add", json!({"repository": "o/r", "text": " "}), "`text` is empty"),
        ("memory_add", json!({"repository": "nowhere", "text": "x"}), "`repository` must be `owner/name`"),
        ("memory_add", json!({"repository": "o/r", "text": "x", "url": "ftp://x"}), "`url`"),
        ("memory_add", json!({"repository": "o/r", "text": "x".repeat(300_000)}), "at most 262144 bytes"),
        ("memory_add", json!({"repository": "o/r", "text": "x", "commits": ["main"]}), "`commits`"),
        ("memory_get", json!({"id": 3}), "`id` cannot be read"),
        ("memory_get", json!({"id": "unheard-of"}), "no memory with this id"),
        ("memory_forget", json!({"ids": ["x"]}), "`reason`"),
        ("memory_forget", json!({"reason": "x"}), "either `ids` or `query`"),
        ("memory_forget", json!({"ids": ["x"], "query": "x", "reason": "x"}), "either `ids` or `query`"),
        ("memory_forget", json!({"ids": [], "reason": "x"}), "`ids` must have 1 to 100 items"),
        ("memory_forget", json!({"ids": ["x"], "reason": " "}), "`reason` is empty"),
    ] {
        let refusal = agent.refused(tool, arguments.clone()).await;
        assert!(refusal.contains(expected), "{tool} {arguments}: {refusal}");
    }
}

/// Whether a value is what its schema says; as much of JSON Schema as the tools use.
fn fits(schema: &Value, value: &Value, root: &Value) -> bool {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(root.pointer(&name[1..]).unwrap(), value, root);
    }
    match schema["type"].as_str().unwrap() {
        "object" => value.as_object().is_some_and(|object| {
            let required = schema["required"].as_array().into_iter().flatten();
            required.map(|name| name.as_str().unwrap()).all(|name| object.contains_key(name))
                && object.iter().all(|(name, value)| fits(&schema["properties"][name], value, root))
        }),
        "array" => {
            value.as_array().is_some_and(|items| items.iter().all(|item| fits(&schema["items"], item, root)))
        }
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        other => panic!("a client would have to know {other}"),
    }
}

#[tokio::test]
async fn answers_have_the_form_that_was_announced() {
    let agent = Agent::meet(start().await).await;
    let id = agent.remembers("o/r", &"Long stories are cut short. ".repeat(200)).await;
    let (_, list) = agent.ask("tools/list", json!({})).await;
    for (at, arguments) in [
        json!({"query": "stories"}),
        json!({"repository": "o/r", "query": "stories", "budget": 5_000}),
        json!({"repository": "o/r", "text": "Short ones are not"}),
        json!({"id": id}),
        json!({"query": "stories", "reason": "test"}),
        json!({}),
    ]
    .into_iter()
    .enumerate()
    {
        let tool = &list["result"]["tools"][at];
        let told = agent.told(tool["name"].as_str().unwrap(), arguments).await;
        assert!(fits(&tool["outputSchema"], &told, &tool["outputSchema"]), "{}: {told}", tool["name"]);
    }
    let found = agent.told("memory_search", json!({"query": "stories"})).await;
    let text = found["memories"][0]["text"].as_str().unwrap();
    assert!(found["memories"][0]["truncated"] == true && text.len() <= 2_000);
    let whole = agent.told("memory_get", json!({"id": id})).await;
    assert!(whole["truncated"] == false && whole["text"].as_str().unwrap().len() > 5_000);
}
