//! The command line: run the stand-ins, or send a webhook as GitHub would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::anthropic::{self, Anthropic};
use crate::bench::{self, Bench};
use crate::chaos::{self, Chaos, squatter::Squatter};
use crate::check_anchors::{self, CheckAnchors};
use crate::crash::{self, Crash, docker::Docker, memory::CrashMemory};
use crate::embedding::RealModel;
use crate::github::{GitHub, sha_of};
use crate::journey::{self, Journey};
use crate::ollama::{Model, Ollama};
use crate::python::Python;
use crate::scenario::{REVIEWER_TOKEN, Scenario};
use crate::slow_clients::{self, SlowClients};
use crate::webhook::{self, Delivery, delivery_id};

/// Stand-ins for GitHub, Anthropic and Ollama, and GitHub's webhooks.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the three stand-ins on loopback and prints their URLs as JSON on one line.
    StandIns(StandIns),
    /// Runs the stand-in for Ollama alone on loopback and prints its URL.
    Ollama(OllamaAlone),
    /// Sends one signed delivery; fails unless the answer is 2xx.
    Webhook(Box<Webhook>),
    /// Sends one pull request event to a running relay and prints its journey as it happens.
    Journey(Box<Journey>),
    /// Measures the relay; see scripts/bench.sh.
    Bench(Box<Bench>),
    /// Holds slow connections against a relay of its own; fails unless every webhook is accepted all the same.
    SlowClients(SlowClients),
    /// Kills and hurts the real relay under load and counts what is lost or handed over twice.
    Crash(Box<Crash>),
    /// Kills the real ollama-endpoint while it learns, embeds and refines, and looks at what is left.
    CrashMemory(CrashMemory),
    /// Breaks the road between the VPS and home in every way, and counts what is lost, doubled, and how long it takes.
    Chaos(Chaos),
    /// Takes ports in place of the endpoints and writes down what it is given.
    #[command(hide = true)]
    Squatter(Squatter),
    /// Tries the image of deploy/ in a Docker engine of its own: its cage, its health, deployments under load.
    Docker(Box<Docker>),
    /// Holds the line numbers of reviews against a repository's own history; fails if one is wrong.
    CheckAnchors(CheckAnchors),
}

/// Ports; 0 takes any free one.
#[derive(Debug, Args)]
struct StandIns {
    #[arg(long, default_value_t = 0)]
    github_port: u16,
    #[arg(long, default_value_t = 0)]
    anthropic_port: u16,
    #[arg(long, default_value_t = 0)]
    ollama_port: u16,
}

#[derive(Debug, Args)]
struct OllamaAlone {
    /// 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Give it the model `all-minilm` with the real vectors, as scripts/real-model.sh installs it.
    #[arg(long)]
    real_embeddings: bool,
    /// Folder of the test tools.
    #[arg(long, default_value = "target/test-tools")]
    tools: PathBuf,
}

#[derive(Debug, Args)]
struct Webhook {
    /// Where to, such as `http://127.0.0.1:4200/github-webhook`.
    #[arg(long, required_unless_present = "print")]
    url: Option<String>,
    /// The hook's secret.
    #[arg(long, required_unless_present = "print")]
    secret: Option<String>,
    /// `pull_request`, push, `issue_comment`, `pull_request_review`, `pull_request_review_comment`, issues, release,
    /// `workflow_run` or ping.
    #[arg(long, default_value = "pull_request")]
    event: String,
    /// The event's action [default: the usual one of the event].
    #[arg(long)]
    action: Option<String>,
    /// `owner/name`.
    #[arg(long)]
    repo: Option<String>,
    /// Number of the pull request or issue.
    #[arg(long)]
    number: Option<u64>,
    /// Head commit.
    #[arg(long)]
    head: Option<String>,
    /// Login of the author and sender.
    #[arg(long)]
    author: Option<String>,
    /// Text of a comment or review.
    #[arg(long, default_value = "Please look at this again.")]
    text: String,
    /// `X-GitHub-Delivery` [default: a new one].
    #[arg(long)]
    id: Option<String>,
    /// Send the body form-encoded.
    #[arg(long)]
    form: bool,
    /// Write the body to standard output and send nothing.
    #[arg(long)]
    print: bool,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What went wrong, for the terminal.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::StandIns(ports) => stand_ins(&ports).await,
            Command::Ollama(args) => ollama_alone(&args).await,
            Command::Webhook(args) => send_webhook(&args).await,
            Command::Journey(args) => journey::run(&args).await,
            Command::Bench(args) => tokio::task::spawn_blocking(move || bench::run(&args)).await?,
            Command::SlowClients(args) => slow_clients::run(&args).await,
            Command::Crash(args) => crash::run(&args).await,
            Command::CrashMemory(args) => crash::memory::run(&args).await,
            Command::Chaos(args) => chaos::run(&args).await,
            Command::Squatter(args) => chaos::squatter::run(&args).await,
            Command::Docker(args) => crash::docker::run(&args).await,
            Command::CheckAnchors(args) => {
                tokio::task::spawn_blocking(move || check_anchors::run(&args)).await?
            }
        }
    }
}

