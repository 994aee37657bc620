//! `relay doctor`: each hop of the journey is looked at from the VPS, in order, and what is broken is named together with
//! the command that mends it. It changes nothing: what it sends is a signed `ping`, as GitHub does it.

use std::process::ExitCode;

use shared::doctor::{Diagnosis, Options};

use crate::config::RelayArgs;

mod door;
mod github;
mod hook;
mod ping;
mod running;
mod settings;
mod sshd;
mod sshd_policy;
mod targets;

pub(crate) use settings::Known;

/// How the doctor looks.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    options: Options,
    /// The tunnel's account on this machine
    #[arg(long, value_name = "NAME", default_value = "ai-tunnel")]
    tunnel_user: String,
    /// sshd's configuration, where it is not the usual one
    #[arg(long, value_name = "FILE")]
    sshd_config: Option<std::path::PathBuf>,
}

/// Looks, and prints what was found. The code is 0 where nothing is broken, else 1.
///
/// # Errors
/// It cannot be printed.
pub async fn run(doctor: &Doctor, args: &RelayArgs, tables: &toml::Table) -> anyhow::Result<ExitCode> {
    let offline = doctor.options.offline;
    let mut found = Diagnosis::new("relay");
    let (findings, known) = settings::examine(args, tables);
    found.hop("settings", findings);
    let (findings, hook_url) = github::examine(args, offline).await;
    found.hop("github", findings);
    found.hop(
        "public url",
        door::examine(args.missed.webhook_url.as_ref().or(hook_url.as_ref()), &known, offline).await,
    );
    found.hop("relay", running::examine(args, &known).await);
    let roads = targets::roads(&known).await;
    found.hop("sshd", sshd::examine(doctor, &roads));
    found.hop("tunnel", roads.iter().flat_map(targets::Road::tunnel).collect());
    for road in &roads {
        found.hop(road.service, road.endpoint());
    }
    found.hop("targets", targets::extra(&known, offline).await);
    found.print(doctor.options)
}
