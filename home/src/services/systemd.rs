//! A service as a unit of the user's own systemd: systemd.service(5), systemd.exec(5), systemd.syntax(7).

use std::path::{Path, PathBuf};

use super::{
    Service,
    text::{self, plain},
};

/// Where the units of a user are.
pub(super) fn file(home: &Path, name: &str) -> PathBuf {
    home.join(".config/systemd/user").join(unit_name(name))
}

/// The unit's name.
pub(super) fn unit_name(name: &str) -> String {
    format!("{name}.service")
}

/// The arguments of `systemctl` that make a written unit run, now and from every start on.
pub(super) fn begin(name: &str) -> [Vec<String>; 3] {
    let unit = unit_name(name);
    [words(&["daemon-reload"]), words(&["enable", &unit]), restart(name)]
}

/// Those that start one anew, also one that does not run.
pub(super) fn restart(name: &str) -> Vec<String> {
    words(&["restart", &unit_name(name)])
}

/// Those that end it; the unit's file is removed between the two.
pub(super) fn end(name: &str) -> [Vec<String>; 2] {
    [words(&["disable", "--now", &unit_name(name)]), words(&["daemon-reload"])]
}

/// Those that ask how it is.
pub(super) fn ask(name: &str) -> Vec<String> {
    words(&["show", &unit_name(name), "--property=ActiveState,SubState,MainPID,Result,NRestarts"])
}

fn words(words: &[&str]) -> Vec<String> {
    ["--user"].iter().chain(words).map(|word| (*word).to_owned()).collect()
}

/// The pid and the words for people of an answer to [`ask`].
pub(super) fn answer(shown: &str) -> (Option<u32>, String) {
    let value = |name: &str| {
        let found = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let pid = value("MainPID").parse().ok().filter(|pid| *pid != 0);
    let mut says = format!("{} ({})", value("ActiveState"), value("SubState"));
    if !matches!(value("Result").as_str(), "" | "success") {
        says = format!("{says}, last result: {}", value("Result"));
    }
    if !matches!(value("NRestarts").as_str(), "" | "0") {
        says = format!("{says}, restarted {} times", value("NRestarts"));
    }
    (pid, says)
}

/// The unit's text.
///
/// # Errors
/// A path or word cannot stand in a unit.
pub(super) fn unit(service: &Service) -> anyhow::Result<String> {
    let mut command = vec![executable(text::path(&service.program)?)?];
    command.extend(service.arguments.iter().map(String::as_str));
    // The colon: no `$` in what follows is a variable.
    let command = format!(":{}", quoted(&command)?);
    let mut environment = String::new();
    for (name, value) in service.variables()? {
        environment.push_str(&format!("Environment={}\n", quoted(&[&format!("{name}={value}")])?));
    }
    Ok(format!(
        "# Written by `ai-relay-home services install`; run it again to change it. Settings are in the file of ENV_FILE.\n\
         [Unit]\n\
         Description={about}\n\
         # it is tried again for as long as it takes\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={command}\n\
         WorkingDirectory={folder}\n\
         {environment}\
         SyslogIdentifier={name}\n\
         Restart=always\n\
         RestartSec=5\n\
         # open work is finished within 10 s of SIGTERM, with the help of what it started\n\
         KillMode=mixed\n\
         TimeoutStopSec=20\n\
         TasksMax=512\n\
         LimitCORE=0\n\
         UMask=0077\n\
         \n\
         {HARDENING}{more_hardening}\n\
         [Install]\n\
         WantedBy=default.target\n",
        about = percent(plain("about", &service.about)?),
        folder = whole_line(text::path(&service.folder)?)?,
        name = quoted(&[&service.name])?,
        more_hardening = if runs_javascript(service) { "" } else { "MemoryDenyWriteExecute=yes\n" },
    ))
}

/// What an unprivileged manager can enforce everywhere. Whatever needs a mount namespace is left out: there it needs a user
/// namespace, too, which is ignored by some systemds, and keeps the service from starting with others.
const HARDENING: &str = "\
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
";

/// The Claude CLI compiles while it runs.
fn runs_javascript(service: &Service) -> bool {
    service.name == "ai-relay-claude-endpoint"
}

/// The one word that no quoting helps.
fn executable(path: &str) -> anyhow::Result<&str> {
    if path.contains(['"', '\'', '\\']) {
        anyhow::bail!(
            "systemd runs no program whose path has a quote or a backslash, as {path} has; move the project"
        );
    }
    Ok(path)
}

/// Words as systemd takes them apart again.
fn quoted(words: &[&str]) -> anyhow::Result<String> {
    let mut all = Vec::new();
    for word in words {
        let escaped = plain("word", word)?.replace('\\', "\\\\").replace('"', "\\\"");
        all.push(format!("\"{}\"", percent(&escaped)));
    }
    Ok(all.join(" "))
}

/// A value that is one whole line: nothing is unquoted there.
fn whole_line(value: &str) -> anyhow::Result<String> {
    if value.trim() != value || value.ends_with('\\') {
        anyhow::bail!("systemd cannot start a service in the folder '{value}'; rename it");
    }
    Ok(percent(value))
}

fn percent(value: &str) -> String {
    value.replace('%', "%%")
}
