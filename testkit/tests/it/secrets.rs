//! No secret gets to where it does not belong: not into a log, an answer, an error, a metric, a file or a wire that it is
//! not for. Each secret of the configuration has a value of its own; whole journeys are made, good ones and bad ones, and
//! then everything that was written, said or sent is searched for all of them.

mod canaries;
mod mistakes;
mod places;
mod said_back;
mod stage;
mod wires;

use http::{Method, StatusCode};
use serde_json::json;
use testkit::{
    anthropic::Reply,
    control::{Fault, get, post},
    scenario::Scenario,
    webhook::{self, Delivery, sign},
};

use self::{canaries::Canaries, stage::Stage};
use crate::support::{pull_request, until};

/// A word of the pull request's title. Where it is not found, nobody has looked.
const TRACK: &str = "Zanzibar-4711-clove";
/// As GitHub's, with a word to look for.
const DELIVERY: &str = "d1-Zanzibar-4711-clove";

/// What goes where, and is meant to.
const MAY: [(&str, &[&str]); 5] = [
    ("wire from the claude-endpoint to GitHub", &["GITHUB_TOKEN", "HANDOFF_TOKEN"]),
    ("wire from the claude-endpoint to Anthropic", &["ANTHROPIC_API_KEY"]),
    ("wire from the claude-endpoint to the memory", &["MEMORY_TOKEN"]),
    ("wire from the relay to GitHub", &["GITHUB_TOKEN", canaries::WEBHOOK_URL, canaries::FOREIGN_HOOK]),
    ("wire from the relay to the extra target", &[canaries::TARGET_URL]),
];

fn scenario(number: u64, title: &str) -> Scenario {
    Scenario { number, title: title.to_owned(), head_sha: format!("{number:040x}"), ..Scenario::default() }
}

/// The whole way, twice: a person's pull request, and one of Jules', which is handed back.
async fn good_journeys(stage: &mut Stage) {
    let opened = scenario(7, &format!("Search orders {TRACK}"));
    stage.open(DELIVERY, &opened).await;
    let footer =
        "*PR created automatically by Jules for task [1](https://jules.google.com/task/1) started by @ann*";
    let body = format!("Adds a search.\n\n---\n{footer}");
    let by_jules = Scenario { author: "google-labs-jules[bot]".into(), body, ..scenario(8, "Search again") };
    stage.open("d2", &by_jules).await;
    for id in [DELIVERY, "d2"] {
        stage.until(id, "claude", "completed").await;
        stage.until(id, "ollama", "completed").await;
    }
    let asked = stage.world.github.issue_comments("acme/shop", 8);
    assert!(
        asked.iter().any(|comment| comment.user.login == "ann"),
        "Jules was asked by its person: {asked:#?}"
    );
    assert!(until(async || stage.memory_says("review").await).await, "the review is remembered");
}

/// Webhooks that are refused, also such as people send who mix up what goes where.
async fn bad_webhooks(stage: &mut Stage) {
    let secret = stage.canaries.get("GITHUB_WEBHOOK_SECRET").to_owned();
    let good = pull_request("bad", &scenario(9, "x"), "opened");
    let url = format!("{}/github-webhook", stage.relay.url);
    let post = |body: Vec<u8>| stage.http().post(&url).header("x-github-event", "push").body(body);
    let json = |body: Vec<u8>| {
        post(body).header("content-type", "application/json").header("x-github-delivery", "bad")
    };
    let signed = |body: &[u8]| json(body.to_vec()).header("x-hub-signature-256", sign(&secret, body));
    let requests = [
        (401, json(good.body.clone())),
        (401, json(good.body.clone()).header("x-hub-signature", "sha1=0000")),
        (
            401,
            json(good.body.clone())
                .header("x-hub-signature-256", sign("another-secret-than-ours", &good.body)),
        ),
        // the secret itself instead of a signature, or as one
        (401, json(good.body.clone()).header("x-hub-signature-256", &secret)),
        (
            401,
            json(good.body.clone()).header("x-hub-signature-256", format!("sha256={}", hex::encode(&secret))),
        ),
        (401, json(good.body.clone()).bearer_auth(&secret)),
        (400, signed(b"{")),
        (400, signed(b"{\"zen\":")),
        (
            400,
            post(b"{}".to_vec())
                .header("content-type", "application/json")
                .header("x-hub-signature-256", sign(&secret, b"{}")),
        ),
        (
            415,
            post(b"a=b".to_vec())
                .header("content-type", "text/plain")
                .header("x-hub-signature-256", sign(&secret, b"a=b")),
        ),
        (413, signed(&vec![b' '; 25 * 1024 * 1024 + 1])),
    ];
    for (status, request) in requests {
        assert_eq!(stage.ask(request).await.0, status);
    }
    let ping = Delivery::new("ping", "ping", &webhook::ping(&scenario(7, "x")));
    assert_eq!(ping.send(&url, &secret).await.unwrap().status, 200);
}

