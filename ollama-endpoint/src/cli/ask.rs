//! Asking and telling: `search`, `briefing`, `add`, `recent`, `stats`.

use std::io::Read;

use anyhow::{Context, ensure};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::memory::{self, SearchResponse, Update};
use shared::terminal::time;

use super::service::Running;
use super::show;

/// More is no memory.
const LONGEST: u64 = 256 * 1024;

/// What is to be found.
#[derive(Debug, Args)]
pub struct Search {
    /// What it is about, in your own words
    query: String,
    /// Only this repository (owner/name)
    #[arg(long)]
    repository: Option<String>,
    /// Only this kind, such as decision
    #[arg(long)]
    kind: Option<String>,
    /// Only what this agent said
    #[arg(long)]
    agent: Option<String>,
    /// Only what speaks of this file, or of one below this folder
    #[arg(long)]
    path: Option<String>,
    /// Only what was said since: a time ago, such as 90m, 2h or 3d, or a time in RFC 3339
    #[arg(long, value_parser = time)]
    since: Option<Timestamp>,
    /// As it stood then
    #[arg(long, value_parser = time)]
    as_of: Option<Timestamp>,
    /// How many, at most 50
    #[arg(long, default_value = "10", value_parser = clap::value_parser!(u8).range(1..=50))]
    limit: u8,
    /// hybrid, lexical (by words alone) or vector (by meaning alone)
    #[arg(long, default_value = "hybrid", value_parser = ["hybrid", "lexical", "vector"])]
    mode: String,
    /// Say how each score came about
    #[arg(long)]
    explain: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Search {
    pub(super) async fn run(&self, service: &Running) -> anyhow::Result<()> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let mut query =
            vec![("q", self.query.clone()), ("limit", self.limit.to_string()), ("mode", self.mode.clone())];
        for (name, value) in [
            ("repository", self.repository.clone()),
            ("kind", self.kind.clone()),
            ("agent", self.agent.clone()),
            ("path", self.path.clone()),
            ("since", time(self.since)),
            ("as_of", time(self.as_of)),
            ("explain", self.explain.then(|| "1".to_owned())),
        ] {
            query.extend(value.map(|value| (name, value)));
        }
        let found: SearchResponse = service.get("/memory/search", &query).await?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&found)?);
            return Ok(());
        }
        print!("{}", show::hits(&found));
        if let Some(reason) = &found.degraded {
            // Not part of what a script may read.
            eprintln!("found by words alone: {reason}");
        }
        Ok(())
    }
}

/// What somebody is to be briefed about.
#[derive(Debug, Args)]
pub struct Briefing {
    /// What it is about, in your own words; symbols may be among them
    #[arg(default_value = "")]
    query: String,
    /// Only this repository (owner/name)
    #[arg(long)]
    repository: Option<String>,
    /// A file that it is about; may be given several times
    #[arg(long)]
    path: Vec<String>,
    /// The most tokens that it may cost
    #[arg(long, default_value = "1000")]
    budget: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Briefing {
    pub(super) async fn run(&self, service: &Running) -> anyhow::Result<()> {
        let mut query = vec![("q", self.query.clone()), ("budget", self.budget.to_string())];
        query.extend(self.repository.clone().map(|repository| ("repository", repository)));
        query.extend(self.path.iter().map(|path| ("path", path.clone())));
        let briefing: memory::Briefing = service.get("/memory/briefing", &query).await?;
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&briefing)?),
            false if briefing.text.is_empty() => eprintln!("nothing is known about this"),
            false => print!("{}", show::lines(&briefing.text)),
        }
        Ok(())
    }
}

/// What is to be remembered.
#[derive(Debug, Args)]
pub struct Add {
    /// The text; without one, or with -, it is read from standard input
    text: Option<String>,
    /// The repository it is about (owner/name)
    #[arg(long)]
    repository: String,
    /// What it is: decision, convention, note, …
    #[arg(long)]
    kind: Option<String>,
    /// Who says so
    #[arg(long)]
    agent: Option<String>,
    /// The branch it is about
    #[arg(long)]
    branch: Option<String>,
    /// The pull request or issue it belongs to
    #[arg(long)]
    pull_request: Option<u64>,
    /// A file that it is about; may be given several times
    #[arg(long)]
    path: Vec<String>,
    /// Where it can be read
    #[arg(long)]
    url: Option<String>,
    /// Idempotency key: the same key again changes nothing
    #[arg(long)]
    id: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Add {
    pub(super) async fn run(&self, service: &Running) -> anyhow::Result<()> {
        let context = match self.text.as_deref() {
            Some(text) if text != "-" => text.to_owned(),
            _ => {
                let mut text = String::new();
                let read = std::io::stdin().take(LONGEST + 1).read_to_string(&mut text);
                read.context("standard input cannot be read; it must be UTF-8")?;
                text
            }
        };
        ensure!(
            !context.trim().is_empty(),
            "there is no text to remember; give it as an argument, or on standard input"
        );
        let id = self.id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let update = Update {
            id: Some(id.clone()),
            repository: self.repository.clone(),
            context,
            kind: self.kind.clone(),
            agent: self.agent.clone(),
            branch: self.branch.clone(),
            pull_request: self.pull_request,
            paths: self.path.clone(),
            url: self.url.clone(),
            ..Update::default()
        };
        let answer = service.update(&id, serde_json::to_vec(&update)?.into()).await?;
        match self.json {
            true => println!("{answer:#}"),
            false => println!("{}", show::taken(&answer)),
        }
        Ok(())
    }
}

/// Which of the newest.
#[derive(Debug, Args)]
pub struct Recent {
    /// Only this repository (owner/name)
    #[arg(long)]
    repository: Option<String>,
    /// Only this kind, such as decision
    #[arg(long)]
    kind: Option<String>,
    /// How many, at most 50
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u8).range(1..=50))]
    limit: u8,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Recent {
    pub(super) async fn run(&self, service: &Running) -> anyhow::Result<()> {
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.repository.clone().map(|repository| ("repository", repository)));
        query.extend(self.kind.clone().map(|kind| ("kind", kind)));
        let found: SearchResponse = service.get("/memory/search", &query).await?;
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&json!(found.results))?),
            false => print!("{}", show::recent(&found.results)),
        }
        Ok(())
    }
}

/// How it is shown.
#[derive(Debug, Args)]
pub struct Stats {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(super) async fn run(&self, service: &Running) -> anyhow::Result<()> {
        let stats: Value = service.get("/memory/stats", &[]).await?;
        match self.json {
            true => println!("{stats:#}"),
            false => print!("{}", show::stats(&stats)),
        }
        Ok(())
    }
}
