//! What an operator sees: metrics that fit the dashboard and the alerts in `deploy/`, and logs that can be followed from
//! the webhook to its outcome.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use testkit::{
    scenario::Scenario,
    webhook::{self, Delivery},
};

use crate::{
    journey::journey_is_complete,
    support::{
        WEBHOOK_SECRET, World,
        binaries::{Binaries, Process, port},
        pull_request, until,
    },
};

const DELIVERY: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Lines about the process or a lane, which belong to no single delivery.
const OF_THE_PROCESS: [&str; 6] = [
    "its outcomes cannot be followed; they wait over there",
    "its outcomes are followed again",
    "lane paused; nothing is lost, it goes on when the other side is back",
    "lane goes on",
    "embedding waits; search goes on by words",
    "embedding goes on",
];

fn deploy(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(file)
}

/// The names of our metrics in a text, without what a histogram's series add to them.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("ai_relay_") || word.starts_with("process_"));
    let family = |word: &str| {
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|suffix| word.ends_with(suffix));
        word.strip_suffix(suffix.unwrap_or_default()).unwrap_or(word).to_owned()
    };
    ours.map(family).collect()
}

/// Runs promtool on some input; `None` where it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

async fn scrape(world: &World, address: &str) -> String {
    let answer = world.http.get(format!("http://{address}/metrics")).send().await.unwrap();
    answer.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_those_of_the_dashboard_and_the_alerts() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let mut all = Binaries::new(&world);
    let metrics = format!("127.0.0.1:{}", port());
    let mut flags = world.relay_flags(&all.claude.url, &all.ollama.url);
    let listen = flags.iter().position(|flag| flag == "--metrics-listen").unwrap();
    flags[listen + 1].clone_from(&metrics);
    all.relay = Process::new(&world, "relay", flags);
    all.relay.start(&world).await;

    let used: BTreeSet<String> = ["grafana-dashboard.json", "alerts.yml"]
        .iter()
        .flat_map(|file| names(&fs::read_to_string(deploy(file)).unwrap()))
        .collect();
    assert!(used.len() > 15, "{used:?}");
    let counters = scrape(&world, &metrics).await;
    let before = names(&counters);
    let unborn: Vec<_> =
        used.iter().filter(|name| name.ends_with("_total") && !before.contains(*name)).collect();
    assert!(unborn.is_empty(), "an alert cannot see the first of what is not there at zero: {unborn:?}");

    all.ollama.start(&world).await;
    all.claude.start(&world).await;
    let site = all.site(&world);
    assert_eq!(site.send(&pull_request(DELIVERY, &scenario, "opened")).await, 202);
    assert_eq!(site.send(&Delivery::new("ping-1", "ping", &webhook::ping(&scenario))).await, 200);
    let webhooks = format!("{}/github-webhook", site.relay);
    let forged = pull_request("forged-1", &scenario, "closed");
    assert_eq!(forged.send(&webhooks, "another-secret-than-the-relay-has").await.unwrap().status, 401);
    journey_is_complete(&world, &site, DELIVERY, &scenario).await;

    let text = scrape(&world, &metrics).await;
    let written = names(&text);
    let missing: Vec<_> = used.difference(&written).collect();
    assert!(missing.is_empty(), "the dashboard or an alert uses {missing:?}, which nobody writes:\n{text}");
    for line in [
        r#"ai_relay_webhooks_total{result="accepted"} 1"#,
        r#"ai_relay_webhooks_total{result="unauthorized"} 1"#,
        r#"ai_relay_handovers_total{target="claude",result="accepted"} 1"#,
        r#"ai_relay_outcomes_total{target="claude",state="completed"} 1"#,
        r#"ai_relay_lane_paused{lane="claude"} 0"#,
        r#"ai_relay_target_up{target="ollama"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    for sample in samples {
        let says_too_much = [DELIVERY, "forged-1", "ping-1", &scenario.repository, &scenario.head_sha];
        assert!(!says_too_much.iter().any(|word| sample.contains(*word)), "{sample}");
    }
    if let Some((passed, said)) = promtool(&["check", "metrics"], &text) {
        assert!(passed && said.trim().is_empty(), "promtool check metrics: {said}");
    }
}