/// Every route of every service: by nobody, by somebody with another service's token, and by who may.
async fn every_route(stage: &mut Stage) {
    let [admin, memory] =
        ["RELAY_ADMIN_TOKEN", "MEMORY_TOKEN"].map(|name| stage.canaries.get(name).to_owned());
    let delivery = format!("/api/deliveries/{DELIVERY}");
    let [relay, claude, ollama] = [&stage.relay, &stage.claude, &stage.ollama].map(|one| one.url.clone());
    let search = format!("/memory/search?repository=acme/shop&q={TRACK}");
    let routes = [
        (
            &relay,
            &admin,
            vec![
                "/health",
                "/livez",
                "/readyz",
                "/api/deliveries",
                "/api/deliveries?limit=x",
                &delivery,
                "/nowhere",
            ],
        ),
        (
            &claude,
            &memory,
            vec!["/health", "/livez", "/readyz", "/metrics", "/outcomes?wait=0", "/ai-sync", "/nowhere"],
        ),
        (
            &ollama,
            &memory,
            vec![
                "/health",
                "/readyz",
                "/metrics",
                "/memory/stats",
                &search,
                "/memory/search",
                "/memory/export",
                "/memory/briefing?repository=acme/shop&q=search",
                "/outcomes?wait=0",
                "/mcp",
                "/api/tags",
                "/v1/models",
                "/api/nothing",
            ],
        ),
    ];
    for (url, right, paths) in &routes {
        for path in paths {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let wrong = if *right == &admin { &memory } else { &admin };
                let request = || stage.http().request(method.clone(), format!("{url}{path}"));
                let sent = [
                    request(),
                    request().bearer_auth("nobody knows this one"),
                    request().bearer_auth(wrong),
                    request().basic_auth("me", Some(right)),
                    request().query(&[("token", right)]),
                    request()
                        .header("webhook-id", "x")
                        .header("webhook-timestamp", "1")
                        .header("webhook-signature", right.as_str()),
                    request().bearer_auth(right),
                ];
                for request in sent {
                    stage.ask(request).await;
                }
            }
        }
    }
    who_may_is_let_in(stage, [&relay, &ollama], [&admin, &memory]).await;
}

/// And what each of them gets who may.
async fn who_may_is_let_in(stage: &mut Stage, [relay, ollama]: [&String; 2], [admin, memory]: [&String; 2]) {
    let all = format!("{relay}/api/deliveries");
    assert_eq!(stage.ask(stage.http().get(&all).bearer_auth(admin)).await.0, 200);
    assert_eq!(stage.ask(stage.http().get(&all).bearer_auth(memory)).await.0, 401);
    let chat =
        json!({"model": "llama3.2", "stream": false, "messages": [{"role": "user", "content": TRACK}]});
    let chat =
        stage.http().post(format!("{ollama}/api/chat")).header("x-ai-relay-memory", "acme/shop").json(&chat);
    assert_eq!(stage.ask(chat.bearer_auth(memory)).await.0, 200);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    for token in [memory, admin] {
        let request = stage.http().post(format!("{ollama}/mcp")).bearer_auth(token).json(&call);
        stage.ask(request.header("accept", "application/json, text/event-stream")).await;
    }
    let metrics = stage.metrics.clone();
    assert!(stage.ask(stage.http().get(metrics)).await.1.contains("ai_relay_"));
}

