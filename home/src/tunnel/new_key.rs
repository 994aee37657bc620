//! Replaces the tunnel's key: the new one is let in and proven before the old one goes, so that the tunnel is never without.

use std::fs;

use anyhow::Context;

use super::{
    apply::{self, Action},
    config::{Apply, Folders},
    place::{self, Place},
    policy,
    settings::Settings,
    setup::{make_key, proven, public_key},
};
use crate::commands;

/// Whose key is replaced.
#[derive(Debug, Clone, clap::Args)]
pub struct NewKeyArgs {
    #[command(flatten)]
    folders: Folders,
    #[command(flatten)]
    apply: Apply,
}

/// The whole story.
///
/// # Errors
/// A step failed, and the old key is still good; a second run goes on with the same new one.
pub(super) async fn new_key(args: &NewKeyArgs) -> anyhow::Result<()> {
    let (place, apply) = (&Place::new(&args.folders)?, &args.apply);
    place.check()?;
    let settings = Settings::load(&place.folder)?;
    let old = public_key(place).context("there is no key to replace; run setup")?;
    let next = &place.next();
    next.check()?;
    next.make()?;
    make_key(next)?;
    place::write_private(&next.known_hosts(), &fs::read_to_string(place.known_hosts())?)?;
    place::write_private(&next.ssh_config(), &settings.ssh_config(&next.folder))?;
    let new = public_key(next)?;
    let by_hand = apply.apply.is_none();
    if by_hand {
        let line = policy::authorized_key(&settings, &new);
        println!(
            "\nOn the VPS, add this line to ~{}/.ssh/authorized_keys, beside the old one:\n{line}\n",
            settings.user
        );
    } else {
        apply::carry_out(apply, Action::Apply, &settings, &new)?;
    }
    if !proven(next, by_hand, &commands::tunnel("new-key")).await? {
        return Ok(());
    }
    if !by_hand {
        let confirmed = Apply { yes: true, ..apply.clone() };
        apply::carry_out(&confirmed, Action::Forget, &settings, &old)?;
    }
    take_over(place, next)?;
    println!("key: the new one is {}, and each new connection uses it", place.key().display());
    if by_hand {
        println!(
            "On the VPS, remove the old one from ~{}/.ssh/authorized_keys:\n{}",
            settings.user,
            old.trim()
        );
    }
    Ok(())
}

/// A public half that is missing is made again from the private one; one of another key would mislead.
fn take_over(place: &Place, next: &Place) -> anyhow::Result<()> {
    place::remove(&place.public_key())?;
    for (from, to) in [(next.key(), place.key()), (next.public_key(), place.public_key())] {
        fs::rename(&from, &to)
            .with_context(|| format!("cannot move {} to {}", from.display(), to.display()))?;
    }
    next.remove_files()
}
