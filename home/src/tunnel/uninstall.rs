//! Takes everything back that setup made.

use std::fs;

use super::{
    apply::{self, Action},
    config::{Apply, Folders},
    control,
    place::{self, Place},
    service,
    settings::Settings,
};

/// What is taken back.
#[derive(Debug, Clone, clap::Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    apply: Apply,
}

/// Stops the tunnel and removes all of its files.
///
/// # Errors
/// Something cannot be removed; a second run goes on from there.
pub(super) async fn uninstall(args: &UninstallArgs) -> anyhow::Result<()> {
    let (place, apply) = (&Place::new(&args.folders)?, &args.apply);
    // What the VPS is told stands in the files that go.
    let settings = Settings::load(&place.folder).ok();
    let public_key = fs::read_to_string(place.public_key()).unwrap_or_default();
    if service::uninstall()? {
        println!("service: removed");
    }
    control::stop(place).await?;
    match &settings {
        Some(settings) if apply.apply.is_some() => {
            apply::carry_out(apply, Action::Remove, settings, &public_key)?;
        }
        Some(settings) => print!("{}", by_hand(settings, &public_key)),
        None if apply.apply.is_some() => {
            anyhow::bail!("the tunnel is not set up here, so what to remove on the VPS is not known");
        }
        None => {}
    }
    let known_hosts_before = place.folder.join("known_hosts.old");
    let files =
        [place.key(), place.public_key(), place.ssh_config(), place.known_hosts(), known_hosts_before];
    for file in files.iter().chain(&place.traces()) {
        place::remove(file)?;
    }
    // A folder in which somebody keeps something else stays.
    let _ = fs::remove_dir(&place.folder);
    println!("tunnel: removed from this machine");
    Ok(())
}

fn by_hand(settings: &Settings, public_key: &str) -> String {
    let user = &settings.user;
    format!(
        "On {}, as root (--apply ADMIN@HOST does it):\n\
         1. rm /etc/ssh/sshd_config.d/ai-relay.conf && sshd -t && systemctl reload ssh\n\
         2. remove this key from ~{user}/.ssh/authorized_keys; an account that only the tunnel had can go whole\n{}\n",
        settings.host,
        public_key.trim()
    )
}
