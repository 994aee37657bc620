//! The system's service manager: files where it looks for them, and its own commands.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{Manager, START_LOG, Service, Status, launchd, launchd::Domain, systemd};
use crate::commands;

/// A service has 20 s to end, and launchd forgets it a moment later.
const END_DEADLINE: Duration = Duration::from_secs(30);

impl Manager {
    /// The one of this machine: launchd's agents on a Mac, the user's systemd on Linux.
    ///
    /// # Errors
    /// It has none that is known.
    pub fn detect() -> anyhow::Result<Self> {
        if cfg!(target_os = "macos") {
            Ok(Self::LaunchAgent)
        } else if Path::new("/run/systemd/system").is_dir() {
            Ok(Self::SystemdUser)
        } else {
            bail!(
                "this machine runs neither launchd nor systemd, so nothing can be installed; \
                 ./scripts/start-ai-services.sh of the sources starts the endpoints without, until the next restart, and \
                 `{}` the tunnel",
                commands::tunnel("up")
            )
        }
    }

    /// The one that is asked for.
    ///
    /// # Errors
    /// As [`detect`](Self::detect) and [`daemon`](Self::daemon).
    pub(crate) fn choose(daemon: bool) -> anyhow::Result<Self> {
        if daemon { Self::daemon() } else { Self::detect() }
    }

    /// launchd's daemons, with services under the account that asks.
    ///
    /// # Errors
    /// This is no Mac, or the account is root's.
    pub fn daemon() -> anyhow::Result<Self> {
        if !cfg!(target_os = "macos") {
            bail!(
                "--daemon is for macOS; on Linux `loginctl enable-linger` has services start with the machine"
            );
        }
        let user = account()?;
        if user == "root" {
            bail!("run this as the account that the services are to have; it asks for the password itself");
        }
        Ok(Self::LaunchDaemon { user })
    }

    /// Those of the same machine that could hold a service of the same name.
    fn others(&self) -> Vec<Self> {
        match self {
            Self::LaunchAgent => vec![Self::LaunchDaemon { user: String::new() }],
            Self::LaunchDaemon { .. } => vec![Self::LaunchAgent],
            Self::SystemdUser => vec![],
        }
    }

    /// It and the others.
    fn all(&self) -> Vec<Self> {
        [self.clone()].into_iter().chain(self.others()).collect()
    }

    /// Whether it or another of this machine runs a service, as `status` has it.
    pub(super) fn any_runs(
        &self,
        name: &str,
        status: impl Fn(&Self, &str) -> anyhow::Result<Status>,
    ) -> bool {
        self.all().iter().any(|manager| status(manager, name).is_ok_and(|status| status.pid.is_some()))
    }

    /// The file that describes a service to it.
    ///
    /// # Errors
    /// The account has no home folder.
    pub fn file(&self, name: &str) -> anyhow::Result<PathBuf> {
        Ok(match self {
            Self::LaunchAgent => launchd::agent_file(&home()?, name),
            Self::LaunchDaemon { .. } => launchd::daemon_file(name),
            Self::SystemdUser => systemd::file(&home()?, name),
        })
    }

    /// What [`install`] writes into that file.
    ///
    /// # Errors
    /// A path or word cannot stand in it.
    pub fn render(&self, service: &Service) -> anyhow::Result<String> {
        match self {
            Self::LaunchAgent => launchd::plist(service, None),
            Self::LaunchDaemon { user } => launchd::plist(service, Some(user)),
            Self::SystemdUser => systemd::unit(service),
        }
    }

    /// Where to read what a service says.
    pub fn log_command(&self, service: &Service) -> String {
        match self {
            Self::SystemdUser => format!("journalctl --user -u {}", service.name),
            // the program's own, and beside it launchd's
            _ => format!("tail {}", service.log.display().to_string().replace(START_LOG, "*.log")),
        }
    }

    /// What a service said before it ended, as far as it can be found.
    pub(crate) fn last_words(&self, service: &Service) -> String {
        let mut command = match self {
            Self::SystemdUser => Command::new("journalctl"),
            _ => Command::new("tail"),
        };
        match self {
            Self::SystemdUser => {
                command.args(["--user", "--quiet", "-o", "cat", "-n", "5", "-u"]).arg(&service.name)
            }
            // What it says once its log is open is in that, and what keeps it from there in launchd's.
            _ => command.args(["-n", "5"]).args(service.logs().iter().filter(|log| log.exists())),
        };
        match run(&mut command) {
            Ok(words) if !words.trim().is_empty() => format!("Its last words:\n{}\n", words.trim_end()),
            _ => String::new(),
        }
    }

