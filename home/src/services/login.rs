//! The login trap: a Claude CLI that answers at the terminal may say "Not logged in" when launchd or systemd starts it,
//! since they give it neither the terminal's environment nor always its keychain. Found out before somebody waits for a
//! review.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Manager, config::Settings, plan};
use crate::commands;

const PROBE_DEADLINE: Duration = Duration::from_secs(20);
const TOKEN: &str = "CLAUDE_CODE_OAUTH_TOKEN";

/// What gives the reviews their access to Claude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    /// The Claude CLI is not asked.
    NotNeeded,
    /// A long-lived token from the settings, which needs no login.
    Token,
    /// The token's file, which cannot be used, and why.
    BadTokenFile(String),
    /// The CLI's own login.
    Own,
    /// The CLI is there, and is not logged in.
    None,
    /// The CLI is not there, or does not say.
    NoCli(String),
}

/// Looks as the service will look: with its environment and nothing else.
pub(super) fn look(manager: &Manager, settings: &Settings) -> anyhow::Result<Login> {
    let set = |name: &str| settings.file.get(name).filter(|value| !value.is_empty());
    let reviewer = set("REVIEWER").map_or("auto", String::as_str);
    let has_key = set("ANTHROPIC_API_KEY").or(set("ANTHROPIC_API_KEY_FILE")).is_some();
    if !matches!(reviewer, "auto" | "claude-cli") || has_key {
        return Ok(Login::NotNeeded);
    }
    if let Some(file) = set(&format!("{TOKEN}_FILE")) {
        return Ok(token_file(&settings.root.join(file)));
    }
    if set(TOKEN).is_some() {
        return Ok(Login::Token);
    }
    let path = plan::search_path(manager, settings)?;
    let cli = set("CLAUDE_CLI").map_or("claude", String::as_str);
    let Some(program) = plan::find(cli, path.as_ref()) else {
        return Ok(Login::NoCli(format!("there is no program `{cli}`")));
    };
    let mut command = Command::new(&program);
    command.args(["auth", "status"]).env_clear().current_dir(&settings.home);
    command.env("PATH", path).env("HOME", &settings.home).env("USER", &settings.user);
    Ok(ask(command))
}

fn token_file(path: &Path) -> Login {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) => Login::BadTokenFile(format!("{shown} cannot be read ({error})")),
        Ok(about) if about.permissions().mode() & 0o077 != 0 => {
            Login::BadTokenFile(format!("others may open {shown}; run: chmod 600 '{shown}'"))
        }
        Ok(_) => Login::Token,
    }
}

fn ask(mut command: Command) -> Login {
    let asked = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = match asked {
        Ok(child) => child,
        Err(error) => return Login::NoCli(format!("it cannot be run: {error}")),
    };
    let deadline = Instant::now() + PROBE_DEADLINE;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Login::NoCli(format!(
                "`claude auth status` says nothing for {} s",
                PROBE_DEADLINE.as_secs()
            ));
        }
        super::manager::pause();
    }
    let answer = child.wait_with_output().map(|output| output.stdout).unwrap_or_default();
    let status: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
    match status["loggedIn"].as_bool() {
        Some(true) => Login::Own,
        Some(false) => Login::None,
        None => Login::NoCli(
            "`claude auth status` does not say whether it is logged in; is it a current one?".to_owned(),
        ),
    }
}

