//! The process: parse, run.

use std::process::ExitCode;

use clap::Parser;
use home::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    shared::service::exit(cli::run(Cli::parse()).await)
}
