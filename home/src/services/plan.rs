//! Which services there are on this machine, and how each is run.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::{Manager, START_LOG, Service, config::Settings, text};
use crate::{commands, tunnel};

/// Where programs are on every machine.
const STANDARD_PATH: [&str; 5] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
const HOMEBREW: &str = "/opt/homebrew/bin";

/// One of the services at home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Keeps the memory and proxies Ollama
    OllamaEndpoint,
    /// Reviews
    ClaudeEndpoint,
    /// Joins both to the relay
    Tunnel,
}

impl Name {
    pub(super) const ALL: [Self; 3] = [Self::OllamaEndpoint, Self::ClaudeEndpoint, Self::Tunnel];

    /// Its program's name, and that of its folder.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::OllamaEndpoint => "ollama-endpoint",
            Self::ClaudeEndpoint => "claude-endpoint",
            Self::Tunnel => "tunnel",
        }
    }

    /// Its name at the service manager.
    pub(crate) fn label(self) -> String {
        format!("ai-relay-{}", self.program())
    }

    /// The variable of its port; the tunnel has none.
    pub(super) fn port(self, settings: &Settings) -> Option<(&'static str, u16)> {
        match self {
            Self::OllamaEndpoint => Some(("OLLAMA_ENDPOINT_PORT", settings.ollama_endpoint_port)),
            Self::ClaudeEndpoint => Some(("CLAUDE_ENDPOINT_PORT", settings.claude_endpoint_port)),
            Self::Tunnel => None,
        }
    }

    /// What it does, as the service manager shows it.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::OllamaEndpoint => "AI Relay: the memory, and Ollama's proxy",
            Self::ClaudeEndpoint => "AI Relay: reviews what happens on GitHub",
            Self::Tunnel => "AI Relay: SSH reverse tunnel to the VPS",
        }
    }
}

/// Those that are installed unless some are chosen: the tunnel only where it was set up.
pub(super) fn usual(settings: &Settings) -> Vec<Name> {
    Name::ALL.into_iter().filter(|name| *name != Name::Tunnel || tunnel_is_set_up(settings)).collect()
}

fn tunnel_is_set_up(settings: &Settings) -> bool {
    settings.tunnel_dir.join("ssh_config").exists()
}

/// How one is run.
///
/// # Errors
/// The search path cannot stand in a service file.
pub(super) fn service(name: Name, manager: &Manager, settings: &Settings) -> anyhow::Result<Service> {
    let program = settings.programs.join("ai-relay-home");
    if name == Name::Tunnel {
        return Ok(Service { program, ..tunnel::service::service(&settings.tunnel()?, manager)? });
    }
    let mut environment = surroundings(manager, settings)?;
    let mut log = settings.home.join(format!("Library/Logs/ai-relay/{}.log", name.program()));
    if !matches!(manager, Manager::SystemdUser) {
        // launchd bounds no file: each service has its own log, and launchd's gets what is said before that is open.
        environment.push(("LOG_FILE".to_owned(), text::path(&log)?.to_owned()));
        log = log.with_extension(START_LOG.trim_start_matches('.'));
    }
    Ok(Service {
        name: name.label(),
        about: name.about().to_owned(),
        program,
        arguments: ["services", "run", name.program()].map(str::to_owned).to_vec(),
        environment,
        environment_file: Some(settings.env_file.clone()),
        folder: settings.root.clone(),
        log,
    })
}

/// What a login would have set, and what is not in the settings file.
fn surroundings(manager: &Manager, settings: &Settings) -> anyhow::Result<Vec<(String, String)>> {
    let mut environment = vec![
        ("HOME".to_owned(), text::path(&settings.home)?.to_owned()),
        // the Claude CLI finds its login in the keychain by it
        ("USER".to_owned(), settings.user.clone()),
        ("PATH".to_owned(), search_path(manager, settings)?),
    ];
    environment.extend(settings.given.iter().cloned());
    Ok(environment)
}

/// The folders in which a service finds programs: that of the Claude CLI, that of the node which runs it, and the
/// standard ones. A person's whole PATH is not copied: it may name folders that others write to.
pub(super) fn search_path(manager: &Manager, settings: &Settings) -> anyhow::Result<String> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let claude = settings.file.get("CLAUDE_CLI").map_or("claude", String::as_str);
    for program in [claude, "node"] {
        folders.extend(find(program, &settings.path).and_then(|found| Some(found.parent()?.to_owned())));
    }
    if !matches!(manager, Manager::SystemdUser) {
        folders.push(HOMEBREW.into());
    }
    folders.extend(STANDARD_PATH.iter().map(PathBuf::from));
    let mut once: Vec<PathBuf> = Vec::new();
    for folder in folders {
        if !once.contains(&folder) {
            once.push(folder);
        }
    }
    let path = std::env::join_paths(once).context("the folder of the Claude CLI cannot stand in a PATH")?;
    path.into_string().ok().context("the folder of the Claude CLI is not valid UTF-8")
}

/// Where a program is, by a search path; a name that is a path is that path.
pub(super) fn find(program: &str, path: &OsStr) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.is_absolute()
            && fs::metadata(path)
                .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_program);
    }
    std::env::split_paths(path).map(|folder| folder.join(program)).find(is_program)
}

/// Refuses what could not start, with the command that mends it.
///
/// # Errors
/// A program is missing, or its port is another's.
pub(super) fn check(
    name: Name,
    manager: &Manager,
    settings: &Settings,
    is_running: bool,
) -> anyhow::Result<()> {
    let Settings { root, env_file, programs, data_root, tunnel_dir, .. } = settings;
    check_reachable(manager, &settings.home, &[root, env_file, programs, data_root, tunnel_dir])?;
    if name == Name::Tunnel {
        if !tunnel_is_set_up(settings) {
            bail!(
                "the tunnel is not set up; run: {}",
                commands::tunnel("setup --host VPS --user USER --install")
            );
        }
        return Ok(());
    }
    let program = programs.join(name.program());
    if !program.is_file() {
        bail!(
            "{} is missing; install.sh of a release puts it there, and of the sources it is built by: \
             cargo build --release --locked -p {}",
            program.display(),
            name.program()
        );
    }
    let Some((variable, port)) = name.port(settings) else { return Ok(()) };
    if !is_running && is_taken(port) {
        bail!(
            "port {port}, for the {}, is taken; if ./scripts/start-ai-services.sh started it, run ./scripts/stop-ai-services.sh \
             first, else stop that program or set {variable} in {} to a free port",
            name.program(),
            env_file.display()
        );
    }
    Ok(())
}

/// macOS keeps what launchd starts out of some folders, with "Operation not permitted" as its only word.
///
/// # Errors
/// One of `paths` is in such a folder.
pub(crate) fn check_reachable(manager: &Manager, home: &Path, paths: &[&PathBuf]) -> anyhow::Result<()> {
    if *manager == Manager::SystemdUser {
        return Ok(());
    }
    for private in ["Desktop", "Documents", "Downloads", "Library/Mobile Documents"] {
        let private = home.join(private);
        if let Some(path) = paths.iter().find(|path| path.starts_with(&private)) {
            bail!(
                "macOS does not let launchd's services into {}, where {} is; move the project, for example to {}",
                private.display(),
                path.display(),
                home.join("ai-relay").display()
            );
        }
    }
    Ok(())
}

fn is_taken(port: u16) -> bool {
    match std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::AddrInUse,
    }
}
