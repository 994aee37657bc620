//! What the relay allows.

use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct LimitArgs {
    /// Unfinished jobs at which webhooks are answered 503
    #[arg(long, env = "MAX_BACKLOG", default_value = "500000", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_backlog: u64,
    /// Seconds that a webhook's body may take to arrive
    #[arg(long, env = "BODY_TIMEOUT", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub body_timeout: u64,
    /// Memory for bodies that are being received, in MiB
    #[arg(long, env = "MAX_BODY_MEMORY", default_value = "256")]
    pub max_body_memory: u32,
}
