//! The claude-endpoint's process: parse, build, run.

use std::process::ExitCode;

use claude_endpoint::cli::{self, Command};
use claude_endpoint::{App, config, config::Cli};
use shared::config::Loaded;
use shared::service::{self, Verb};
use shared::{keys, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    match config::load(std::env::args_os()) {
        Ok(loaded) => run(loaded).await.unwrap_or_else(|error| service::exit(Err(error))),
        Err(error) => service::unusable(&error),
    }
}

async fn run(loaded: Loaded<Cli>) -> anyhow::Result<ExitCode> {
    let service = loaded.cli.service();
    match loaded.cli.command.as_ref().unwrap_or(&Command::Service(Verb::Serve)) {
        Command::Service(Verb::Serve) => {}
        Command::Service(verb) => {
            service::side_verb(verb, service, &loaded.settings, loaded.command).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Own(command) => return cli::run(command, &loaded.cli).await,
    }
    telemetry::init(&service.log)?;
    keys::expect_hangup();
    let config = loaded.cli.config()?;
    let built = App::build(config).await?;
    let listener = service::bind(service).await?;
    tracing::info!(address = %listener.local_addr()?, "claude-endpoint listens");
    built.run(listener, service::stop_signal()?).await;
    Ok(ExitCode::SUCCESS)
}
