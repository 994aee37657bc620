//! How long a review takes beside the model's own time, and what it costs in calls to GitHub: the real claude-endpoint
//! and ollama-endpoint as processes, with stand-ins for GitHub, the model and Ollama in this one.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use http::Method;
use serde_json::{Value, json};
use shared::{client::SignedClient, signature::SigningKeys};

use super::{
    Part, SIGNING_KEY, Setup, machine,
    process::{Process, free_address},
    remove,
    report::{self, Bound, Goal, milliseconds},
};
use crate::{
    anthropic::{Anthropic, reviewer},
    control::Call,
    github::{GitHub, sha_of},
    ollama::Ollama,
    scenario::{REVIEWER_TOKEN, Scenario},
    webhook,
};

const START_DEADLINE: Duration = Duration::from_secs(20);
/// For one review. The stand-ins answer at once.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pull requests before the first one that counts.
const WARM_UP: u64 = 1;
/// The most calls of a review without retries.
const MOST_CALLS: f64 = 5.0;
/// The prompt may be so much longer than the patch, in percent.
const MOST_OVERHEAD: f64 = 12.0;

/// How many reviews.
#[derive(Debug, Args)]
pub(super) struct Review {
    /// Pull requests, one after the other; each is reviewed twice: when it is opened, and after a push.
    #[arg(long, default_value_t = Self::default().reviews, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    reviews: u64,
}

impl Default for Review {
    fn default() -> Self {
        Self { reviews: 30 }
    }
}

/// The services and what they talk to.
struct Services {
    github: GitHub,
    anthropic: Anthropic,
    client: SignedClient,
    claude: Process,
    memory: Process,
    _ollama: Ollama,
    /// Where the outcomes were read to.
    after: u64,
}

/// What one event came to.
struct Measured {
    to_model: Duration,
    to_review: Duration,
    calls: Vec<Call>,
    overhead: f64,
}

/// All events of a kind.
struct Sums {
    to_model: Histogram<u64>,
    to_review: Histogram<u64>,
    /// Calls of each kind, over all reviews.
    calls: BTreeMap<String, usize>,
    most_calls: usize,
    most_overhead: f64,
}

impl Review {
    /// Shows that it runs.
    pub(super) fn quick() -> Self {
        Self { reviews: 3 }
    }

    /// Measures and prints.
    pub(super) fn run(&self, setup: &Setup) -> anyhow::Result<Part> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.measure(setup))
    }

    async fn measure(&self, setup: &Setup) -> anyhow::Result<Part> {
        let folder = setup.folder("review")?;
        println!("review: stand-ins on loopback, {}", machine::describe(&folder)?);
        println!(
            "GITHUB_PACING_MS=0: with the default each call that creates content waits up to 1 s for the one before"
        );
        let mut services = Services::start(setup, &folder).await?;
        let (mut first, mut later) = (Sums::new()?, Sums::new()?);
        for number in 1..=WARM_UP + self.reviews {
            let opened = services.open(number);
            let measured = services.review(&opened, "opened").await?;
            let fixed = opened.fixed();
            fixed.push_to(&services.github);
            let after_push = services.review(&fixed, "synchronize").await?;
            if number > WARM_UP {
                first.add(&measured);
                later.add(&after_push);
            }
        }
        let Services { claude, memory, .. } = services;
        claude.stop()?;
        memory.stop()?;
        remove(&folder)?;
        self.calls_table(&first, &later);
        let goals = goals(&first, &later, self.reviews);
        let numbers = json!({
            "reviews": self.reviews, "github_pacing_ms": 0, "calls_of_first": first.calls, "calls_of_later": later.calls,
            "goals": goals,
        });
        let failure = goals.iter().find(|goal| !goal.reached).map(|goal| format!("{}: missed", goal.what));
        Ok(Part { name: "review", goals, numbers, failure })
    }

    fn calls_table(&self, first: &Sums, later: &Sums) {
        let kinds: std::collections::BTreeSet<&String> =
            first.calls.keys().chain(later.calls.keys()).collect();
        let each = |sums: &Sums, kind: &str| {
            let count = sums.calls.get(kind).copied().unwrap_or_default();
            format!("{:.2}", count as f64 / self.reviews as f64)
        };
        let row = |kind: &String| vec![kind.clone(), each(first, kind), each(later, kind)];
        let rows: Vec<Vec<String>> = kinds.into_iter().map(row).collect();
        println!();
        report::table(&["GitHub calls per review", "first head", "later head"], &rows);
        println!("`pending` is one more where the model takes longer than 3 s; the stand-in answers at once");
    }
}

