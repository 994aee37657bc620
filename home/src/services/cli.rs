//! The verbs.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::{
    Manager, Service,
    config::{Place, Settings},
    install, installed, launch, login,
    manager::{self, account},
    plan::{self, Name},
    remove, status, uninstall,
};

/// As the scripts give a service to become healthy.
const HEALTH_DEADLINE: Duration = Duration::from_secs(30);

/// What can be done with the services.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Install them, start them now, and keep them running from every start of the machine on
    Install {
        /// On a Mac that nobody is logged in to: from its start on, by launchd's daemons (asks for your password)
        #[arg(long)]
        daemon: bool,
        /// Which of them.
        #[command(flatten)]
        which: Which,
        /// Where things are.
        #[command(flatten)]
        place: Box<Place>,
    },
    /// Stop them and remove what was installed; settings, data and logs stay
    Uninstall {
        /// Which of them.
        #[command(flatten)]
        which: Which,
    },
    /// Show whether each is installed and runs; exit code 1 unless all that are installed run
    Status {
        /// Which of them.
        #[command(flatten)]
        which: Which,
    },
    /// Print the files that `install` would write
    Render {
        /// For whom
        #[arg(long)]
        manager: Kind,
        /// Which of them.
        #[command(flatten)]
        which: Which,
        /// Where things are.
        #[command(flatten)]
        place: Box<Place>,
    },
    /// Read the settings and become the service; this is what launchd and systemd start
    Run {
        /// Which one
        name: Name,
        /// Where things are.
        #[command(flatten)]
        place: Box<Place>,
    },
}

/// Which of the services.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// Only these, comma-separated [default: all; the tunnel if it is set up]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Name>,
}

/// The service managers by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    /// launchd, while the user is logged in
    LaunchAgent,
    /// launchd, from the start of the machine on
    LaunchDaemon,
    /// The user's own systemd
    SystemdUser,
}

impl Which {
    fn or(&self, usual: Vec<Name>) -> Vec<Name> {
        if self.only.is_empty() { usual } else { self.only.clone() }
    }
}

/// Carries out one of the verbs.
///
/// # Errors
/// The text says what went wrong and what to do.
pub async fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Install { daemon, which, place } => {
            let manager = if daemon { Manager::daemon()? } else { Manager::detect()? };
            install_all(&manager, &which, &place.settings()?).await
        }
        Verb::Uninstall { which } => uninstall_all(&which),
        Verb::Status { which } => show_status(&which),
        Verb::Render { manager, which, place } => render(manager, &which, &place.settings()?),
        Verb::Run { name, place } => launch::run(name, &place.settings()?),
    }
}

async fn install_all(manager: &Manager, which: &Which, settings: &Settings) -> anyhow::Result<()> {
    let names = which.or(plan::usual(settings));
    // Nothing is changed before all of them can start.
    for name in &names {
        let is_running = status(manager, &name.label()).is_ok_and(|status| status.pid.is_some());
        plan::check(*name, manager, settings, is_running)?;
    }
    for name in &names {
        for other in manager.others() {
            uninstall(&other, &name.label())?;
        }
        let service = plan::service(*name, manager, settings)?;
        let file = install(manager, &service)?;
        println!("{}: installed as {}", name.label(), file.display());
        let warnings = healthy(*name, manager, &service, settings).await?;
        println!("    runs, log: {}", manager.log_command(&service));
        for warning in warnings {
            println!("    {warning}");
        }
    }
    if names.contains(&Name::ClaudeEndpoint) {
        println!("{}", login::advice(&login::look(manager, settings)?, manager));
    }
    if *manager == Manager::SystemdUser {
        println!("{}", lingering(&account()?));
    }
    Ok(())
}

/// Waits until a service answers that it is well; its warnings. What only launchd's or systemd's surroundings can show,
/// such as a login that is not found there, is among them.
async fn healthy(
    name: Name,
    manager: &Manager,
    service: &Service,
    settings: &Settings,
) -> anyhow::Result<Vec<String>> {
    if name == Name::Tunnel {
        return Ok(Vec::new()); // a VPS that is away is no failed installation
    }
    let began = Instant::now();
    let mut last_seen = began;
    // One without a process for this long has ended by itself; launchd may take a while to begin.
    let gone_after = Duration::from_secs(if *manager == Manager::SystemdUser { 2 } else { 12 });
    loop {
        let asked = launch::command(name, settings).arg("healthcheck").output();
        let asked = asked.with_context(|| format!("cannot run {}", name.program()))?;
        let status = status(manager, &service.name)?;
        if status.pid.is_some() {
            last_seen = Instant::now();
            // Without a process of its own, the answer would be somebody else's. Who can review is known a moment later.
            let said = String::from_utf8_lossy(&asked.stdout);
            let is_known = !said.contains("ask again") || began.elapsed() > HEALTH_DEADLINE;
            if asked.status.success() && is_known {
                return Ok(said.lines().filter(|line| line.starts_with("warn")).map(str::to_owned).collect());
            }
        }
        if began.elapsed() > HEALTH_DEADLINE || last_seen.elapsed() > gone_after {
            bail!(
                "{} is not healthy, and is tried again until it is uninstalled.\nIts state: {}\nIts health: {}\n{}Its log: {}",
                service.name,
                status.says,
                String::from_utf8_lossy(&asked.stderr).trim(),
                manager.last_words(service),
                manager.log_command(service)
            );
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether the services run while nobody is logged in.
fn lingering(user: &str) -> String {
    let asked = manager::run(std::process::Command::new("loginctl").args([
        "show-user",
        user,
        "--property=Linger",
        "--value",
    ]));
    match asked.as_deref().map(str::trim) {
        Ok("yes") => "systemd: the services start with the machine, and stay when you log out".to_owned(),
        _ => format!(
            "note  systemd: the services run while you are logged in. To have them run from the machine's start on:\n      \
             sudo loginctl enable-linger {user}"
        ),
    }
}

fn uninstall_all(which: &Which) -> anyhow::Result<()> {
    // The tunnel first, so that nothing more comes in.
    for name in which.or(Name::ALL.to_vec()).iter().rev() {
        let found = if remove(&name.label())? { "stopped and removed" } else { "was not installed" };
        println!("{}: {found}", name.label());
    }
    Ok(())
}

fn show_status(which: &Which) -> anyhow::Result<()> {
    let detected = Manager::detect()?;
    let mut stopped = Vec::new();
    for name in which.or(Name::ALL.to_vec()) {
        let manager = installed(&name.label()).unwrap_or(detected.clone());
        let status = status(&manager, &name.label())?;
        let pid = status.pid.map_or(String::new(), |pid| format!(", pid {pid}"));
        println!("{:<26} {}{pid}", name.label(), status.says);
        if status.installed && status.pid.is_none() {
            stopped.push(name.label());
        }
    }
    if stopped.is_empty() { Ok(()) } else { bail!("installed, but not running: {}", stopped.join(", ")) }
}

fn render(kind: Kind, which: &Which, settings: &Settings) -> anyhow::Result<()> {
    let manager = match kind {
        Kind::LaunchAgent => Manager::LaunchAgent,
        Kind::LaunchDaemon => Manager::LaunchDaemon { user: settings.user.clone() },
        Kind::SystemdUser => Manager::SystemdUser,
    };
    for name in which.or(plan::usual(settings)) {
        let service = plan::service(name, &manager, settings)?;
        let (file, text) = (manager.file(&service.name)?, manager.render(&service)?);
        writeln!(std::io::stdout(), "# {}\n{text}", file.display())?;
    }
    Ok(())
}
