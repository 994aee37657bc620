//! `forget`.

use clap::{ArgGroup, Args};
use http::Method;
use serde_json::{Value, json};

use super::service::Running;
use super::show;

/// What is to be forgotten.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").args(["id", "query", "repository"]).required(true).multiple(true)))]
pub struct Forget {
    /// The id of a memory, or its first eight digits; may be given several times
    #[arg(long, conflicts_with_all = ["query", "repository"])]
    id: Vec<String>,
    /// What contains all of these words
    #[arg(long)]
    query: Option<String>,
    /// Only of this repository (owner/name); without --query, all of it
    #[arg(long)]
    repository: Option<String>,
    /// Really forget
    #[arg(long)]
    yes: bool,
    /// Why, for the audit line
    #[arg(long, default_value = "")]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Forget {
    pub(super) async fn run(&self, service: &Running) -> anyhow::Result<()> {
        let mut wanted = json!({"dry_run": !self.yes, "reason": self.reason});
        if !self.id.is_empty() {
            wanted["ids"] = json!(self.id);
        }
        for (name, value) in [("q", &self.query), ("repository", &self.repository)] {
            if let Some(value) = value {
                wanted[name] = json!(value);
            }
        }
        let body = ("application/json", reqwest::Body::from(wanted.to_string()));
        let answer = service.with_token(Method::POST, "/memory/forget", &[], Some(body)).await?;
        let answer: Value = answer.json().await?;
        match self.json {
            true => println!("{answer:#}"),
            false => print!("{}", show::forgotten(&answer)),
        }
        Ok(())
    }
}