/// Everybody who is asked refuses, breaks or is away.
async fn failures(stage: &mut Stage) {
    let status = |code| Fault::Status(StatusCode::from_u16(code).unwrap(), vec![]);
    for (number, code) in [(20, 401), (21, 403), (22, 404), (23, 422), (24, 500)] {
        stage.world.github.fail_next(post("/graphql#Context"), status(code));
        let before = stage.world.github.count(&post("/graphql#Context"));
        stage.open(&format!("github-{code}"), &scenario(number, "Refused")).await;
        stage
            .world
            .github
            .wait_until(|| stage.world.github.count(&post("/graphql#Context")) > before)
            .await
            .unwrap();
    }
    for (number, code) in [(30, 400), (31, 529)] {
        let before = stage.world.anthropic.count(&post("/v1/messages"));
        stage.world.anthropic.fail_next(post("/v1/messages"), status(code));
        stage.open(&format!("anthropic-{code}"), &scenario(number, "Not answered")).await;
        stage
            .world
            .anthropic
            .wait_until(|| stage.world.anthropic.count(&post("/v1/messages")) > before)
            .await
            .unwrap();
    }
    let before = stage.world.anthropic.count(&post("/v1/messages"));
    stage.world.anthropic.answer_next(Reply::text("this is no review"));
    stage.open("unusable", &scenario(33, "Answered without sense")).await;
    let asked = || stage.world.anthropic.count(&post("/v1/messages")) > before;
    stage.world.anthropic.wait_until(asked).await.unwrap();
    // after a refused key nobody is asked for a while
    let before = stage.world.anthropic.count(&post("/v1/messages"));
    stage.world.anthropic.fail_next(post("/v1/messages"), status(401));
    stage.open("anthropic-401", &scenario(34, "Not allowed")).await;
    let asked = || stage.world.anthropic.count(&post("/v1/messages")) > before;
    stage.world.anthropic.wait_until(asked).await.unwrap();
    stage.world.ollama.stop().await;
    let tags = stage
        .http()
        .get(format!("{}/api/tags", stage.ollama.url))
        .bearer_auth(stage.canaries.get("MEMORY_TOKEN"));
    assert!(stage.ask(tags).await.0 >= 500);
    stage.world.ollama.start_again().await.unwrap();
    let hooks = stage.world.github.count(&get("/repos/acme/shop/hooks"));
    stage.world.github.fail_next(get("/repos/acme/shop/hooks"), status(500));
    stage
        .world
        .github
        .wait_until(|| stage.world.github.count(&get("/repos/acme/shop/hooks")) > hooks + 1)
        .await
        .unwrap();
}

/// What people and scripts call.
fn commands(stage: &mut Stage) {
    let backup = |name: &str| stage.world.folder.path().join(name).display().to_string();
    let [queue, memory] = ["relay-backup.db", "memory-backup.db"].map(backup);
    for name in ["relay", "claude-endpoint", "ollama-endpoint"] {
        for words in [
            &["--help"][..],
            &["config", "show"],
            &["healthcheck"],
            &["keys"],
            &["doctor"],
            &["doctor", "--json"],
            &["no-such-word"],
            &["--no-such-flag"],
        ] {
            stage.run(name, words);
        }
    }
    // where no webhook leads here, those of others are told
    let before = stage.relay.environment.clone();
    let elsewhere = format!("http://me:{}@127.0.0.1:1/nowhere", stage.canaries.get(canaries::WEBHOOK_URL));
    stage.relay.set("WEBHOOK_URL", &elsewhere);
    stage.run("relay", &["doctor"]);
    stage.relay.environment = before;
    for words in [
        &["deliveries", "list"][..],
        &["deliveries", "list", "--json"],
        &["deliveries", "show", DELIVERY],
        &["deliveries", "show", "no-such-delivery"],
        &["deliveries", "redeliver", "--dry-run"],
        &["backup", &queue],
        &["backup", &queue],
    ] {
        stage.run("relay", words);
    }
    for words in [
        &["search", "acme/shop", TRACK][..],
        &["stats"],
        &["recent"],
        &["export"],
        &["check"],
        &["backup", &memory],
    ] {
        stage.run("ollama-endpoint", words);
    }
    for words in [&["ledger"][..], &["ledger", "--json"]] {
        stage.run("claude-endpoint", words);
    }
}

