//! Takes everything back that setup made.

use anyhow::{Context, anyhow};

use super::{
    apply::{self, Action},
    config::{Apply, Folders},
    control,
    place::Place,
    service,
    settings::Settings,
    setup::public_key,
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
/// What the VPS needs is not known, and nothing was changed; or something cannot be removed, and a second run goes on.
pub(super) async fn uninstall(args: &UninstallArgs) -> anyhow::Result<()> {
    let (place, apply) = (&Place::new(&args.folders)?, &args.apply);
    // What the VPS is told stands in the files that go.
    let settings = Settings::load(&place.folder);
    let (own, next) = (public_key(place).ok(), public_key(&place.next()).ok());
    if apply.apply.is_some() {
        let settings = settings.as_ref().map_err(|why| {
            anyhow!("{why:#}; what to remove on the VPS is not known, and nothing was changed")
        })?;
        let own = own.context("the tunnel's key is not here any more; remove its line on the VPS by hand")?;
        stop(place).await?;
        if let Some(next) = &next {
            apply::carry_out(apply, Action::Forget, settings, next)?;
        }
        apply::carry_out(apply, Action::Remove, settings, &own)?;
    } else {
        stop(place).await?;
        let keys: String = own.into_iter().chain(next).collect();
        match settings {
            Ok(settings) => print!("{}", by_hand(&settings.host, &settings.user, &keys)),
            Err(_) if keys.is_empty() => {}
            Err(why) => {
                println!("what the VPS was set up with cannot be read any more: {why:#}");
                print!("{}", by_hand("the VPS", "ai-tunnel", &keys));
            }
        }
    }
    place.remove_all()?;
    println!("tunnel: removed from this machine");
    Ok(())
}

async fn stop(place: &Place) -> anyhow::Result<()> {
    if service::uninstall()? {
        println!("service: removed");
    }
    control::stop(place).await
}

fn by_hand(host: &str, user: &str, keys: &str) -> String {
    format!(
        "On {host}, as root (--apply ADMIN@HOST does it):\n\
         1. remove this key from ~{user}/.ssh/authorized_keys; an account that only the tunnel had can go whole\n{}\n\
         2. rm /etc/ssh/sshd_config.d/ai-relay.conf && sshd -t && systemctl reload ssh\n",
        keys.trim()
    )
}
