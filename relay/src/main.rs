//! The relay's process: parse, telemetry, build, run.

use std::process::ExitCode;

use relay::{
    Relay,
    cli::{self, Command},
    config::{self, Cli, Config},
    doctor,
};
use shared::{
    config::Loaded,
    keys,
    service::{self, Verb},
    telemetry,
};

#[tokio::main]
async fn main() -> ExitCode {
    match config::load(std::env::args_os()) {
        Ok(loaded) => run(loaded).await.unwrap_or_else(|error| service::exit(Err(error))),
        Err(error) => service::unusable(&error),
    }
}

async fn run(loaded: Loaded<Cli>) -> anyhow::Result<ExitCode> {
    let args = loaded.cli.args;
    match loaded.cli.command.unwrap_or(Command::Service(Verb::Serve)) {
        Command::Service(Verb::Serve) => {
            telemetry::init(&args.service.log)?;
            keys::expect_hangup();
            // In a container nothing else would end it: the first process there is not ended by a signal that it does not take.
            let stop = service::stop_signal()?;
            let relay = Relay::build(Config::new(args.clone(), &loaded.tables)?).await?;
            relay.run(service::bind(&args.service).await?, stop).await?;
        }
        Command::Service(verb) => {
            service::side_verb(&verb, &args.service, &loaded.settings, loaded.command).await?;
        }
        Command::Doctor(doctor) => return doctor::run(&doctor, &args, &loaded.tables).await,
        Command::Operator(command) => cli::run(command, &args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
