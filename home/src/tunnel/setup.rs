//! Sets the tunnel up: a key of its own, the VPS's host key, a configuration, and what the VPS needs; then proves it.

use std::{fs, io::IsTerminal, process::Command};

use anyhow::bail;

use super::{
    apply::{self, Action},
    config::{Apply, Folders, LocalPorts},
    control,
    hostkey::{self, ask, output},
    place::{self, Place},
    policy,
    prove::{self, Proof},
    service,
    settings::Settings,
};
use crate::{commands, services};

/// What is set up.
#[derive(Debug, Clone, clap::Args)]
pub struct SetupArgs {
    #[command(flatten)]
    folders: Folders,
    /// The VPS's name or address
    #[arg(long, value_name = "VPS")]
    host: String,
    /// The tunnel's own account on the VPS
    #[arg(long, value_name = "USER")]
    user: String,
    /// Where the VPS's sshd listens
    #[arg(long, default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Pin the host key that has this fingerprint, without asking
    #[arg(long, value_name = "SHA256:...")]
    host_key_fingerprint: Option<String>,
    /// The claude-endpoint's port on the VPS's loopback
    #[arg(long, value_name = "PORT", default_value_t = 5050)]
    claude_port: u16,
    /// The ollama-endpoint's port on the VPS's loopback
    #[arg(long, value_name = "PORT", default_value_t = 8091)]
    ollama_port: u16,
    #[command(flatten)]
    local: LocalPorts,
    #[command(flatten)]
    apply: Apply,
    /// Then have launchd or systemd keep the tunnel up
    #[arg(long, conflicts_with = "foreground")]
    install: bool,
    /// On a Mac that nobody is logged in to: by launchd's daemons (asks for your password)
    #[arg(long, requires = "install")]
    daemon: bool,
    /// Then run the tunnel here, until Ctrl-C
    #[arg(long)]
    foreground: bool,
}

/// The whole story.
///
/// # Errors
/// A step failed; the text says what to do, and a second run goes on from there.
pub(super) async fn setup(args: &SetupArgs) -> anyhow::Result<()> {
    let place = &Place::new(&args.folders)?;
    let settings = settings(args)?;
    apply::check(&args.apply, &settings)?;
    place.check()?;
    let manager = args.install.then(|| service::manager(place, args.daemon)).transpose()?;
    place.make()?;
    make_key(place)?;
    hostkey::pin(place, &settings.host, settings.port, args.host_key_fingerprint.as_deref())?;
    place::write_private(&place.ssh_config(), &settings.ssh_config(&place.folder))?;
    println!("ssh configuration: {}", place.ssh_config().display());
    Settings::load(&place.folder)?;
    let public_key = public_key(place)?;
    if args.apply.apply.is_some() {
        apply::carry_out(&args.apply, Action::Apply, &settings, &public_key)?;
    } else {
        print!("{}", vps_side(&settings, &public_key));
    }
    let again = match (args.install, service::installed().is_some()) {
        (true, _) => commands::services("install"),
        (false, true) => commands::tunnel("restart"),
        (false, false) => commands::tunnel("up"),
    };
    if !proven(place, args.apply.apply.is_none(), &again).await? {
        return Ok(());
    }
    if let Some(manager) = &manager {
        service::install(place, manager).await?;
        services::lingering(manager)?.iter().for_each(|note| println!("{note}"));
        return control::await_connection(place, || true).await;
    }
    if args.foreground {
        return super::supervise::keep_up(place, &super::log::Log::to_output()).await;
    }
    match service::installed() {
        Some(_) => println!("\nThen here: {}", commands::tunnel("restart")),
        None => println!("\nThen here: {}, or setup again with --install", commands::tunnel("up")),
    }
    Ok(())
}

fn settings(args: &SetupArgs) -> anyhow::Result<Settings> {
    let settings = Settings {
        host: args.host.clone(),
        user: args.user.clone(),
        port: args.port,
        forwards: Settings::forwards(args.claude_port, args.ollama_port, args.local),
    };
    settings.check().map_err(anyhow::Error::msg)?;
    Ok(settings)
}

/// Makes the key, unless there is one.
///
/// # Errors
/// OpenSSH is missing, or the key wants a passphrase.
pub(super) fn make_key(place: &Place) -> anyhow::Result<()> {
    let key = place.key();
    if !key.exists() {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "ai-relay-tunnel", "-f"]).arg(&key);
        let made = output(&mut command, None)?;
        if !made.status.success() {
            bail!("ssh-keygen: {}", String::from_utf8_lossy(&made.stderr).trim());
        }
        println!("key: made {}", key.display());
        return Ok(());
    }
    public_key(place)?;
    println!("key: {} exists and is kept", key.display());
    Ok(())
}

/// The public half of the key that is there, made again if that alone is lost.
///
/// # Errors
/// There is none, or the key wants a passphrase: a service has nobody to ask for one.
pub(super) fn public_key(place: &Place) -> anyhow::Result<String> {
    let key = place.key();
    if !key.exists() {
        return Ok(fs::read_to_string(place.public_key())?);
    }
    let read = output(Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&key), None)?;
    if !read.status.success() {
        bail!(
            "{} cannot be used without a passphrase: {}; remove it and run setup again",
            key.display(),
            String::from_utf8_lossy(&read.stderr).trim()
        );
    }
    if !place.public_key().exists() {
        place::write_private(&place.public_key(), &String::from_utf8_lossy(&read.stdout))?;
    }
    Ok(fs::read_to_string(place.public_key())?)
}

/// What is to be done on the VPS by hand.
fn vps_side(settings: &Settings, public_key: &str) -> String {
    let user = &settings.user;
    format!(
        "\nOn the VPS, as root (deploy/README.md has the whole story, and --apply ADMIN@HOST does it). {user} must be the\n\
         tunnel's own account: nobody can log in to it any more.\n\
         1. this as /etc/ssh/sshd_config.d/ai-relay.conf, then: sshd -t && systemctl reload ssh\n{}\
         2. this line in ~{user}/.ssh/authorized_keys:\n{}\n\n",
        policy::sshd(settings),
        policy::authorized_key(settings, public_key)
    )
}

/// Proves the lock; `false` if the VPS does not let the tunnel in yet, which is expected of one that is set up by hand.
/// `again` is what goes on then.
///
/// # Errors
/// The lock does not hold, or a VPS that was changed does not let the tunnel in.
pub(super) async fn proven(place: &Place, by_hand: bool, again: &str) -> anyhow::Result<bool> {
    loop {
        match prove::attempt_all(place, &[]).await? {
            Proof::Made(report) => {
                prove::show(&report, false)?;
                return Ok(true);
            }
            Proof::NoEntry(why) if !by_hand => bail!("{}", prove::no_entry(&why)),
            Proof::NoEntry(why) if std::io::stdin().is_terminal() => {
                println!("The VPS does not let the tunnel in yet: {why}");
                ask(&format!(
                    "Press Enter when that is done; Ctrl-C ends here, and `{again}` goes on another time. "
                ))?;
            }
            Proof::NoEntry(why) => {
                println!("The VPS does not let the tunnel in yet: {why}");
                println!("When that is done: {again}");
                return Ok(false);
            }
        }
    }
}
