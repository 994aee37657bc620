//! The process: parse, run.

use std::process::ExitCode;

use clap::Parser;
use home::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(Cli::parse()).await.unwrap_or_else(|error| shared::service::exit(Err(error)))
}