async fn stand_ins(ports: &StandIns) -> anyhow::Result<()> {
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let scenario = Scenario::default();
    let github = GitHub::start_on(at(ports.github_port)).await.context("no port for GitHub")?;
    scenario.load_into(&github);
    let anthropic = Anthropic::start_on(at(ports.anthropic_port), anthropic::reviewer())
        .await
        .context("no port for Anthropic")?;
    let models = vec![Model::llama3_2(), Model::nomic_embed_text()];
    let ollama = Ollama::start_on(at(ports.ollama_port), models).await.context("no port for Ollama")?;
    let urls = json!({
        "github": github.url(), "anthropic": anthropic.url(), "ollama": ollama.url(),
        "github_token": REVIEWER_TOKEN, "repository": scenario.repository, "number": scenario.number,
        "head_sha": scenario.head_sha,
    });
    until_stopped(&urls.to_string()).await
}

async fn ollama_alone(args: &OllamaAlone) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let models = vec![Model::llama3_2(), Model::nomic_embed_text()];
    let ollama = Ollama::start_on(address, models).await.context("no port for Ollama")?;
    if args.real_embeddings {
        ollama.embed_with(RealModel::start(&Python::find(&args.tools)?).await?);
    }
    until_stopped(&ollama.url()).await
}

/// Says where it runs, and returns when it is told to stop.
async fn until_stopped(running: &str) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    say(running)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn send_webhook(args: &Webhook) -> anyhow::Result<()> {
    let payload = payload(args, &scenario(args))?;
    if args.print {
        return say(&payload.to_string());
    }
    let (Some(url), Some(secret)) = (&args.url, &args.secret) else { bail!("--url and --secret are needed") };
    let id = args.id.clone().unwrap_or_else(|| delivery_id(&now()));
    let delivery = Delivery::new(&id, &args.event, &payload);
    let delivery = if args.form { delivery.as_form() } else { delivery };
    let answer = delivery.send(url, secret).await?;
    say(&format!("{} in {:.1} ms: {}", answer.status, answer.took.as_secs_f64() * 1_000.0, answer.body))?;
    if !(200..300).contains(&answer.status) {
        bail!("{url} did not take the delivery {id}");
    }
    Ok(())
}

/// The usual scenario with what the command line changes. A body that is sent differs from all before it, or a
/// receiver would rightly take it for a replay.
fn scenario(args: &Webhook) -> Scenario {
    let mut scenario = Scenario::default();
    if !args.print {
        scenario.updated_at = now();
    }
    let set = |field: &mut String, value: &Option<String>| {
        if let Some(value) = value {
            field.clone_from(value);
        }
    };
    set(&mut scenario.repository, &args.repo);
    set(&mut scenario.head_sha, &args.head);
    set(&mut scenario.author, &args.author);
    scenario.number = args.number.unwrap_or(scenario.number);
    if args.action.as_deref() == Some("synchronize") {
        scenario.before = sha_of("the head before");
    }
    scenario
}

fn payload(args: &Webhook, it: &Scenario) -> anyhow::Result<Value> {
    let action = |usual: &'static str| args.action.as_deref().unwrap_or(usual);
    let (author, text) = (it.author.as_str(), args.text.as_str());
    Ok(match args.event.as_str() {
        "pull_request" => webhook::pull_request(it, action("opened")),
        "push" => webhook::push(it),
        "issue_comment" => webhook::issue_comment(it, action("created"), it.number, author, text),
        "pull_request_review" => {
            webhook::pull_request_review(it, action("submitted"), author, "commented", text)
        }
        "pull_request_review_comment" => {
            let place = ("src/orders.rs", 43);
            webhook::pull_request_review_comment(it, action("created"), author, place, text)
        }
        "issues" => webhook::issues(it, action("opened"), it.number, &it.title, text),
        "release" => webhook::release(it, action("published"), "v1.0.0"),
        "workflow_run" => webhook::workflow_run(it, action("completed"), Some("success")),
        "ping" => webhook::ping(it),
        other => bail!("no such event: {other}; see `testkit webhook --help`"),
    })
}

/// RFC 3339, to the nanosecond.
fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn say(line: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
