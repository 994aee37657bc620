//! Sends one pull request event to a running relay and prints its journey as it happens.
//!
//! The relay's admin API tells of hand-over and outcome; the claude-endpoint's log, where it is on this machine,
//! tells of the steps in between.

mod steps;
mod tail;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::steps::{Step, View};
use self::tail::Tail;
use crate::scenario::Scenario;
use crate::webhook::{self, Answer, Delivery};

/// Between two looks at the relay: often enough to be live, too seldom to slow down what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// One call to the relay or to GitHub.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// What the user asked for.
const ANSWER_WITHIN: SignedDuration = SignedDuration::from_millis(10);
const HAND_OVER_WITHIN: SignedDuration = SignedDuration::from_millis(50);

/// The one that is sent of those that are valid.
#[expect(clippy::unnecessary_wraps, reason = "clap takes a parser that can fail")]
fn first(list: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(list.split(',').next().unwrap_or_default().trim().into())
}

/// What is sent, and where it is followed.
#[derive(Debug, clap::Args)]
pub struct Journey {
    /// The running relay
    #[arg(long, env = "RELAY_URL", default_value = "http://127.0.0.1:4200", value_name = "URL")]
    relay: String,
    /// The webhook's secret
    #[arg(long, env = "GITHUB_WEBHOOK_SECRET", hide_env_values = true, value_parser = first)]
    secret: SecretString,
    /// Token of the relay's admin routes
    #[arg(long, env = "RELAY_ADMIN_TOKEN", hide_env_values = true, value_parser = first, required_unless_present = "send_only")]
    admin_token: Option<SecretString>,
    /// The claude-endpoint's log (JSON lines), for the steps in between
    #[arg(long, value_name = "FILE")]
    claude_log: Option<PathBuf>,
    /// A pull request that exists, read from GitHub; without it the made-up one of the stand-in is sent
    #[arg(long, value_name = "OWNER/NAME#NUMBER")]
    pull_request: Option<String>,
    /// Base URL of GitHub's API
    #[arg(long, env = "GITHUB_API_URL", default_value = "https://api.github.com", value_name = "URL")]
    github: String,
    /// Token that may read the pull request
    #[arg(long, env = "GITHUB_TOKEN", hide_env_values = true)]
    github_token: Option<SecretString>,
    /// Seconds that the journey may take
    #[arg(long, default_value = "600")]
    deadline: u64,
    /// Send it and leave
    #[arg(long)]
    send_only: bool,
}

/// Sends the event and follows it to its end.
///
/// # Errors
/// It is not accepted, does not end in time, or ends otherwise than completed; the text says why and what to do.
pub async fn run(journey: &Journey) -> anyhow::Result<()> {
    let delivery = journey.delivery().await?;
    let mut log = journey.claude_log.as_deref().map(Tail::from_end).transpose()?;
    let url = format!("{}/github-webhook", journey.relay.trim_end_matches('/'));
    let answer = delivery.send(&url, journey.secret.expose_secret()).await?;
    let sent_at = Timestamp::now() - SignedDuration::try_from(answer.took)?;
    print_sent(&delivery, &answer)?;
    ensure!(answer.status == 202, "the relay did not take it as a new event; its answer is above");
    if journey.send_only {
        return Ok(());
    }
    let end = journey.follow(&delivery.id, sent_at, log.as_mut()).await?;
    print_numbers(&answer, sent_at, &end)?;
    end.judge()
}

impl Journey {
    async fn delivery(&self) -> anyhow::Result<Delivery> {
        let now = Timestamp::now();
        let payload = match &self.pull_request {
            Some(name) => self.real_pull_request(name).await?,
            // The relay takes the same body twice for a replay, so each has its own time.
            None => {
                let scenario = Scenario { updated_at: now.to_string(), ..Scenario::default() };
                webhook::pull_request(&scenario, "opened")
            }
        };
        let id = webhook::delivery_id(&format!("{now} {}", std::process::id()));
        Ok(Delivery::new(&id, "pull_request", &payload))
    }