    fn domain(&self) -> Domain {
        match self {
            Self::LaunchDaemon { .. } => Domain::System,
            _ => Domain::Desktop(rustix::process::getuid().as_raw()),
        }
    }

    /// A command that may need root's rights.
    fn command(&self, program: &str) -> Command {
        let needs_root = matches!(self, Self::LaunchDaemon { .. }) && !rustix::process::geteuid().is_root();
        if !needs_root {
            return Command::new(program);
        }
        let mut command = Command::new("sudo");
        command.arg(program);
        command
    }
}

/// Has the manager start the service now and keep it running; one that is installed already is replaced and restarted.
/// The file that describes it.
///
/// # Errors
/// The file cannot be written, or the manager refuses; the text has its words and says what to do.
pub fn install(manager: &Manager, service: &Service) -> anyhow::Result<PathBuf> {
    let (file, text) = (manager.file(&service.name)?, manager.render(service)?);
    match manager {
        Manager::SystemdUser => {
            write(&file, &text)?;
            for step in systemd::begin(&service.name) {
                run(&mut systemctl(&step))?;
            }
        }
        _ => {
            if let Some(folder) = service.log.parent() {
                fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            }
            let domain = manager.domain();
            end_launchd(manager, &domain, &service.name)?;
            write_for_launchd(manager, &file, &text)?;
            for step in domain.begin(&service.name, super::text::path(&file)?) {
                run(manager.command("launchctl").args(step))?;
            }
        }
    }
    Ok(file)
}

/// The same for a service that another manager of this machine may hold: that is taken from it first.
///
/// # Errors
/// As [`install`] and [`uninstall`].
pub(crate) fn replace(manager: &Manager, service: &Service) -> anyhow::Result<PathBuf> {
    for other in manager.others() {
        uninstall(&other, &service.name)?;
    }
    install(manager, service)
}

/// Starts an installed service anew.
///
/// # Errors
/// The manager refuses.
pub(crate) fn restart(manager: &Manager, name: &str) -> anyhow::Result<()> {
    if matches!(manager, Manager::SystemdUser) {
        return run(&mut systemctl(&systemd::restart(name))).map(drop);
    }
    let domain = manager.domain();
    if asked(domain.ask(name))?.is_some() {
        return run(manager.command("launchctl").args(domain.restart(name))).map(drop);
    }
    for step in domain.begin(name, super::text::path(&manager.file(name)?)?) {
        run(manager.command("launchctl").args(step))?;
    }
    Ok(())
}

/// Stops a service and removes its file; whether there was anything.
///
/// # Errors
/// The manager refuses, or the file cannot be removed.
pub fn uninstall(manager: &Manager, name: &str) -> anyhow::Result<bool> {
    let file = manager.file(name)?;
    if matches!(manager, Manager::SystemdUser) {
        if !file.exists() {
            return Ok(false);
        }
        let [disable, reload] = systemd::end(name);
        run(&mut systemctl(&disable))?;
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        run(&mut systemctl(&reload))?;
        return Ok(true);
    }
    let ran = end_launchd(manager, &manager.domain(), name)?;
    if !file.exists() {
        return Ok(ran);
    }
    run(manager.command("rm").arg("-f").arg(&file))?;
    Ok(true)
}

/// Who of this machine keeps a service running.
pub fn installed(name: &str) -> Option<Manager> {
    let all = Manager::detect().ok()?.all();
    all.into_iter().find(|manager| manager.file(name).is_ok_and(|file| file.exists()))
}

/// Stops a service and removes its file, whoever of this machine keeps it running; whether there was anything.
///
/// # Errors
/// As [`uninstall`].
pub fn remove(name: &str) -> anyhow::Result<bool> {
    let mut removed = false;
    for manager in Manager::detect()?.all() {
        removed |= uninstall(&manager, name)?;
    }
    Ok(removed)
}

