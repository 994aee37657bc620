//! `ollama-endpoint doctor`: the tunnel's end, the running service, its memory, and Ollama behind it, as the machine at home
//! sees them. It changes nothing; Ollama is asked to embed one word.

use std::process::ExitCode;

use inbox::doctor as common;
use shared::config::TunnelArgs;
use shared::doctor::{Diagnosis, Finding, Options, own, secrets, tunnel};
use shared::health::Report;
use shared::signature::SigningKeys;

use crate::SERVICE;
use crate::config::{Cli, Config, ProxyAuth};

mod memory;
mod ollama;

/// How the doctor looks.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    tunnel: TunnelArgs,
}

/// Looks, and prints what was found. The code is 0 where nothing is broken, else 1.
///
/// # Errors
/// It cannot be printed.
pub(crate) async fn run(doctor: &Doctor, cli: &Cli) -> anyhow::Result<ExitCode> {
    let service = cli.service();
    let mut found = Diagnosis::new(SERVICE);
    let mut settings = Vec::new();
    let keys = common::keys(service, &mut settings);
    let config = configuration(cli, &keys, &mut settings);
    found.hop("settings", settings);
    let (mut here, report) = common::running(SERVICE, service, &keys).await;
    let mut way = tunnel::examine(&doctor.tunnel.folder(), service.port, doctor.options.offline);
    way.extend(report.as_ref().map(tunnel::relay));
    found.hop("tunnel", way);
    here.extend(common::store("ollama", service).await);
    found.hop(SERVICE, here);
    let (mut memory, models) = memory::examine(&cli.memory_path());
    memory.extend(report.as_ref().map(background).unwrap_or_default());
    found.hop("memory", memory);
    if let Some(config) = config {
        found.hop("ollama", ollama::examine(&config, &models).await);
    }
    found.print(doctor.options)
}

/// The settings that a start would need.
fn configuration(cli: &Cli, keys: &[SigningKeys], found: &mut Vec<Finding>) -> Option<Config> {
    let config = common::configuration(SERVICE, cli.config(), keys, found)?;
    let name = "MEMORY_TOKEN";
    match &config.token {
        Some(tokens) => {
            let token = tokens.texts();
            let signing = cli.service().relay_signing_key.as_ref().map(secrets::split).unwrap_or_default();
            found.push(secrets::strength(name, &token, secrets::MAKE));
            found.extend(secrets::reused(&[("RELAY_SIGNING_KEY", signing), (name, token)]));
        }
        None => found.push(Finding::warn(
            name,
            "not set: agents and people cannot use the memory, /mcp or the proxy",
            format!("{}, as MEMORY_TOKEN in .env, for both endpoints", secrets::MAKE),
        )),
    }
    found.extend(cli.token_file().and_then(|file| secrets::private(name, file)));
    found.push(proxy(&config));
    Some(config)
}

fn proxy(config: &Config) -> Finding {
    let check = "proxy";
    match (config.proxy.admin, config.proxy_auth) {
        (true, _) => Finding::warn(
            check,
            "OLLAMA_PROXY_ADMIN=1: who may use the proxy may also delete and replace models",
            "OLLAMA_PROXY_ADMIN=0, unless you are just pulling one through it",
        ),
        (false, ProxyAuth::None) => Finding::warn(
            check,
            "OLLAMA_PROXY_AUTH=none: every program on this machine, and through the tunnel on the VPS, may use Ollama",
            "OLLAMA_PROXY_AUTH=required, where your tools can send `Authorization: Bearer`",
        ),
        (false, ProxyAuth::Required) => Finding::ok(check, "for those with MEMORY_TOKEN or a signature"),
    }
}

/// What is done beside the answers.
fn background(report: &Report) -> Vec<Finding> {
    let wanted = [
        ("embedder", "embedder"),
        ("refiner", "refiner"),
        ("memory:without-vector", "waits for a vector"),
        ("memory:set-aside", "cannot be embedded"),
    ];
    own::health(report, &wanted, "see Ollama below; it goes on by itself when Ollama answers")
}
