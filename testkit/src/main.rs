//! `testkit`: stand-ins and webhooks for trying the services without any account.

use std::process::ExitCode;

use clap::Parser;
use testkit::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