#[test]
fn the_alerts_are_sound_and_say_what_to_do() {
    let path = deploy("alerts.yml");
    let text = fs::read_to_string(&path).unwrap();
    let rules = text.matches("- alert: ").count();
    for annotation in ["summary: ", "description: ", "runbook: "] {
        assert_eq!(text.matches(annotation).count(), rules, "each alert has one {annotation}");
    }
    if let Some((passed, said)) = promtool(&["check", "rules", &path.display().to_string()], "") {
        assert!(passed, "promtool check rules: {said}");
    }
    if let Some((passed, said)) =
        promtool(&["test", "rules", &deploy("alerts-test.yml").display().to_string()], "")
    {
        assert!(passed, "promtool test rules: {said}");
    }
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(deploy("grafana-dashboard.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels with one id: {panel}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|one| one["name"] == "datasource" && one["type"] == "datasource"));
}

/// A field of a log line, or of the innermost of its spans that has it.
fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    let spans = line["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = std::iter::once(line).chain(spans.iter().rev());
    all.filter_map(|one| one[name].as_str()).next()
}

/// The lines of a log from the first that names the delivery to the last.
fn journey_in(log: &str) -> Vec<Value> {
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names = |line: &Value| field(line, "delivery").is_some_and(|id| id.contains(DELIVERY));
    let first = lines.iter().position(names).unwrap();
    let last = lines.iter().rposition(names).unwrap();
    lines[first..=last].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_can_be_followed_through_all_logs() {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let mut all = Binaries::new(&world);
    all.start(&world).await;
    let site = all.site(&world);
    let webhook = pull_request(DELIVERY, &scenario, "opened");
    let mut request = world.http.post(format!("{}/github-webhook", site.relay)).body(webhook.body.clone());
    for (name, value) in webhook.headers(WEBHOOK_SECRET) {
        request = request.header(name, value);
    }
    let traced = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    assert_eq!(traced.send().await.unwrap().status(), 202);
    journey_is_complete(&world, &site, DELIVERY, &scenario).await;
    let told = |log: &str, what: &str| log.contains(&format!(r#""message":"{what}""#));
    assert!(until(async || told(&all.relay.log(), "outcome")).await, "{}", all.logs());

    for (name, log) in [
        ("relay", all.relay.log()),
        ("claude-endpoint", all.claude.log()),
        ("ollama-endpoint", all.ollama.log()),
    ] {
        let journey = journey_in(&log);
        assert!(journey.len() >= 2, "{name} says nothing:\n{log}");
        for line in &journey {
            let message = line["message"].as_str().unwrap();
            let is_ours = field(line, "delivery").is_some_and(|id| id.contains(DELIVERY));
            assert!(
                is_ours || OF_THE_PROCESS.contains(&message),
                "{name} does not say for which delivery: {line}"
            );
        }
        let traced = journey.iter().filter(|line| field(line, "trace_id") == Some(TRACE)).count();
        assert!(traced >= 2, "{name} does not name the trace:\n{log}");
    }
    // Each step of the work itself is in the trace, also what the claude-endpoint told the memory.
    for (log, message) in [
        (all.relay.log(), "accepted"),
        (all.relay.log(), "handed over"),
        (all.claude.log(), "accepted"),
        (all.claude.log(), "review made"),
        (all.claude.log(), "ended"),
        (all.ollama.log(), "accepted"),
        (all.ollama.log(), "ended"),
    ] {
        let found = journey_in(&log)
            .iter()
            .any(|line| line["message"] == message && field(line, "trace_id") == Some(TRACE));
        assert!(found, "no `{message}` in the trace:\n{log}");
    }
    let told_by_claude = journey_in(&all.ollama.log()).iter().any(|line| {
        field(line, "delivery") == Some(&format!("update:review-{DELIVERY}"))
            && field(line, "trace_id") == Some(TRACE)
    });
    assert!(told_by_claude, "the call to the memory carries no trace:\n{}", all.ollama.log());
}