/// That nothing was found means something only where something would have been.
fn was_looked_at(stage: &Stage) {
    for part in [
        "relay.log",
        "claude-endpoint.log",
        "ollama-endpoint.log",
        "answers",
        "output of relay",
        "output of ollama-endpoint",
        "output of claude-endpoint",
        "wire from the relay to the claude-endpoint",
        "wire from the relay to the ollama-endpoint",
        "wire from the relay to the extra target",
        "wire from the claude-endpoint to GitHub",
        "wire from the claude-endpoint to Anthropic",
        "wire from the claude-endpoint to the memory",
        "wire from the ollama-endpoint to Ollama",
        "relay/queue.db, deliveries",
        "relay/queue.db, payloads, unpacked",
        "claude-endpoint/queue.db, payloads, unpacked",
        "ollama-endpoint/queue.db, payloads, unpacked",
        "ollama-endpoint/memory.db, memories",
        "ollama-endpoint/memory.db, records, unpacked",
        "claude-endpoint/ledger",
        "records/",
        "relay-backup.db, payloads, unpacked",
        "memory-backup.db, memories",
    ] {
        assert!(stage.places.with(part, TRACK) > 0, "nobody looked at {part}: {:#?}", stage.places.names());
    }
    for (part, said) in [
        ("output of relay", "http://redacted@127.0.0.1"),
        ("output of relay", "there are others: https://chat.example, http://127.0.0.1"),
        ("output of claude-endpoint", "it takes MEMORY_TOKEN"),
        ("output of ollama-endpoint", "MEMORY_TOKEN"),
    ] {
        assert!(stage.places.with(part, said) > 0, "{part} does not say {said:?}");
    }
    for (place, names) in MAY {
        for name in names {
            let value = stage.canaries.get(name);
            assert!(stage.places.with(place, value) > 0, "{name} was not sent over the {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_gets_to_where_it_does_not_belong() {
    let mut stage = Stage::set(Canaries::new()).await;
    stage.start().await;
    good_journeys(&mut stage).await;
    bad_webhooks(&mut stage).await;
    every_route(&mut stage).await;
    failures(&mut stage).await;
    commands(&mut stage);
    stage.stop_and_collect();
    was_looked_at(&stage);
    let leaks = stage.places.leaks(&stage.canaries, &MAY);
    assert!(leaks.is_empty(), "secrets have got out: {leaks:#?}");

    // The same search, now that somebody has written two of them into a delivery's id and a pull request's title.
    stage.start().await;
    let [id, title] = [canaries::TARGET_URL, "MEMORY_TOKEN"].map(|name| stage.canaries.get(name).to_owned());
    stage.open(&id, &scenario(40, &title)).await;
    stage.until(&id, "ollama", "completed").await;
    stage.stop_and_collect();
    let leaks = stage.places.leaks(&stage.canaries, &MAY);
    for (place, name) in [
        ("relay.log", canaries::TARGET_URL),
        ("claude-endpoint.log", canaries::TARGET_URL),
        ("ollama-endpoint.log", canaries::TARGET_URL),
        ("answers", "MEMORY_TOKEN"),
        ("relay/queue.db, deliveries", "MEMORY_TOKEN"),
        ("relay/queue.db, payloads, unpacked", "MEMORY_TOKEN"),
        ("claude-endpoint/queue.db, payloads, unpacked", "MEMORY_TOKEN"),
        ("ollama-endpoint/memory.db, memories", "MEMORY_TOKEN"),
        ("wire from the relay to the ollama-endpoint", "MEMORY_TOKEN"),
    ] {
        let planted = format!("{place}: {name}, plain");
        assert!(leaks.contains(&planted), "{planted} is not found: {leaks:#?}");
    }
}
