//! The relay's process: parse, telemetry, build, run.

use std::process::ExitCode;

use relay::{
    Relay,
    cli::{self, Command},
    config::{self, Config},
};
use shared::{
    service::{self, Verb},
    telemetry,
};

#[tokio::main]
async fn main() -> ExitCode {
    service::exit(run().await)
}

async fn run() -> anyhow::Result<()> {
    let loaded = config::load(std::env::args_os())?;
    let args = loaded.cli.args;
    match loaded.cli.command.unwrap_or(Command::Service(Verb::Serve)) {
        Command::Service(Verb::Serve) => {
            telemetry::init(&args.service.log)?;
            let stop = service::stop_signal()?;
            let relay = Relay::build(Config::new(args.clone(), &loaded.tables)?).await?;
            relay.run(service::bind(&args.service).await?, stop).await
        }
        Command::Service(verb) => {
            service::side_verb(&verb, &args.service, &loaded.settings, loaded.command).await
        }
        Command::Operator(command) => cli::run(command, &args).await,
    }
}
