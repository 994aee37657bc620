//! The settings: the only file that reads the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::builder::BoolishValueParser;
use clap::{Args, Parser, ValueEnum};
use inbox::auth::MEMORY_TOKEN;
use secrecy::SecretString;
use shared::config::{Defaults, Loaded, RetentionArgs, ServiceArgs, again, secret};
use shared::keys::Ring;
use shared::service::Verb;
use shared::signature::{SigningKeys, Tokens};
use shared::version::VERSION;
use url::Url;

use crate::cli::Command;
use crate::memory::Retention;
use crate::proxy;

/// Where this service differs from the others.
const DEFAULTS: Defaults =
    Defaults { values: &[("port", "8090"), ("data_dir", "./data/ollama-endpoint")], tables: &[] };

/// The memory's file in the data folder.
const MEMORY: &str = "memory.db";

/// The shared memory of all agents, and the door to Ollama
#[derive(Debug, Parser)]
#[command(name = "ollama-endpoint", version = VERSION)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
    #[command(flatten)]
    own: OwnArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Clone, Args)]
struct OwnArgs {
    /// Bearer token(s) of local agents; each is valid, the first is sent. Without one only signed requests are taken
    #[arg(long, env = "MEMORY_TOKEN", hide = true, hide_env_values = true)]
    memory_token: Option<SecretString>,
    /// File with MEMORY_TOKEN
    #[arg(long, env = "MEMORY_TOKEN_FILE", value_name = "FILE")]
    memory_token_file: Option<PathBuf>,
    /// Names, besides those of loopback, by which programs may call /mcp
    #[arg(long, env = "MCP_ALLOWED_HOSTS", value_delimiter = ',')]
    mcp_allowed_hosts: Vec<String>,
    /// Where Ollama listens
    #[arg(long, env = "OLLAMA_URL", default_value = "http://127.0.0.1:11434")]
    ollama_url: Url,
    /// Model that generates
    #[arg(long, env = "OLLAMA_CHAT_MODEL", default_value = "llama3.2")]
    ollama_chat_model: String,
    /// Model that embeds; another one embeds everything again
    #[arg(long, env = "OLLAMA_EMBED_MODEL", default_value = "nomic-embed-text")]
    ollama_embed_model: String,
    /// Whether the generating model words events anew and compares memories, where it is there
    #[arg(long, env = "MEMORY_REFINE", default_value = "auto")]
    memory_refine: Refine,
    /// Days until what was recorded and no search finds loses its words; 0: never
    #[arg(long, env = "MEMORY_JUNK_DAYS", default_value = "90", value_parser = clap::value_parser!(u32).range(..=36_500))]
    memory_junk_days: u32,
    /// Days until a memory is forgotten that nobody has said since; 0: never
    #[arg(long, env = "MEMORY_RETENTION_DAYS", default_value = "0", value_parser = clap::value_parser!(u32).range(..=36_500))]
    memory_retention_days: u32,
    /// Whether callers of the proxy may change which models there are
    #[arg(long, env = "OLLAMA_PROXY_ADMIN", default_value = "0", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    ollama_proxy_admin: bool,
    /// Who may use the proxy
    #[arg(long, env = "OLLAMA_PROXY_AUTH", default_value = "required")]
    ollama_proxy_auth: ProxyAuth,
    /// Proxied requests at a time
    #[arg(long, env = "OLLAMA_PROXY_CONCURRENCY", default_value = "16")]
    ollama_proxy_concurrency: usize,
    /// Proxied requests that may wait for their turn
    #[arg(long, env = "OLLAMA_PROXY_WAITING", default_value = "64")]
    ollama_proxy_waiting: usize,
    /// Seconds that one of them waits at most
    #[arg(long, env = "OLLAMA_PROXY_WAIT_SECONDS", default_value = "60")]
    ollama_proxy_wait_seconds: u64,
    /// Seconds after which a stream that stands still is ended
    #[arg(long, env = "OLLAMA_PROXY_IDLE_SECONDS", default_value = "600")]
    ollama_proxy_idle_seconds: u64,
    /// Tokens of what the memory adds to a proxied chat that asks for it with `x-ai-relay-memory: owner/name`
    #[arg(long, env = "OLLAMA_PROXY_MEMORY_TOKENS", default_value = "1000")]
    ollama_proxy_memory_tokens: usize,
}

/// Whether a model works on the memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Refine {
    /// When there is one; what came before is worked off then.
    Auto,
    /// Never: they stay as templates and agents have worded them, and only rules compare them.
    Off,
}

