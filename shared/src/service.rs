//! How a service is run: the verbs that all three binaries have, signals, and how a failed start is told.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Command;
use jiff::Timestamp;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    client,
    config::{ServiceArgs, Setting, show},
    health::Report,
    keys, manual,
};

/// The verbs of each binary, to flatten into its own.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Verb {
    /// Run the service (also without a word)
    Serve,
    /// Ask the running service for its health; exit code 0 unless it fails
    Healthcheck,
    /// Show which keys the service knows, by position and a short name, and what each was last used for; up to a minute old
    Keys {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// What the command line tells about itself.
    #[command(flatten)]
    Manual(manual::Verb),
}

/// What can be done with the configuration.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ConfigVerb {
    /// Every setting, its value and where that came from; secrets are never shown
    Show {
        /// Accepted for clarity: what is shown is always redacted
        #[arg(long)]
        redacted: bool,
    },
}

/// Carries out the verbs that do not serve. `command` is the program's command line.
///
/// # Errors
/// The service does not answer, or says that it fails; or a file cannot be written.
pub async fn side_verb(
    verb: &Verb,
    service: &ServiceArgs,
    settings: &[Setting],
    command: Command,
) -> anyhow::Result<()> {
    match verb {
        Verb::Serve => Ok(()),
        Verb::Healthcheck => healthcheck(service).await,
        Verb::Keys { json } => {
            let report = keys::written(&service.data_dir)?;
            if *json {
                println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                print!("{}", keys::table(&report, Timestamp::now()));
            }
            Ok(())
        }
        Verb::Config(ConfigVerb::Show { .. }) => {
            print!("{}", show(settings));
            Ok(())
        }
        Verb::Manual(verb) => manual::run(verb, command),
    }
}

/// Asks `GET /health` of the service that these settings describe.
async fn healthcheck(service: &ServiceArgs) -> anyhow::Result<()> {
    let url = format!("{}/health", service.own_url());
    let response = client::http(Some(Duration::from_secs(5)))?.get(&url).send().await;
    let response = response.with_context(|| format!("nothing answers at {url}; is the service running?"))?;
    let failed = !response.status().is_success();
    let report: Report =
        response.json().await.with_context(|| format!("{url} does not answer as one of our services"))?;
    for (component, checks) in &report.checks {
        for check in checks {
            println!(
                "{:<5} {component}  {}",
                format!("{:?}", check.status).to_lowercase(),
                check.output.as_deref().unwrap_or("")
            );
        }
    }
    if failed { bail!("{} fails", report.service_id) } else { Ok(()) }
}

/// Binds the service's address, after making room for as many connections as the system allows.
///
/// # Errors
/// The address is taken or not this machine's; the text says what to do.
pub async fn bind(service: &ServiceArgs) -> anyhow::Result<TcpListener> {
    let address = service.address();
    // The soft limit (often 1024, on macOS 256) is for programs that cannot handle more; the listener keeps within it.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is another instance running? PORT and LISTEN change the address")
    })
}

/// A token that is cancelled by SIGTERM or SIGINT; a second signal ends the process at once. Until this is called, the first
/// one does: a start may take long, and nobody looks at the token during it.
///
/// # Errors
/// The process cannot listen for signals.
pub fn stop_signal() -> anyhow::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: finishing open work, then stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: finishing open work, then stopping"),
        }
        stopped.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("a second signal: stopping at once; what is cut off goes on at the next start");
        std::process::exit(130);
    });
    Ok(stop)
}

/// The exit code of a program whose settings cannot be read, as of one whose command line cannot; the error is printed.
pub fn unusable(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(2)
}

/// The exit code of a run; an error is printed with its causes on one line.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