    /// The event that GitHub would send for a pull request that exists.
    async fn real_pull_request(&self, name: &str) -> anyhow::Result<Value> {
        let (repository, number) = name
            .split_once('#')
            .filter(|(repository, number)| repository.contains('/') && number.parse::<u64>().is_ok())
            .with_context(|| format!("`{name}` does not name a pull request; write it like owner/name#7"))?;
        let url = format!("{}/repos/{repository}/pulls/{number}", self.github.trim_end_matches('/'));
        let client = shared::client::http(Some(CALL_TIMEOUT))?;
        let mut request = client.get(&url).header("accept", "application/vnd.github+json");
        if let Some(token) =
            self.github_token.as_ref().map(ExposeSecret::expose_secret).filter(|it| !it.is_empty())
        {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
        let status = answer.status();
        ensure!(
            status.is_success(),
            "{url} answered {status}; GITHUB_TOKEN must be allowed to read this repository"
        );
        let pull: Value = answer.json().await.with_context(|| format!("{url} did not answer as GitHub"))?;
        Ok(json!({
            "action": "opened", "number": pull["number"], "repository": pull["base"]["repo"],
            "sender": pull["user"], "pull_request": pull,
        }))
    }

    /// Prints what happens, until every target is done with it.
    async fn follow(&self, id: &str, sent_at: Timestamp, mut log: Option<&mut Tail>) -> anyhow::Result<View> {
        let client = shared::client::http(Some(CALL_TIMEOUT))?;
        let until = Instant::now() + Duration::from_secs(self.deadline);
        let mut printed = BTreeSet::new();
        loop {
            let logged = log.as_mut().map(|log| log.read(id)).transpose()?.unwrap_or_default();
            let view = self.look(&client, id).await?;
            let mut steps: Vec<Step> = view.steps().into_iter().chain(logged).collect();
            steps.retain(|step| printed.insert(step.clone()));
            steps.sort();
            for step in steps {
                println!("{}", step.line(sent_at));
            }
            if view.has_ended() {
                return Ok(view);
            }
            if Instant::now() > until {
                bail!("the journey has not ended after {} s: {}", self.deadline, view.advice());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn look(&self, client: &reqwest::Client, id: &str) -> anyhow::Result<View> {
        let url = format!("{}/api/deliveries/{id}", self.relay.trim_end_matches('/'));
        let token = self.admin_token.as_ref().context("RELAY_ADMIN_TOKEN is not set")?;
        let answer = client.get(&url).bearer_auth(token.expose_secret()).send().await;
        let answer = answer.with_context(|| format!("the relay no longer answers at {}", self.relay))?;
        let status = answer.status();
        let body = answer.text().await.context("the relay broke off its answer")?;
        ensure!(status.is_success(), "the relay's admin API answered {status}: {body}");
        serde_json::from_str(&body).context("the relay's answer cannot be read; is it of another version?")
    }
}

fn print_sent(delivery: &Delivery, answer: &Answer) -> anyhow::Result<()> {
    let payload: Value = serde_json::from_slice(&delivery.body)?;
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    let (repository, number) = (text("/repository/full_name"), &payload["number"]);
    let what = format!("pull_request.{} of {repository}#{number}", text("/action"));
    println!(
        "{}",
        steps::line(
            "0 ms",
            "sent",
            &format!("{what}, {} bytes, delivery {}", delivery.body.len(), delivery.id)
        )
    );
    let took = steps::milliseconds(SignedDuration::try_from(answer.took)?);
    println!("{}", steps::line(&took, "received", &format!("{} {}", answer.status, answer.body)));
    Ok(())
}

fn print_numbers(answer: &Answer, sent_at: Timestamp, end: &View) -> anyhow::Result<()> {
    let took = SignedDuration::try_from(answer.took)?;
    println!(
        "webhook answered in {} ({}, connection included)",
        steps::milliseconds(took),
        kept(took, ANSWER_WITHIN)
    );
    if let Some(at) = end.first_hand_over() {
        let took = at.duration_since(sent_at);
        println!("webhook to hand-over {} ({})", steps::milliseconds(took), kept(took, HAND_OVER_WITHIN));
    }
    Ok(())
}

fn kept(took: SignedDuration, limit: SignedDuration) -> String {
    let word = if took < limit { "kept" } else { "missed" };
    format!("{word}: wanted < {} ms", limit.as_millis())
}
