//! What launchd or systemd keeps running.

/// What can be done with them.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {}

/// Carries out one of them.
///
/// # Errors
/// The text says what went wrong and what to do.
pub async fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {}
}
