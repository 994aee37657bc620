//! How events are handed over.

use std::num::NonZeroU32;

use clap::Args;

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct DispatchArgs {
    /// Events handed to one target at a time
    #[arg(long, env = "DISPATCH_CONCURRENCY", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub dispatch_concurrency: u16,
    /// Seconds that a target may take to answer, beside those that the event is under way on a line of 1 Mbit/s
    #[arg(long, env = "DISPATCH_TIMEOUT", default_value = "30", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub dispatch_timeout: u64,
    /// Most events handed to one target in a second, 1 to 100000
    #[arg(long, env = "DRAIN_RATE", default_value = "2000", value_parser = rate)]
    pub drain_rate: NonZeroU32,
}

fn rate(text: &str) -> Result<NonZeroU32, String> {
    let rate = text.parse().ok().filter(|rate: &NonZeroU32| rate.get() <= 100_000);
    rate.ok_or_else(|| "give a number from 1 to 100000".to_owned())
}
