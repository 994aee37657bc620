//! What the relay allows.

use clap::Args;

use crate::limits::client::TrustedProxies;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct LimitArgs {
    /// Unfinished jobs at which webhooks are answered 503
    #[arg(long, env = "MAX_BACKLOG", default_value = "500000", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_backlog: u64,
    /// MiB of stored payloads of unfinished jobs at which webhooks are answered 503
    #[arg(long, env = "MAX_BACKLOG_SIZE", default_value = "4096", value_parser = clap::value_parser!(u64).range(1..=16_777_216))]
    pub max_backlog_size: u64,
    /// Seconds that a webhook's body may take to arrive
    #[arg(long, env = "BODY_TIMEOUT", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub body_timeout: u64,
    /// Memory for bodies that are being received, in MiB
    #[arg(long, env = "MAX_BODY_MEMORY", default_value = "256")]
    pub max_body_memory: u32,
    /// Requests per second that one address may send without a valid signature or token; 0: no limit
    #[arg(long, env = "RATE_LIMIT_ADDRESS", default_value = "50", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub rate_limit_address: u32,
    /// Requests per second in all; 0: no limit
    #[arg(long, env = "RATE_LIMIT", default_value = "20000", value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub rate_limit: u32,
    /// Networks of proxies whose X-Forwarded-For names the client, comma-separated, or `none`
    #[arg(
        long,
        env = "TRUSTED_PROXIES",
        default_value = "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"
    )]
    pub trusted_proxies: TrustedProxies,
}