fn goals(first: &Sums, later: &Sums, reviews: u64) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (name, sums) in [("first", first), ("later", later)] {
        for percentile in [50.0, 99.0] {
            let mut time = |what: &str, times| {
                let what = format!("{what}, {name}, p{percentile}");
                goals.push(Goal::new(what, milliseconds(times, percentile), "ms", Bound::None));
            };
            time("accepted (202) to the model's first byte", &sums.to_model);
            time("model's last byte to the posted review", &sums.to_review);
        }
    }
    let each = |sums: &Sums| sums.calls.values().sum::<usize>() as f64 / reviews as f64;
    let most = Bound::AtMost(MOST_CALLS);
    goals.push(Goal::new("GitHub calls of a first review, the most", first.most_calls as f64, "", most));
    goals.push(Goal::new("GitHub calls of a later head, on average", each(later), "", Bound::None));
    let most = Bound::AtMost(MOST_OVERHEAD);
    goals.push(Goal::new("prompt over the raw patch, the most", first.most_overhead, "%", most));
    goals
}

impl Sums {
    fn new() -> anyhow::Result<Self> {
        let times = || Histogram::new_with_bounds(1_000, 600_000_000_000, 3);
        let (to_model, to_review) = (times()?, times()?);
        Ok(Self { to_model, to_review, calls: BTreeMap::new(), most_calls: 0, most_overhead: f64::MIN })
    }

    fn add(&mut self, measured: &Measured) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.to_model.saturating_record(nanos(measured.to_model));
        self.to_review.saturating_record(nanos(measured.to_review));
        for call in &measured.calls {
            *self.calls.entry(kind(call)).or_default() += 1;
        }
        self.most_calls = self.most_calls.max(measured.calls.len());
        self.most_overhead = self.most_overhead.max(measured.overhead);
    }
}

/// The first review of a pull request, or its update where a later head brought nothing new.
fn is_posted(call: &Call) -> bool {
    [Method::POST, Method::PUT].contains(&call.method) && call.path.contains("/reviews")
}

/// Method and path, with `…` for what differs from one pull request to the next.
fn kind(call: &Call) -> String {
    let path = call.path.strip_prefix("/repos/").unwrap_or(&call.path);
    let is_id =
        |part: &str| part.contains("...") || part.len() >= 40 || part.bytes().all(|b| b.is_ascii_digit());
    let parts = path.trim_start_matches('/').split('/').skip(if path == call.path { 0 } else { 2 });
    let parts: Vec<&str> = parts.map(|part| if is_id(part) { "…" } else { part }).collect();
    format!("{} {}", call.method, parts.join("/"))
}

impl Services {
    async fn start(setup: &Setup, folder: &Path) -> anyhow::Result<Self> {
        let github = GitHub::start().await.context("no port for GitHub")?;
        Scenario { number: 10_001, ..Scenario::default() }.load_into(&github);
        let anthropic = Anthropic::start(reviewer()).await.context("no port for Anthropic")?;
        let ollama = Ollama::start().await.context("no port for Ollama")?;
        let keys = SigningKeys::parse(&SIGNING_KEY.into())?;
        let (at, memory_at) = (free_address(), free_address());
        let (url, memory_url) = (format!("http://{at}"), format!("http://{memory_at}"));
        let (github_url, model_url, ollama_url) = (github.url(), anthropic.url(), ollama.url());
        let start = |name: &str, port: u16, flags: &[&str]| {
            let mut command = Command::new(setup.program(name)?);
            command.arg("--data-dir").arg(folder.join(name)).args(["--port", &port.to_string()]);
            command.args(["--listen", "127.0.0.1", "--relay-signing-key", SIGNING_KEY]).args(flags);
            Process::start(&mut command, &folder.join(format!("{name}.log")))
        };
        let mut memory = start("ollama-endpoint", memory_at.port(), &["--ollama-url", &ollama_url])?;
        let flags =
            ["--github-token", REVIEWER_TOKEN, "--github-pacing-ms", "0", "--github-api-url", &github_url];
        let model = [
            "--reviewer",
            "anthropic",
            "--anthropic-api-key",
            "sk-ant-bench",
            "--anthropic-base-url",
            &model_url,
        ];
        let flags = [flags.as_slice(), &model, &["--memory-url", &memory_url]].concat();
        let mut claude = start("claude-endpoint", at.port(), &flags)?;
        let client = |name, url: &str| {
            SignedClient::new(name, url.parse()?, keys.clone(), PATIENCE).map_err(anyhow::Error::from)
        };
        ready(&client("ollama-endpoint", &memory_url)?, &mut memory).await?;
        let client = client("claude-endpoint", &url)?;
        ready(&client, &mut claude).await?;
        Ok(Self { github, anthropic, client, claude, memory, _ollama: ollama, after: 0 })
    }

