//! One webhook, one review with its comments at the right lines, one memory that a search finds, one outcome.

use serde_json::{Value, json};
use testkit::scenario::{REVIEWER, Scenario};

use crate::support::{
    Site, World,
    binaries::Binaries,
    in_process::{self, Services},
    pull_request, until,
};

/// What must be true after the journey of `scenario`'s event `id`, however often it was interrupted.
pub async fn journey_is_complete(world: &World, site: &Site, id: &str, scenario: &Scenario) {
    site.until(id, "claude", "completed").await;
    site.until(id, "ollama", "completed").await;
    let reviews = world.github.reviews(&scenario.repository, scenario.number);
    assert_eq!(reviews.len(), 1, "one review: {reviews:#?}");
    let review = &reviews[0];
    assert_eq!(
        (review.user.login.as_str(), review.commit_id.as_str()),
        (REVIEWER, scenario.head_sha.as_str())
    );
    comments_are_where_their_lines_are(world, scenario);
    assert!(
        world.github.calls().iter().all(|call| call.status != Some(422)),
        "GitHub never had to refuse a comment"
    );
    let delivery = site.delivery(id).await.unwrap();
    let claude = &delivery["targets"][0];
    assert_eq!(claude["outcome"]["url"], json!(review.html_url));
    assert_eq!(claude["outcome"]["detail"]["posted"], json!(true));
    // The memory's own queue may still hold it: it was taken, not yet stored.
    assert!(
        until(async || !review_memories(site, scenario).await.is_empty()).await,
        "the review is remembered"
    );
    let memories = review_memories(site, scenario).await;
    assert_eq!(memories.len(), 1, "one memory of the review: {memories:#?}");
}

/// The stand-in refuses a comment outside of the diff; here each one is held against the line that it is about.
fn comments_are_where_their_lines_are(world: &World, scenario: &Scenario) {
    let comments = world.github.comments(&scenario.repository, scenario.number);
    assert!(comments.len() >= 3, "several findings are inline: {comments:#?}");
    for comment in &comments {
        let line = comment.line.unwrap_or_default();
        let text = line_of(&scenario.diff, &comment.path, usize::try_from(line).unwrap());
        let defects = ["format!(\"SELECT", "unwrap()", "innerHTML", "<=", "page", "$", "total"];
        assert!(defects.iter().any(|defect| text.contains(defect)), "{}:{line} is {text:?}", comment.path);
    }
}

/// Line `number` of the new side of `path`, read off the diff.
fn line_of<'a>(diff: &'a str, path: &str, number: usize) -> &'a str {
    let file = diff.split("diff --git ").find(|file| file.contains(&format!("+++ b/{path}\n"))).unwrap();
    let mut next = 0;
    for line in file.lines().skip_while(|line| !line.starts_with("@@")) {
        if let Some(header) = line.strip_prefix("@@ ") {
            let new = header.split('+').nth(1).unwrap();
            next = new.split([',', ' ']).next().unwrap().parse().unwrap();
        } else if !line.starts_with('-') {
            if next == number {
                return &line[1..];
            }
            next += 1;
        }
    }
    panic!("{path} has no line {number} in the diff");
}

