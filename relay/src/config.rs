//! The relay's settings.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Args, Parser};
use secrecy::SecretString;
use shared::{
    config::{self, Defaults, Loaded, ServiceArgs, again, required, secret},
    keys::Ring,
    signature::{GithubSecrets, Tokens},
    version::VERSION,
};
use url::Url;

mod dispatch;
mod limits;
mod missed;
mod targets;

pub use dispatch::DispatchArgs;
pub use limits::LimitArgs;
pub use missed::{MissedArgs, MissedConfig, MissedSettings};
pub use targets::{Kind, Target};

use crate::{cli::Command, targets::Rules};

/// The setting of GitHub's secrets.
pub const WEBHOOK_SECRET: &str = "GITHUB_WEBHOOK_SECRET";
/// The setting of the admin routes' tokens.
pub const ADMIN_TOKEN: &str = "RELAY_ADMIN_TOKEN";

const DEFAULTS: Defaults = Defaults {
    values: &[("port", "4200"), ("listen", "0.0.0.0"), ("data_dir", "./data/relay")],
    tables: &["routes", "targets"],
};

/// The relay: takes GitHub's webhooks, makes them durable, and hands them home.
#[derive(Debug, Parser)]
#[command(name = "relay", version = VERSION)]
pub struct Cli {
    /// Settings.
    #[command(flatten)]
    pub args: RelayArgs,
    /// What to do; without a word: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The relay's settings as they are given.
#[derive(Debug, Clone, Args)]
pub struct RelayArgs {
    /// What every service has.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Secret(s) of the GitHub webhook; several, comma-separated, are all valid
    #[arg(long, env = "GITHUB_WEBHOOK_SECRET", hide = true, hide_env_values = true)]
    pub github_webhook_secret: Option<SecretString>,
    /// File with GITHUB_WEBHOOK_SECRET
    #[arg(long, env = "GITHUB_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub github_webhook_secret_file: Option<PathBuf>,
    /// Token(s) of the admin routes; each is valid, the first is sent. Without one they are closed
    #[arg(long, env = "RELAY_ADMIN_TOKEN", hide = true, hide_env_values = true)]
    pub relay_admin_token: Option<SecretString>,
    /// File with RELAY_ADMIN_TOKEN
    #[arg(long, env = "RELAY_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub relay_admin_token_file: Option<PathBuf>,
    /// The claude-endpoint, as seen from here
    #[arg(long, env = "CLAUDE_ENDPOINT", default_value = "http://127.0.0.1:5050")]
    pub claude_endpoint: Url,
    /// The ollama-endpoint, as seen from here
    #[arg(long, env = "OLLAMA_ENDPOINT", default_value = "http://127.0.0.1:8091")]
    pub ollama_endpoint: Url,
    /// Seconds in which the same body under a new delivery id counts as a replay; 0: off
    #[arg(long, env = "DEDUP_BODY_WINDOW", default_value = "600")]
    pub dedup_body_window: u64,
    /// How events are handed over.
    #[command(flatten)]
    pub dispatch: DispatchArgs,
    /// What the relay allows.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// How missed deliveries are found.
    #[command(flatten)]
    pub missed: MissedArgs,
    /// Where Prometheus scrapes
    #[arg(long, env = "METRICS_LISTEN", default_value = "127.0.0.1:9420")]
    pub metrics_listen: SocketAddr,
    /// Where the commands of this program find the running relay [default: this machine, PORT]
    #[arg(long, env = "RELAY_URL", value_name = "URL")]
    pub relay_url: Option<Url>,
}

/// The relay's settings, checked.
#[derive(Debug)]
pub struct Config {
    /// As given, for what needs no check.
    pub args: RelayArgs,
    /// GitHub's.
    pub webhook_secrets: GithubSecrets,
    /// For the admin routes.
    pub admin_tokens: Option<Tokens>,
    /// Where it is noted what keys are used for.
    pub rings: Vec<Ring>,
    /// Where events go.
    pub rules: Rules,
    /// Who takes them.
    pub targets: Vec<Target>,
    /// Where missed deliveries are looked for.
    pub missed: MissedConfig,
}

/// Reads the command line, the environment and the configuration file.
///
/// # Errors
/// The configuration file cannot be read.
pub fn load(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Loaded<Cli>> {
    config::load(arguments, &DEFAULTS)
}

impl Config {
    /// Checks the settings that serving needs. `tables` are those of the configuration file.
    ///
    /// # Errors
    /// A secret is missing or weak, or a rule or a target is wrong; the text says what to do.
    pub fn new(args: RelayArgs, tables: &toml::Table) -> anyhow::Result<Self> {
        let webhook = required(
            WEBHOOK_SECRET,
            args.github_webhook_secret.as_ref(),
            args.github_webhook_secret_file.as_deref(),
        )?;
        let ours = args.service.signing_keys()?;
        let mut targets = targets::endpoints(&args.claude_endpoint, &args.ollama_endpoint, &ours)?;
        let (extra, subscriptions) = targets::extra(tables)?;
        targets.extend(extra);
        let routes: toml::Table = tables.clone().into_iter().filter(|(name, _)| name == "routes").collect();
        let webhook_secrets =
            GithubSecrets::parse(&webhook).context("GITHUB_WEBHOOK_SECRET cannot be used")?;
        let admin_tokens = admin_tokens(&args)?;
        let mut rings = rings(&args, &webhook_secrets, admin_tokens.as_ref());
        rings.push(args.service.signing_ring(&ours));
        rings.extend(targets.iter().filter_map(Target::ring));
        Ok(Self {
            webhook_secrets,
            admin_tokens,
            rings,
            rules: Rules::new(&routes.to_string(), subscriptions)?,
            targets,
            missed: args.missed.check()?,
            args,
        })
    }
}

/// The tokens of the admin routes.
///
/// # Errors
/// Their file cannot be read, or one is too short.
pub fn admin_tokens(args: &RelayArgs) -> anyhow::Result<Option<Tokens>> {
    let file = args.relay_admin_token_file.as_deref();
    let list = secret(ADMIN_TOKEN, args.relay_admin_token.as_ref(), file)?;
    list.map(|list| Tokens::parse(&list)).transpose().context("RELAY_ADMIN_TOKEN cannot be used")
}

fn rings(args: &RelayArgs, secrets: &GithubSecrets, tokens: Option<&Tokens>) -> Vec<Ring> {
    let parse = |list: &SecretString| GithubSecrets::parse(list).map(|secrets| secrets.keys().clone());
    let file = args.github_webhook_secret_file.as_deref();
    let webhook = Ring::new(WEBHOOK_SECRET, secrets.keys()).read_by(again(WEBHOOK_SECRET, file, parse));
    let parse = |list: &SecretString| Tokens::parse(list).map(|tokens| tokens.keys().clone());
    let admin = |tokens: &Tokens| {
        let file = args.relay_admin_token_file.as_deref();
        Ring::new(ADMIN_TOKEN, tokens.keys()).read_by(again(ADMIN_TOKEN, file, parse))
    };
    [webhook].into_iter().chain(tokens.map(admin)).collect()
}

impl RelayArgs {
    /// How long the same body counts as a replay.
    pub fn replay_window(&self) -> Duration {
        Duration::from_secs(self.dedup_body_window)
    }

    /// Where the running relay is: `RELAY_URL`, or where it listens on this machine.
    ///
    /// # Errors
    /// None: the built URL is always valid, but the type does not know it.
    pub fn base_url(&self) -> anyhow::Result<Url> {
        match &self.relay_url {
            Some(url) => Ok(url.clone()),
            None => Url::parse(&self.service.own_url()).context("LISTEN and PORT"),
        }
    }
}