/// Who may use the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProxyAuth {
    /// Callers with the token, or who sign.
    Required,
    /// Programs that reach the port as loopback; not the web pages of others.
    None,
}

/// What the service is built from.
#[derive(Debug)]
pub struct Config {
    /// Folder of the memory.
    pub data_dir: PathBuf,
    /// Where the queue lives.
    pub queue_url: String,
    /// Unfinished events in it at which more are answered 503.
    pub most_open: u64,
    /// How long what has ended stays in it.
    pub retention: RetentionArgs,
    /// Keys between our services.
    pub keys: SigningKeys,
    /// Bearer tokens of local agents.
    pub token: Option<Tokens>,
    /// Where it is noted what keys are used for.
    pub rings: Vec<Ring>,
    /// Names, besides those of loopback, by which programs may call `/mcp`.
    pub mcp_allowed_hosts: Vec<String>,
    /// Where Ollama listens.
    pub ollama_url: Url,
    /// Model that generates.
    pub chat_model: String,
    /// Model that embeds.
    pub embed_model: String,
    /// Whether the model that generates works on the memories.
    pub refine: Refine,
    /// How long words are kept.
    pub memory_retention: Retention,
    /// What the proxy allows.
    pub proxy: proxy::Limits,
    /// Who may use it.
    pub proxy_auth: ProxyAuth,
    /// Limits of the listener.
    pub server: shared::server::Limits,
}

/// Parses the command line over environment, file and defaults.
///
/// # Errors
/// The file cannot be read, or has an unknown key.
pub fn load(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Loaded<Cli>> {
    shared::config::load(arguments, &DEFAULTS)
}

impl Cli {
    /// What to do; `None`: serve.
    pub fn verb(&self) -> Option<&Command> {
        self.command.as_ref().filter(|command| !matches!(command, Command::Service(Verb::Serve)))
    }

    /// Where the memory is.
    pub fn memory_path(&self) -> PathBuf {
        self.service.data_dir.join(MEMORY)
    }

    /// The bearer tokens of local agents.
    ///
    /// # Errors
    /// They cannot be read, or one is too short.
    pub fn tokens(&self) -> anyhow::Result<Option<Tokens>> {
        let file = self.own.memory_token_file.as_deref();
        let list = secret(MEMORY_TOKEN, self.own.memory_token.as_ref(), file)?;
        list.map(|list| Tokens::parse(&list)).transpose().context("MEMORY_TOKEN cannot be used")
    }

    fn rings(&self, keys: &SigningKeys, tokens: Option<&Tokens>) -> Vec<Ring> {
        let parse = |list: &SecretString| Tokens::parse(list).map(|tokens| tokens.keys().clone());
        let ring = |tokens: &Tokens| {
            let file = self.own.memory_token_file.as_deref();
            Ring::new(MEMORY_TOKEN, tokens.keys()).read_by(again(MEMORY_TOKEN, file, parse))
        };
        [self.service.signing_ring(keys)].into_iter().chain(tokens.map(ring)).collect()
    }

    /// The file that the token comes from, if it does.
    pub(crate) fn token_file(&self) -> Option<&Path> {
        self.own.memory_token_file.as_deref()
    }

    /// The settings that every service has.
    pub fn service(&self) -> &ServiceArgs {
        &self.service
    }

    /// Checks the settings and reads the secrets.
    ///
    /// # Errors
    /// A setting is missing or not usable; the text says which one and what to do.
    pub fn config(&self) -> anyhow::Result<Config> {
        let Self { service, own, .. } = self;
        let url = &own.ollama_url;
        // Its text is shown in errors and in /health, so it must not carry a password.
        let plain =
            url.scheme() == "http" && url.has_host() && url.username().is_empty() && url.password().is_none();
        ensure!(
            plain,
            "OLLAMA_URL must be like http://127.0.0.1:11434: Ollama speaks plain HTTP and knows no password"
        );
        ensure!(own.ollama_proxy_concurrency > 0, "OLLAMA_PROXY_CONCURRENCY must be at least 1");
        let (keys, token) = (service.signing_keys()?, self.tokens()?);
        let proxy = own.proxy_limits();
        // What the proxy streams may stand still for as long as the proxy allows.
        let server = shared::server::Limits { write_stall: proxy.idle, ..service.limits() };
        Ok(Config {
            data_dir: service.data_dir.clone(),
            queue_url: service.queue_url(),
            most_open: inbox::MOST_OPEN,
            retention: service.retention,
            rings: self.rings(&keys, token.as_ref()),
            keys,
            token,
            mcp_allowed_hosts: hosts(&own.mcp_allowed_hosts)?,
            ollama_url: own.ollama_url.clone(),
            chat_model: own.ollama_chat_model.clone(),
            embed_model: own.ollama_embed_model.clone(),
            refine: own.memory_refine,
            memory_retention: own.retention(),
            proxy,
            proxy_auth: own.ollama_proxy_auth,
            server,
        })
    }
}

/// Names with or without a port; an empty value names none.
fn hosts(given: &[String]) -> anyhow::Result<Vec<String>> {
    let given = given.iter().map(|host| host.trim()).filter(|host| !host.is_empty());
    let plain = |host: &str| host.parse::<http::uri::Authority>().is_ok() && !host.contains('*');
    let check = |host: &str| {
        ensure!(!host.contains('@'), "MCP_ALLOWED_HOSTS: a host has neither user nor password");
        ensure!(plain(host), "MCP_ALLOWED_HOSTS: {host:?} is not a host like mac.local or mac.local:8090");
        Ok(host.to_owned())
    };
    given.map(check).collect()
}

impl OwnArgs {
    fn retention(&self) -> Retention {
        let days = |days: u32| (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 60 * 60));
        Retention { junk: days(self.memory_junk_days), memories: days(self.memory_retention_days) }
    }

    fn proxy_limits(&self) -> proxy::Limits {
        proxy::Limits {
            concurrency: self.ollama_proxy_concurrency,
            waiting: self.ollama_proxy_waiting,
            wait: Duration::from_secs(self.ollama_proxy_wait_seconds),
            idle: Duration::from_secs(self.ollama_proxy_idle_seconds),
            admin: self.ollama_proxy_admin,
            memory_tokens: self.ollama_proxy_memory_tokens,
        }
    }
}

