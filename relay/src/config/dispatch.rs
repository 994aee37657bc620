//! How events are handed over.

use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct DispatchArgs {
    /// Events handed to one target at a time
    #[arg(long, env = "DISPATCH_CONCURRENCY", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub dispatch_concurrency: u16,
    /// Seconds that a target may take to answer
    #[arg(long, env = "DISPATCH_TIMEOUT", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub dispatch_timeout: u64,
}