    /// A pull request of that number.
    fn open(&self, number: u64) -> Scenario {
        let head_sha = sha_of(&format!("head of {number}"));
        let scenario = Scenario { number, head_sha, ..Scenario::default() };
        let repository = &scenario.repository;
        self.github.add_pull(repository, scenario.pull(), &scenario.diff);
        self.github.add_range(repository, &scenario.before, &scenario.head_sha, &scenario.increment);
        scenario
    }

    async fn review(&mut self, scenario: &Scenario, action: &str) -> anyhow::Result<Measured> {
        let id = format!("{action}-{}", scenario.number);
        let (asked, called) = (self.anthropic.calls().len(), self.github.calls().len());
        let body = Bytes::from(envelope(&id, action, scenario).to_string());
        let answer = self.client.post("/ai-sync", &id, body).await?;
        let accepted = Instant::now();
        ensure!(answer.status == 202, "{id} was answered {}", answer.status);
        let outcome = self.outcome(&id).await?;
        ensure!(outcome["state"] == "completed", "{id} came to {outcome}");
        let questions = self.anthropic.times_since(asked, |call| call.path == "/v1/messages");
        let posted = self.github.times_since(called, is_posted);
        let (first, _) = questions.first().context("nobody was asked")?;
        let answered = questions.iter().filter_map(|(_, answered)| *answered).max().context("no answer")?;
        let posted = posted
            .iter()
            .find_map(|(_, answered)| *answered)
            .with_context(|| format!("{id} posted no review"))?;
        Ok(Measured {
            to_model: first.saturating_duration_since(accepted),
            to_review: posted.saturating_duration_since(answered),
            calls: self.github.calls_since(called),
            overhead: outcome["detail"]["prompt_overhead_percent"].as_f64().unwrap_or(f64::NAN),
        })
    }

    /// Follows the feed until the delivery has ended.
    async fn outcome(&mut self, id: &str) -> anyhow::Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.claude.check()?;
            let answer = self.client.get(&format!("/outcomes?after={}&wait=5", self.after), None).await?;
            let feed: Value = serde_json::from_slice(&answer.body)?;
            self.after = feed["next"].as_u64().unwrap_or(self.after);
            let outcomes = feed["outcomes"].as_array().into_iter().flatten();
            if let Some(outcome) = outcomes.into_iter().find(|outcome| outcome["delivery"] == id) {
                return Ok(outcome.clone());
            }
        }
        bail!("{id} did not end within {PATIENCE:?}:\n{}", self.claude.last_words())
    }
}

async fn ready(client: &SignedClient, process: &mut Process) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_DEADLINE;
    loop {
        process.check()?;
        if client.get("/readyz", None).await.is_ok_and(|answer| answer.status == 200) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "a service did not become ready:\n{}", process.last_words());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As the relay hands it over.
fn envelope(id: &str, action: &str, it: &Scenario) -> Value {
    json!({
        "version": 1, "id": id, "event": "pull_request", "action": action, "received_at": "2026-11-22T10:00:00Z",
        "repository": {"full_name": it.repository, "private": it.private, "default_branch": it.base_ref},
        "sender": {"login": it.author, "kind": "user"},
        "subject": {"kind": "pull_request", "number": it.number, "head_sha": it.head_sha, "base_sha": it.base_sha,
                    "title": it.title, "author": it.author, "draft": it.draft},
        "payload": webhook::pull_request(it, action),
    })
}