impl Config {
    /// Makes the data folder and says where the memory is in it.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn memory_path(&self) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(&self.data_dir)
            .with_context(|| format!("cannot create DATA_DIR {}", self.data_dir.display()))?;
        Ok(self.data_dir.join(MEMORY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn config(flags: &[&str]) -> anyhow::Result<Config> {
        let flags = ["ollama-endpoint", "--relay-signing-key", KEY].iter().chain(flags);
        shared::config::load::<Cli>(flags.map(Into::into), &DEFAULTS)?.cli.config()
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let config = config(&[]).unwrap();
        assert_eq!(config.ollama_url.as_str(), "http://127.0.0.1:11434/");
        assert_eq!(
            (config.chat_model.as_str(), config.embed_model.as_str()),
            ("llama3.2", "nomic-embed-text")
        );
        assert_eq!(config.queue_url, "sqlite://./data/ollama-endpoint/queue.db");
        assert_eq!(config.refine, Refine::Auto);
        let junk = Some(Duration::from_secs(90 * 24 * 60 * 60));
        assert_eq!(config.memory_retention, Retention { junk, memories: None });
        assert!(config.mcp_allowed_hosts.is_empty());
        assert!(!config.proxy.admin && config.proxy_auth == ProxyAuth::Required && config.token.is_none());
    }

    #[test]
    fn a_bad_setting_is_named_and_no_secret_shown() {
        let error = |flags: &[&str]| format!("{:#}", config(flags).unwrap_err());
        assert!(error(&["--ollama-url", "https://ollama.example"]).contains("OLLAMA_URL"));
        let password = error(&["--ollama-url", "http://me:hunter2@127.0.0.1"]);
        assert!(password.contains("OLLAMA_URL") && !password.contains("hunter2"), "{password}");
        assert!(error(&["--ollama-proxy-concurrency", "0"]).contains("OLLAMA_PROXY_CONCURRENCY"));
        let short = error(&["--memory-token", "hunter2"]);
        assert!(short.contains("MEMORY_TOKEN") && !short.contains("hunter2"), "{short}");
        let host = error(&["--mcp-allowed-hosts", "mac.local,http://mac.local"]);
        assert!(host.contains("MCP_ALLOWED_HOSTS") && host.contains("http://mac.local"), "{host}");
        let fine = config(&["--memory-token", "a-long-enough-token", "--ollama-proxy-admin", "1"]).unwrap();
        assert!(fine.proxy.admin && !format!("{fine:?}").contains("a-long-enough"));
    }
}
