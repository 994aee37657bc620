//! The settings that every service has.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use secrecy::SecretString;

use super::{LogArgs, again, listen, required};
use crate::{keys::Ring, server::Limits, signature::SigningKeys};

/// The setting of the keys between our services.
pub const SIGNING_KEY: &str = "RELAY_SIGNING_KEY";

/// The settings that every service has.
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    /// TOML file with settings, named like the environment variables in lower case
    #[arg(long, env = "CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on, or the network interface that has it (docker0)
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1", value_parser = listen::address)]
    pub listen: IpAddr,
    /// Port to listen on
    #[arg(long, env = "PORT", default_value = "0")]
    pub port: u16,
    /// Folder of the service's data
    #[arg(long, env = "DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// Where the queue lives [default: sqlite://DATA_DIR/queue.db]
    #[arg(long, env = "QUEUE_URL")]
    pub queue_url: Option<String>,
    /// Key(s) `whsec_…` that sign what our services say to each other; each signs and each is valid
    #[arg(long, env = "RELAY_SIGNING_KEY", hide = true, hide_env_values = true)]
    pub relay_signing_key: Option<SecretString>,
    /// File with RELAY_SIGNING_KEY
    #[arg(long, env = "RELAY_SIGNING_KEY_FILE", value_name = "FILE")]
    pub relay_signing_key_file: Option<PathBuf>,
    /// How long what has ended is kept.
    #[command(flatten)]
    pub retention: RetentionArgs,
    /// Most connections open at a time; beyond, the one that has kept the service waiting for the longest time is closed
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "4096", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// Where log lines go.
    #[command(flatten)]
    pub log: LogArgs,
}

impl ServiceArgs {
    /// The limits of the listener.
    pub fn limits(&self) -> Limits {
        Limits { connections: self.max_connections as usize, ..Limits::default() }
    }

    /// Where the service listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.port)
    }

    /// Where the service is found from this machine, without a slash at the end.
    pub fn own_url(&self) -> String {
        let host = match self.listen {
            IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
            IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        };
        format!("http://{host}:{}", self.port)
    }

    /// The queue's URL.
    pub fn queue_url(&self) -> String {
        let default = || format!("sqlite://{}", self.data_dir.join("queue.db").display());
        self.queue_url.clone().filter(|url| !url.is_empty()).unwrap_or_else(default)
    }

    /// The keys between our services.
    ///
    /// # Errors
    /// None is set, or one of them is not usable.
    pub fn signing_keys(&self) -> anyhow::Result<SigningKeys> {
        let list = required(
            "RELAY_SIGNING_KEY",
            self.relay_signing_key.as_ref(),
            self.relay_signing_key_file.as_deref(),
        )?;
        SigningKeys::parse(&list).context("RELAY_SIGNING_KEY cannot be used")
    }

    /// The same keys, for the book of what keys are used for.
    pub fn signing_ring(&self, keys: &SigningKeys) -> Ring {
        let parse = |list: &SecretString| SigningKeys::parse(list).map(|keys| keys.keys().clone());
        let again = again(SIGNING_KEY, self.relay_signing_key_file.as_deref(), parse);
        Ring::new(SIGNING_KEY, keys.keys()).read_by(again)
    }
}

/// How long what has ended is kept. What is unfinished is kept in any case.
#[derive(Debug, Clone, Copy, Args)]
pub struct RetentionArgs {
    /// Days that a finished event is kept; at least the three in which GitHub may send it again
    #[arg(long, env = "RETENTION_DAYS", default_value = "14", value_parser = clap::value_parser!(u32).range(3..=36_500))]
    pub retention_days: u32,
    /// Days that an event is kept that failed for good
    #[arg(long, env = "RETENTION_DEAD_DAYS", default_value = "90", value_parser = clap::value_parser!(u32).range(3..=36_500))]
    pub retention_dead_days: u32,
    /// MiB of the queue's store at which the oldest finished events go earlier
    #[arg(long, env = "RETENTION_SIZE", default_value = "1024", value_parser = clap::value_parser!(u64).range(1..=16_777_216))]
    pub retention_size: u64,
}

impl RetentionArgs {
    /// How long a finished event is kept.
    pub fn finished(&self) -> Duration {
        days(self.retention_days)
    }

    /// How long one is kept that failed for good.
    pub fn dead(&self) -> Duration {
        days(self.retention_dead_days)
    }

    /// The size of the store, in bytes, at which the oldest go earlier.
    pub fn store_bytes(&self) -> u64 {
        self.retention_size << 20
    }
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 60 * 60)
}