/// What to tell about it, with the commands that help.
pub(super) fn advice(login: &Login, manager: &Manager) -> String {
    let found = match (login, manager) {
        (Login::NotNeeded, _) => return "claude: no login of the CLI is needed".to_owned(),
        (Login::Token, _) => return format!("claude: the CLI has {TOKEN}, and needs no login"),
        (Login::BadTokenFile(why), _) => return format!("warn  claude: {TOKEN}_FILE cannot be used: {why}"),
        (Login::Own, Manager::SystemdUser) => {
            return "claude: the CLI is logged in where the service looks".to_owned();
        }
        (Login::Own, Manager::LaunchAgent) => {
            "note  claude: the CLI's login is in the keychain, which is open only while you are logged in to the desktop"
        }
        (Login::Own, Manager::LaunchDaemon { .. }) => {
            "warn  claude: the CLI's login is in the keychain, which is closed to a daemon, so reviews wait"
        }
        (Login::None, _) => "warn  claude: the CLI is not logged in where the service looks, so reviews wait",
        (Login::NoCli(why), _) => {
            return format!(
                "warn  claude: {why}; unless Ollama makes the reviews, they wait. It comes with: \
                 npm install -g @anthropic-ai/claude-code"
            );
        }
    };
    format!(
        "{found}. A token works everywhere:\n      \
         claude setup-token    # prints one; put it into the settings as {TOKEN}=...\n      \
         {}    # starts the services with it",
        commands::services("restart")
    )
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    /// A machine whose Claude CLI says `answer`.
    fn machine(folder: &Path, answer: &str, file: &[(&str, &str)]) -> Settings {
        let cli = folder.join("claude");
        fs::write(
            &cli,
            format!("#!/bin/sh\n[ \"$*\" = 'auth status' ] && env >'{}/env' && {answer}\n", folder.display()),
        )
        .unwrap();
        fs::set_permissions(&cli, fs::Permissions::from_mode(0o755)).unwrap();
        let file = file.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings {
            root: folder.to_owned(),
            env_file: folder.join(".env"),
            home: folder.to_owned(),
            user: "me".to_owned(),
            path: folder.as_os_str().to_owned(),
            programs: folder.to_owned(),
            data_root: folder.to_owned(),
            tunnel_dir: folder.to_owned(),
            claude_endpoint_port: 5050,
            ollama_endpoint_port: 8090,
            given: vec![],
            file: file.collect::<BTreeMap<_, _>>(),
        }
    }

    fn found(answer: &str, file: &[(&str, &str)]) -> Login {
        let folder = tempfile::tempdir().unwrap();
        look(&Manager::LaunchAgent, &machine(folder.path(), answer, file)).unwrap()
    }

    #[test]
    fn the_cli_is_asked_only_where_it_reviews_by_its_own_login() {
        let logged_in = "echo '{\"loggedIn\": true}'";
        assert_eq!(found(logged_in, &[]), Login::Own);
        assert_eq!(found("{ echo '{\"loggedIn\": false}'; exit 1; }", &[]), Login::None);
        assert!(matches!(found("exit 1", &[]), Login::NoCli(_)));
        for setting in [("REVIEWER", "ollama"), ("ANTHROPIC_API_KEY", "x"), ("ANTHROPIC_API_KEY_FILE", "x")] {
            assert_eq!(found("exit 1", &[setting]), Login::NotNeeded);
        }
        assert_eq!(found("exit 1", &[(TOKEN, "x")]), Login::Token);
        assert_eq!(found(logged_in, &[(TOKEN, ""), ("REVIEWER", "claude-cli")]), Login::Own);
        let missing = [("CLAUDE_CLI", "/nowhere/claude")];
        assert_eq!(
            found(logged_in, &missing),
            Login::NoCli("there is no program `/nowhere/claude`".to_owned())
        );
    }

    #[test]
    fn it_is_asked_with_nothing_of_this_terminal() {
        let folder = tempfile::tempdir().unwrap();
        look(&Manager::LaunchAgent, &machine(folder.path(), "true", &[])).unwrap();
        let seen = fs::read_to_string(folder.path().join("env")).unwrap();
        let mut names: Vec<&str> = seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name)); // the shell's own
        names.sort_unstable();
        assert_eq!(names, ["HOME", "PATH", "USER"]);
    }

    #[test]
    fn a_tokens_file_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let look = || {
            let file = [("CLAUDE_CODE_OAUTH_TOKEN_FILE", "token")];
            super::look(&Manager::SystemdUser, &machine(folder.path(), "true", &file)).unwrap()
        };
        assert!(matches!(look(), Login::BadTokenFile(why) if why.contains("cannot be read")));
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(look(), Login::BadTokenFile(why) if why.contains("run: chmod 600")));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(look(), Login::Token);
    }

    #[test]
    fn the_trap_is_explained() {
        let daemon = Manager::LaunchDaemon { user: "me".to_owned() };
        let logins = [
            Login::NotNeeded,
            Login::Token,
            Login::BadTokenFile("others may open /x".to_owned()),
            Login::Own,
            Login::None,
            Login::NoCli("there is no program `claude`".to_owned()),
        ];
        let mut told = String::new();
        for manager in [Manager::LaunchAgent, daemon, Manager::SystemdUser] {
            told.push_str(&format!("== {manager}\n"));
            for login in &logins {
                told.push_str(&format!("{}\n", advice(login, &manager)));
            }
        }
        let called = commands::services("");
        insta::assert_snapshot!(told.replace(&called, "ai-relay-home services "));
    }
}