/// How a service is.
///
/// # Errors
/// The manager cannot be asked.
pub fn status(manager: &Manager, name: &str) -> anyhow::Result<Status> {
    let installed = manager.file(name)?.exists();
    let (pid, says) = match manager {
        Manager::SystemdUser => systemd::answer(&run(&mut systemctl(&systemd::ask(name)))?),
        _ => match asked(manager.domain().ask(name))? {
            Some(printed) => launchd::answer(&printed),
            None => (None, "not loaded".to_owned()),
        },
    };
    Ok(Status { installed, pid, says: if installed { says } else { "not installed".to_owned() } })
}

/// Ends a service of launchd and waits until it is gone, since its successor is refused before; whether it was there.
fn end_launchd(manager: &Manager, domain: &Domain, name: &str) -> anyhow::Result<bool> {
    if asked(domain.ask(name))?.is_none() {
        return Ok(false);
    }
    // Its exit code says "in progress" as often as it says nothing; what counts is that the service is gone.
    let ended =
        manager.command("launchctl").args(domain.end(name)).output().context("cannot run launchctl")?;
    let deadline = Instant::now() + END_DEADLINE;
    while asked(domain.ask(name))?.is_some() {
        if Instant::now() > deadline {
            bail!("launchd does not end {name}: {}", words(&ended));
        }
        pause();
    }
    Ok(true)
}

#[expect(clippy::disallowed_methods, reason = "a command at a terminal, with nothing else to do")]
pub(super) fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

/// What `launchctl print` says of a service, if it is loaded.
fn asked(question: Vec<String>) -> anyhow::Result<Option<String>> {
    let answer = Command::new("launchctl").args(question).output().context("cannot run launchctl")?;
    Ok(answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).into_owned()))
}

/// A person's systemd is found by a variable that a login sets, and `su` and cron do not.
fn systemctl(arguments: &[String]) -> Command {
    let mut command = Command::new("systemctl");
    command.args(arguments);
    let folder = format!("/run/user/{}", rustix::process::getuid().as_raw());
    if Path::new(&folder).is_dir() {
        command.env("XDG_RUNTIME_DIR", folder);
    }
    command
}

/// What a command writes; an error has its words and the command, to be tried by hand.
pub(super) fn run(command: &mut Command) -> anyhow::Result<String> {
    let name = shown(command);
    let done = command.stdin(Stdio::inherit()).output().with_context(|| format!("cannot run `{name}`"))?;
    if !done.status.success() {
        bail!("`{name}` failed: {}{}", words(&done), hint(&words(&done)));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn words(done: &Output) -> String {
    let said = if done.stderr.is_empty() { &done.stdout } else { &done.stderr };
    let said = String::from_utf8_lossy(said);
    let said = said.trim();
    if said.is_empty() { done.status.to_string() } else { said.to_owned() }
}

/// What helps with refusals whose own words do not say it.
fn hint(said: &str) -> &'static str {
    if said.contains("Failed to connect to bus") || said.contains("Failed to connect to user scope bus") {
        "\nThere is no systemd of this account: log in as it directly (at the machine or over ssh, not by su or sudo), or run \
         `sudo loginctl enable-linger USER` first"
    } else if said.contains("Domain does not support specified action") {
        "\nNobody is logged in to this Mac's desktop; --daemon installs for a Mac without"
    } else {
        ""
    }
}

pub(crate) fn home() -> anyhow::Result<PathBuf> {
    std::env::home_dir()
        .filter(|home| home.is_absolute())
        .context("this account has no home folder; set HOME")
}

/// The name of the account that asks.
pub(super) fn account() -> anyhow::Result<String> {
    Ok(run(Command::new("id").arg("-un"))?.trim().to_owned())
}

/// Puts a file into its place at once: a reader sees the old one or the new one.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let fail = || format!("cannot write {}", file.display());
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(fail)?;
    }
    let new = file.with_extension("new");
    fs::write(&new, text)
        // launchd refuses a file that others may write
        .and_then(|()| fs::set_permissions(&new, fs::Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&new, file))
        .with_context(fail)
}

/// launchd takes daemons only from files that are root's.
fn write_for_launchd(manager: &Manager, file: &Path, text: &str) -> anyhow::Result<()> {
    if matches!(manager, Manager::LaunchAgent) {
        return write(file, text);
    }
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let made = folder.path().join("service.plist");
    write(&made, text)?;
    let arguments = ["-o", "root", "-g", "wheel", "-m", "644"];
    run(manager.command("install").args(arguments).arg(made).arg(file)).map(drop)
}
