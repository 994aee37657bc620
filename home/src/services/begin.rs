//! Installing and restarting: nothing is changed before everything can start, and what was started is waited for until it
//! is well.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    Manager, Service,
    config::{Place, Settings},
    env_file, installed, launch, login,
    manager::{self, account},
    plan::{self, Name},
    replace, restart, status,
};
use crate::{
    commands,
    tunnel::{control, service},
};

/// As the scripts give a service to become healthy.
const HEALTH_DEADLINE: Duration = Duration::from_secs(30);

/// Makes the settings if there are none.
pub(super) fn make_settings(place: &Place) -> anyhow::Result<()> {
    let file = place.env_file()?;
    if env_file::make(&file)? {
        println!(
            "settings: made {} with fresh secrets; the relay needs the same RELAY_SIGNING_KEY, and GitHub's webhook the same \
             GITHUB_WEBHOOK_SECRET",
            file.display()
        );
    }
    Ok(())
}

/// Has the manager keep the services running from now on.
///
/// # Errors
/// One could not start, or does not become well.
pub(super) async fn install_all(
    manager: &Manager,
    names: &[Name],
    settings: &Settings,
) -> anyhow::Result<()> {
    for name in names {
        plan::check(*name, manager, settings, manager.any_runs(&name.label(), status))?;
    }
    let leads_somewhere = names.contains(&Name::Tunnel) && has_good_lock(settings).await?;
    for name in names {
        if *name == Name::Tunnel {
            service::install(&settings.tunnel()?, manager).await?;
            continue;
        }
        let service = plan::service(*name, manager, settings)?;
        let file = replace(manager, &service)?;
        println!("{}: installed as {}", service.name, file.display());
        become_well(*name, manager, &service, settings).await?;
    }
    if names.contains(&Name::ClaudeEndpoint) {
        println!("{}", login::advice(&login::look(manager, settings)?, manager));
    }
    lingering(manager)?.iter().for_each(|note| println!("{note}"));
    if leads_somewhere { control::await_connection(&settings.tunnel()?, || true).await } else { Ok(()) }
}

/// A VPS that is away, which is `false`, is no failed installation; an open lock is.
async fn has_good_lock(settings: &Settings) -> anyhow::Result<bool> {
    control::lock_holds(&settings.tunnel()?).await.with_context(|| {
        format!(
            "nothing was installed; without the tunnel: {} --only claude-endpoint,ollama-endpoint",
            commands::services("install")
        )
    })
}

/// Has each service's manager start it anew: those of `only`, or all that are installed.
///
/// # Errors
/// One of `only` is not installed, nothing is, or one does not become well.
pub(super) async fn restart_all(only: &[Name], place: &Place) -> anyhow::Result<()> {
    let mut chosen = Vec::new();
    for name in if only.is_empty() { &Name::ALL } else { only } {
        match installed(&name.label()) {
            Some(manager) => chosen.push((*name, manager)),
            None if only.is_empty() => {}
            None => bail!("{} is not installed; `{}` does that", name.label(), commands::services("install")),
        }
    }
    if chosen.is_empty() {
        bail!("no service is installed; `{}` does that", commands::services("install"));
    }
    let settings = place.settings()?;
    for (name, manager) in &chosen {
        if *name == Name::Tunnel {
            control::restart(&settings.tunnel()?).await?;
            continue;
        }
        restart(manager, &name.label())?;
        println!("{}: started anew by {manager}", name.label());
        become_well(*name, manager, &plan::service(*name, manager, &settings)?, &settings).await?;
    }
    Ok(())
}

async fn become_well(
    name: Name,
    manager: &Manager,
    service: &Service,
    settings: &Settings,
) -> anyhow::Result<()> {
    let warnings = healthy(name, manager, service, settings).await?;
    println!("    runs, log: {}", manager.log_command(service));
    for warning in warnings {
        println!("    {warning}");
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
    let began = Instant::now();
    let mut last_seen = began;
    // One without a process for this long has ended by itself; launchd may take a while to begin.
    let gone_after = Duration::from_secs(if *manager == Manager::SystemdUser { 5 } else { 12 });
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

/// What the person who installs still has to know: whether the services run while nobody is logged in.
pub(crate) fn lingering(manager: &Manager) -> anyhow::Result<Option<String>> {
    if *manager != Manager::SystemdUser {
        return Ok(None);
    }
    let user = account()?;
    let asked =
        manager::run(Command::new("loginctl").args(["show-user", &user, "--property=Linger", "--value"]));
    Ok(Some(match asked.as_deref().map(str::trim) {
        Ok("yes") => "systemd: the services start with the machine, and stay when you log out".to_owned(),
        _ => format!(
            "note  systemd: the services run while you are logged in. To have them run from the machine's start on:\n      \
             sudo loginctl enable-linger {user}"
        ),
    }))
}
