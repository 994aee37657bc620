//! The `ollama-endpoint` binary.

use std::process::ExitCode;

use ollama_endpoint::{App, config};
use shared::{service, telemetry};

/// Every proxied request allocates a hundred times.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    service::exit(run().await)
}

async fn run() -> anyhow::Result<()> {
    let loaded = config::load(std::env::args_os())?;
    let settings = loaded.cli.service();
    if let Some(verb) = loaded.cli.side_verb() {
        return service::side_verb(verb, settings, &loaded.settings).await;
    }
    telemetry::init(settings.log_format, &settings.rust_log)?;
    let app = App::build(loaded.cli.config()?).await?;
    let listener = service::bind(settings).await?;
    tracing::info!(address = %listener.local_addr()?, "ollama-endpoint listens");
    app.run(listener, service::stop_signal()?).await;
    Ok(())
}
