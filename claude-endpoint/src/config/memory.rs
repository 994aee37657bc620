//! How to talk to the memory.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use secrecy::SecretString;
use shared::config::secret;
use shared::signature::Tokens;
use url::Url;

#[derive(Debug, Clone, Args)]
pub(super) struct MemoryArgs {
    /// Where the memory listens
    #[arg(long, env = "MEMORY_URL", default_value = "http://127.0.0.1:8090")]
    pub(super) memory_url: Url,
    /// Bearer token(s) of the memory, of which the first is sent; without one requests are signed
    #[arg(long, env = "MEMORY_TOKEN", hide = true, hide_env_values = true)]
    memory_token: Option<SecretString>,
    /// File with MEMORY_TOKEN
    #[arg(long, env = "MEMORY_TOKEN_FILE", value_name = "FILE")]
    memory_token_file: Option<PathBuf>,
}

/// How to talk to the memory.
#[derive(Debug, Clone)]
pub struct MemorySettings {
    /// Where it listens.
    pub url: Url,
    /// Bearer token; without it requests are signed.
    pub token: Option<SecretString>,
}

impl MemoryArgs {
    /// Files that hold secrets.
    pub(super) fn secret_files(&self) -> Vec<(&'static str, &Path)> {
        self.memory_token_file.as_deref().map(|file| ("MEMORY_TOKEN", file)).into_iter().collect()
    }

    pub(super) fn settings(&self) -> anyhow::Result<MemorySettings> {
        let token = secret("MEMORY_TOKEN", self.memory_token.as_ref(), self.memory_token_file.as_deref())?;
        let tokens =
            token.map(|list| Tokens::parse(&list)).transpose().context("MEMORY_TOKEN cannot be used")?;
        Ok(MemorySettings { url: self.memory_url.clone(), token: tokens.map(|tokens| tokens.first()) })
    }
}
