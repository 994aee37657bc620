//! A service as a property list of launchd: launchd.plist(5), launchctl(1).

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use super::{
    Service,
    text::{self, plain},
};

/// Seconds between two starts, and from SIGTERM to SIGKILL; open work is finished within 10 s.
const THROTTLE: u32 = 10;
const EXIT_TIMEOUT: u32 = 20;
/// 077: what the services write is their owner's alone.
const UMASK: u32 = 0o077;

/// Where launchd looks for agents of a user, and for daemons.
pub(super) fn agent_file(home: &Path, name: &str) -> PathBuf {
    home.join("Library/LaunchAgents").join(format!("{name}.plist"))
}

/// See [`agent_file`].
pub(super) fn daemon_file(name: &str) -> PathBuf {
    Path::new("/Library/LaunchDaemons").join(format!("{name}.plist"))
}

/// Where launchd runs a service: in the desktop session of a user, or in the system's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Domain {
    Desktop(u32),
    System,
}

impl Domain {
    fn name(&self) -> String {
        match self {
            Self::Desktop(uid) => format!("gui/{uid}"),
            Self::System => "system".to_owned(),
        }
    }

    fn service(&self, name: &str) -> String {
        format!("{}/{name}", self.name())
    }

    /// The arguments of `launchctl` that end a service.
    pub(super) fn end(&self, name: &str) -> Vec<String> {
        words(&["bootout", &self.service(name)])
    }

    /// Those that start one whose file is written; the first undoes a `disable` of earlier times.
    pub(super) fn begin(&self, name: &str, file: &str) -> [Vec<String>; 2] {
        [words(&["enable", &self.service(name)]), words(&["bootstrap", &self.name(), file])]
    }

    /// Those that start one anew that is loaded.
    pub(super) fn restart(&self, name: &str) -> Vec<String> {
        words(&["kickstart", "-k", &self.service(name)])
    }

    /// Those that ask how it is; they fail for one that is not loaded.
    pub(super) fn ask(&self, name: &str) -> Vec<String> {
        words(&["print", &self.service(name)])
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The pid and the words for people of an answer to [`Domain::ask`].
pub(super) fn answer(printed: &str) -> (Option<u32>, String) {
    // Nested parts have the same names deeper inside.
    let value = |name: &str| {
        let line =
            |line: &str| Some(line.strip_prefix('\t')?.strip_prefix(name)?.strip_prefix(" = ")?.to_owned());
        printed.lines().find_map(line)
    };
    let pid = value("pid").and_then(|pid| pid.parse().ok());
    let mut says = value("state").unwrap_or_else(|| "unknown".to_owned());
    if let Some(code) = value("last exit code").filter(|code| code != "0" && code != "(never exited)") {
        says = format!("{says}, last exit code: {code}");
    }
    if let Some(runs) = value("runs").filter(|runs| runs != "1") {
        says = format!("{says}, started {runs} times");
    }
    (pid, says)
}

/// The property list. A daemon runs under the account of `user`.
///
/// # Errors
/// A path or word cannot stand in it.
pub(super) fn plist(service: &Service, user: Option<&str>) -> anyhow::Result<String> {
    let mut list = List::default();
    list.string("Label", &service.name)?;
    let program = text::path(&service.program)?;
    let arguments = service.arguments.iter().map(String::as_str);
    list.strings("ProgramArguments", &[program].into_iter().chain(arguments).collect::<Vec<_>>())?;
    list.string("WorkingDirectory", text::path(&service.folder)?)?;
    list.table("EnvironmentVariables", &service.variables()?)?;
    if let Some(user) = user {
        list.string("UserName", user)?;
    }
    list.truth("RunAtLoad");
    list.truth("KeepAlive");
    list.number("ThrottleInterval", THROTTLE);
    list.number("ExitTimeOut", EXIT_TIMEOUT);
    list.number("Umask", UMASK);
    // Without it launchd slows down what has no window; GitHub and agents wait for these.
    list.string("ProcessType", "Interactive")?;
    let log = text::path(&service.log)?;
    list.string("StandardOutPath", log)?;
    list.string("StandardErrorPath", log)?;
    Ok(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <!-- Written by `ai-relay-home services install`; run it again to change it. Settings are in the file of ENV_FILE. -->\n\
         <plist version=\"1.0\">\n<dict>\n{}</dict>\n</plist>\n",
        list.0
    ))
}

/// The inner part of a property list's dictionary.
#[derive(Default)]
struct List(String);

impl List {
    fn line(&mut self, depth: usize, tag: &str, text: &str) {
        let _ = writeln!(self.0, "{:width$}<{tag}>{}</{tag}>", "", escaped(text), width = depth * 4);
    }

    fn string(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        self.line(1, "key", key);
        self.line(1, "string", plain(key, value)?);
        Ok(())
    }

    fn number(&mut self, key: &str, value: u32) {
        self.line(1, "key", key);
        self.line(1, "integer", &value.to_string());
    }

    fn truth(&mut self, key: &str) {
        self.line(1, "key", key);
        self.0.push_str("    <true/>\n");
    }

    fn strings(&mut self, key: &str, values: &[&str]) -> anyhow::Result<()> {
        self.line(1, "key", key);
        self.0.push_str("    <array>\n");
        for value in values {
            self.line(2, "string", plain(key, value)?);
        }
        self.0.push_str("    </array>\n");
        Ok(())
    }

    fn table(&mut self, key: &str, values: &[(String, String)]) -> anyhow::Result<()> {
        self.line(1, "key", key);
        self.0.push_str("    <dict>\n");
        for (name, value) in values {
            self.line(2, "key", plain(key, name)?);
            self.line(2, "string", plain(key, value)?);
        }
        self.0.push_str("    </dict>\n");
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
