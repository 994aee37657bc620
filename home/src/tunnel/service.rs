//! The tunnel as a service of the system.

use std::path::PathBuf;

use anyhow::Context;

use super::{
    control,
    place::{self, Place},
};
use crate::services::{self, Manager, Name, START_LOG, Service};

/// Who is to keep the tunnel up, if it can.
///
/// # Errors
/// The system has no manager that is known, or that one cannot get at the tunnel's files.
pub(super) fn manager(place: &Place, daemon: bool) -> anyhow::Result<Manager> {
    let manager = Manager::choose(daemon)?;
    services::check_reachable(&manager, &services::home()?, &[&program()?, &place.data_root, &place.folder])?;
    Ok(manager)
}

/// Has the system keep the tunnel up, in place of whatever does that now.
///
/// # Errors
/// The system refuses.
pub(crate) async fn install(place: &Place, manager: &Manager) -> anyhow::Result<()> {
    control::stop_beside(place, manager).await?;
    place::remove(&place.connected())?;
    let service = service(place, manager)?;
    let file = services::replace(manager, &service)?;
    println!("{}: installed as {}", service.name, file.display());
    println!("    {manager} keeps it up, log: {}", manager.log_command(&service));
    Ok(())
}

/// Has the system start it anew.
///
/// # Errors
/// The system refuses.
pub(super) async fn restart(place: &Place, manager: &Manager) -> anyhow::Result<()> {
    control::stop_beside(place, manager).await?;
    place::remove(&place.connected())?;
    services::restart(manager, &name())?;
    println!("{}: started anew by {manager}", name());
    Ok(())
}

fn program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("this program does not know where it is")
}

/// Its name at the manager.
pub(super) fn name() -> String {
    Name::Tunnel.label()
}

/// What the manager is told.
pub(crate) fn service(place: &Place, manager: &Manager) -> anyhow::Result<Service> {
    let text = |path: &std::path::Path| path.display().to_string();
    let mut arguments = vec!["tunnel".to_owned(), "run".to_owned()];
    if *manager != Manager::SystemdUser {
        // launchd keeps no journal, and lets a file grow for ever.
        arguments.extend(["--log".to_owned(), text(&place.log())]);
    }
    Ok(Service {
        name: name(),
        about: Name::Tunnel.about().to_owned(),
        program: program()?,
        arguments,
        environment: vec![
            ("PATH".to_owned(), "/usr/bin:/bin:/usr/sbin:/sbin".to_owned()),
            ("DATA_ROOT".to_owned(), text(&place.data_root)),
            ("TUNNEL_DIR".to_owned(), text(&place.folder)),
        ],
        environment_file: None,
        folder: place.data_root.clone(),
        log: place.log().with_extension(START_LOG.trim_start_matches('.')),
    })
}

/// Takes it from the system; whether it was there. A machine without a manager has none.
///
/// # Errors
/// The manager refuses.
pub(super) fn uninstall() -> anyhow::Result<bool> {
    if Manager::detect().is_err() {
        return Ok(false);
    }
    services::remove(&name())
}

/// Who keeps it up.
pub(super) fn installed() -> Option<Manager> {
    services::installed(&name())
}
