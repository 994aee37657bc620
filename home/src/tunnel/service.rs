//! The tunnel as a service of the system.

use anyhow::Context;

use super::place::Place;
use crate::services::{self, Manager, Name, Service};

/// Has the system keep the tunnel up.
///
/// # Errors
/// The system has no manager that is known, or it refuses.
pub(super) fn install(place: &Place) -> anyhow::Result<()> {
    let manager = Manager::detect()?;
    let path = services::install(&manager, &service(place, &manager)?)?;
    println!("service: {manager} keeps the tunnel up, by {}", path.display());
    Ok(())
}

/// What the manager is told.
pub(super) fn service(place: &Place, manager: &Manager) -> anyhow::Result<Service> {
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let text = |path: &std::path::Path| path.display().to_string();
    let mut arguments = vec!["tunnel".to_owned(), "run".to_owned()];
    if *manager != Manager::SystemdUser {
        // launchd keeps no journal, and lets a file grow for ever.
        arguments.extend(["--log".to_owned(), text(&place.log())]);
    }
    Ok(Service {
        name: Name::Tunnel.label(),
        about: Name::Tunnel.about().to_owned(),
        program,
        arguments,
        environment: vec![
            ("PATH".to_owned(), "/usr/bin:/bin:/usr/sbin:/sbin".to_owned()),
            ("DATA_ROOT".to_owned(), text(&place.data_root)),
            ("TUNNEL_DIR".to_owned(), text(&place.folder)),
        ],
        environment_file: None,
        folder: place.data_root.clone(),
        log: place.log().with_extension("launchd.log"),
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
    services::remove(&Name::Tunnel.label())
}

/// Who keeps it up.
pub(super) fn installed() -> Option<Manager> {
    services::installed(&Name::Tunnel.label())
}