async fn review_memories(site: &Site, scenario: &Scenario) -> Vec<Value> {
    let found = site.search(&scenario.repository, "search orders customer").await;
    found.into_iter().filter(|memory| memory["kind"] == "review").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_becomes_a_review_a_memory_and_an_outcome() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let services = Services::start(&world).await;
    let site = services.site(&world);
    assert_eq!(site.send(&pull_request("d1", &scenario, "opened")).await, 202);
    journey_is_complete(&world, &site, "d1", &scenario).await;

    assert_eq!(site.send(&pull_request("d1", &scenario, "opened")).await, 200, "the same delivery");
    assert_eq!(
        site.send(&pull_request("d2", &scenario, "opened")).await,
        200,
        "the same body under another id"
    );
    let asked = world
        .http
        .post(format!("{}/api/deliveries/d1/redeliver", site.relay))
        .bearer_auth(crate::support::ADMIN_TOKEN);
    assert_eq!(asked.send().await.unwrap().status(), 202);
    let sent_again = async || {
        site.delivery("d1").await.is_some_and(|it| it["redelivery"] == 1 && it["state"] == "completed")
    };
    assert!(until(sent_again).await);
    journey_is_complete(&world, &site, "d1", &scenario).await;
    let reviews = world.anthropic.requests().into_iter().filter(|request| request.asks_for("findings"));
    assert_eq!(reviews.count(), 1, "the model was paid for one review");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_head_is_reviewed_and_the_memory_of_the_last_review_is_recalled() {
    let first = Scenario::default();
    let world = World::start(&first).await;
    let services = Services::start(&world).await;
    let site = services.site(&world);
    site.send(&pull_request("d1", &first, "opened")).await;
    journey_is_complete(&world, &site, "d1", &first).await;
    let second = first.fixed();
    second.push_to(&world.github);
    assert_eq!(site.send(&pull_request("d2", &second, "synchronize")).await, 202);
    site.until("d2", "claude", "completed").await;
    let reviews = world.github.reviews(&first.repository, first.number);
    // nothing that it finds is news: the summary is updated in its place
    let summary = &reviews[0].body;
    assert_eq!(reviews.len(), 1);
    assert!(summary.contains(&format!("Reviewed {}", &second.head_sha[..7])), "{summary}");
    assert!(summary.contains("1 fixed"), "{summary}");
    let detail = site.delivery("d2").await.unwrap()["targets"][0]["outcome"]["detail"].clone();
    assert!(detail["recalled"].as_u64().is_some_and(|recalled| recalled > 0), "{detail:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_pull_requests_arrive_while_the_mac_is_away() {
    let numbered =
        |number: u64| Scenario { number, head_sha: format!("{number:040x}"), ..Scenario::default() };
    let world = World::start(&Scenario::default()).await;
    let mut services = Services::start(&world).await;
    let (claude_port, ollama_port) = (port_of(&services.claude.url), port_of(&services.ollama.url));
    let ollama_url = services.ollama.url.clone();
    services.claude.stop().await;
    services.ollama.stop().await;

    let site =
        Site { relay: services.relay.url.clone(), memory: ollama_url.clone(), http: world.http.clone() };
    for number in 101..=150 {
        let scenario = numbered(number);
        scenario.load_into(&world.github);
        assert_eq!(site.send(&pull_request(&format!("pr-{number}"), &scenario, "opened")).await, 202);
    }
    // Two more heads of number 101.
    let (mut head, mut heads) = (numbered(101), vec![numbered(101).head_sha]);
    for push in 1..=2 {
        head = Scenario { updated_at: format!("2026-11-22T11:0{push}:00Z"), ..head.fixed() };
        head.push_to(&world.github);
        heads.push(head.head_sha.clone());
        assert_eq!(site.send(&pull_request(&format!("push-{push}"), &head, "synchronize")).await, 202);
    }

    services.ollama = in_process::ollama(world.ollama_flags(), ollama_port).await;
    services.claude = in_process::claude(world.claude_flags(&ollama_url), claude_port).await;
    for number in 102..=150 {
        site.until(&format!("pr-{number}"), "claude", "completed").await;
        site.until(&format!("pr-{number}"), "ollama", "completed").await;
    }
    site.until("push-2", "claude", "completed").await;
    site.until("push-2", "ollama", "skipped").await;
    for older in ["pr-101", "push-1"] {
        site.until(older, "claude", "superseded").await;
    }
    let reviewed: Vec<Vec<String>> = (101..=150)
        .map(|number| {
            world.github.reviews("acme/shop", number).into_iter().map(|review| review.commit_id).collect()
        })
        .collect();
    assert_eq!(reviewed[0], [heads[2].clone()], "only the newest of three heads");
    assert!(world.github.calls().iter().all(|call| call.status != Some(422)));
    assert!(reviewed.iter().all(|commits| commits.len() == 1), "each once: {reviewed:?}");
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_the_review_is_made_and_remembered_and_posted_after_a_redelivery() {
    let scenario = Scenario { private: false, ..Scenario::default() };
    let world = World::start(&scenario).await;
    let mut services = Services::start(&world).await;
    let port = port_of(&services.claude.url);
    services.claude.stop().await;
    let with_token = world.claude_flags(&services.ollama.url);
    let at = with_token.iter().position(|flag| flag == "--github-token").unwrap();
    let without: Vec<String> = [&with_token[..at], &with_token[at + 2..]].concat();
    services.claude = in_process::claude(without, port).await;
    let site = services.site(&world);
    site.send(&pull_request("d1", &scenario, "opened")).await;
    site.until("d1", "claude", "partial").await;
    let outcome = site.delivery("d1").await.unwrap()["targets"][0]["outcome"].clone();
    assert!(outcome["summary"].as_str().unwrap().contains("GITHUB_TOKEN"), "{outcome:#}");
    assert!(world.github.reviews(&scenario.repository, scenario.number).is_empty());
    assert!(until(async || review_memories(&site, &scenario).await.len() == 1).await);

    services.claude.stop().await;
    services.claude = in_process::claude(with_token, port).await;
    let again = world
        .http
        .post(format!("{}/api/deliveries/d1/redeliver", site.relay))
        .bearer_auth(crate::support::ADMIN_TOKEN);
    assert_eq!(again.send().await.unwrap().status(), 202);
    journey_is_complete(&world, &site, "d1", &scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_reviewer_events_wait_and_health_says_what_to_set() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let mut services = Services::start(&world).await;
    let port = port_of(&services.claude.url);
    services.claude.stop().await;
    let ready = world.claude_flags(&services.ollama.url);
    let none =
        ready.iter().map(|flag| if flag == "anthropic" { "none".to_owned() } else { flag.clone() }).collect();
    services.claude = in_process::claude(none, port).await;
    let site = services.site(&world);
    site.send(&pull_request("d1", &scenario, "opened")).await;
    site.until("d1", "claude", "handed_over").await;
    let health = async || -> Value {
        world.http.get(format!("{}/health", services.claude.url)).send().await.unwrap().json().await.unwrap()
    };
    let waits = async || health().await.to_string().contains("events wait");
    assert!(until(waits).await, "{:#}", health().await);
    let report = health().await;
    assert_eq!(report["status"], "warn");
    assert!(report.to_string().contains("ANTHROPIC_API_KEY"), "{report:#}");

    services.claude.stop().await;
    services.claude = in_process::claude(ready, port).await;
    journey_is_complete(&world, &site, "d1", &scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_the_default_branch_is_reviewed_and_remembered() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let services = Services::start(&world).await;
    let site = services.site(&world);
    let mut payload = testkit::webhook::push(&scenario);
    payload["ref"] = json!("refs/heads/main");
    site.send(&testkit::webhook::Delivery::new("d1", "push", &payload)).await;
    site.until("d1", "claude", "completed").await;
    site.until("d1", "ollama", "completed").await;
    assert!(!site.search(&scenario.repository, "search").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_s_own_test_event_goes_the_whole_way_and_leaves_nothing() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let services = Services::start(&world).await;
    let site = services.site(&world);
    let request =
        world.http.post(format!("{}/test-webhook", site.relay)).bearer_auth(crate::support::ADMIN_TOKEN);
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    let id = answer["delivery"].as_str().unwrap();
    for target in ["claude", "ollama"] {
        site.until(id, target, "skipped").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_binaries_do_the_same_and_log_no_secret() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let mut binaries = Binaries::new(&world);
    binaries.start(&world).await;
    let site = binaries.site(&world);
    assert_eq!(site.send(&pull_request("d1", &scenario, "opened")).await, 202);
    journey_is_complete(&world, &site, "d1", &scenario).await;
    let logs = binaries.logs();
    for step in ["diff read", "memory recalled", "review made", "posted", "remembered", "handed over"] {
        assert!(logs.contains(step), "the log does not tell `{step}`:\n{logs}");
    }
    use crate::support::{ADMIN_TOKEN, MEMORY_TOKEN, SIGNING_KEY, WEBHOOK_SECRET};
    for secret in [
        ADMIN_TOKEN,
        MEMORY_TOKEN,
        SIGNING_KEY,
        WEBHOOK_SECRET,
        "sk-ant-testkit",
        testkit::scenario::REVIEWER_TOKEN,
    ] {
        assert!(!logs.contains(secret), "a secret is in the logs");
    }
}
