//! The `ollama-endpoint` binary.

use std::process::ExitCode;

use ollama_endpoint::cli::{self, Command};
use ollama_endpoint::config::Cli;
use ollama_endpoint::{App, config};
use shared::config::Loaded;
use shared::{keys, service, telemetry};

/// Every proxied request allocates a hundred times.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match config::load(std::env::args_os()) {
        Ok(loaded) => run(loaded).await.unwrap_or_else(|error| service::exit(Err(error))),
        Err(error) => service::unusable(&error),
    }
}

async fn run(loaded: Loaded<Cli>) -> anyhow::Result<ExitCode> {
    let settings = loaded.cli.service();
    match loaded.cli.verb() {
        None => {}
        Some(Command::Service(verb)) => {
            service::side_verb(verb, settings, &loaded.settings, loaded.command).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Own(command)) => return cli::run(command, &loaded.cli).await,
    }
    telemetry::init(&settings.log)?;
    keys::expect_hangup();
    let app = App::build(loaded.cli.config()?).await?;
    let listener = service::bind(settings).await?;
    tracing::info!(address = %listener.local_addr()?, "ollama-endpoint listens");
    app.run(listener, service::stop_signal()?).await;
    Ok(ExitCode::SUCCESS)
}
