//! What a doctor should know of the Claude CLI: whether it is there, whether it is logged in, and whether that is so, too,
//! when not a terminal but launchd or systemd starts this service.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shared::doctor::Finding;

use super::{ClaudeCli, NOT_LOGGED_IN, PROBE_TIMEOUT};
use crate::text::shorten;

const INSTALL: &str = "npm install -g @anthropic-ai/claude-code, or set CLAUDE_CLI to its path";
const LOGIN: &str = "run `claude` once and log in; or `claude setup-token`, and CLAUDE_CODE_OAUTH_TOKEN in .env (or CLAUDE_CODE_OAUTH_TOKEN_FILE, mode 600)";
/// What a service's programs are searched in, unless its file says otherwise (launchd.plist(5), systemd.exec(5)).
const SERVICE_PATH: &str = match cfg!(target_os = "macos") {
    true => "/usr/bin:/bin:/usr/sbin:/sbin",
    false => "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
};

impl ClaudeCli {
    /// Runs nothing but `--version` and `auth status`, which ask nobody.
    pub(super) async fn findings(&self) -> Vec<Finding> {
        let version = match self.version(self.clone()).await {
            Ok(version) => version,
            Err(why) => return vec![Finding::fail("program", why, INSTALL)],
        };
        let mut found = vec![Finding::ok("program", format!("{version}, {}", self.place().display()))];
        found.push(self.login().await);
        found.push(self.as_a_service().await);
        if cfg!(target_os = "macos") {
            found.push(self.without_keychain());
        }
        found
    }

    async fn version(&self, cli: Self) -> Result<String, String> {
        let mut command = cli.command();
        command.arg("--version");
        let output = cli.run(command, "", PROBE_TIMEOUT).await.map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(if output.success { &output.stdout } else { &output.stderr });
        let said = shorten(said.trim(), 200);
        if output.success {
            Ok(said)
        } else {
            Err(format!("`{} --version` fails: {said}", cli.program.display()))
        }
    }

    async fn login(&self) -> Finding {
        let mut command = self.command();
        command.args(["auth", "status"]);
        let output = match self.run(command, "", PROBE_TIMEOUT).await {
            Ok(output) => output,
            Err(error) => return Finding::fail("login", error.to_string(), LOGIN),
        };
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let by = status["authMethod"].as_str().unwrap_or("a login");
        match status["loggedIn"].as_bool() {
            Some(true) => Finding::ok(
                "login",
                format!("by {}; whether it is still valid, a review shows", shorten(by, 40)),
            ),
            Some(false) => Finding::fail("login", NOT_LOGGED_IN, LOGIN),
            None if output.success => Finding::ok("login", "this version does not tell how"),
            None => Finding::fail(
                "login",
                format!("`{} auth status` fails", self.program.display()),
                "install a current Claude CLI: npm install -g @anthropic-ai/claude-code",
            ),
        }
    }

    /// The service's own environment is as bare as a service's always is, but for the PATH of whoever starts it.
    async fn as_a_service(&self) -> Finding {
        let check = "as a service";
        let mut bare = Self { program: self.place(), ..self.clone() };
        bare.variables.plain.insert("PATH", OsString::from(SERVICE_PATH));
        let named = self.program.components().count() > 1 || within(&self.place(), SERVICE_PATH);
        match self.version(bare).await {
            Ok(_) if named => Finding::ok(check, "also found with the PATH that services have"),
            Ok(_) => Finding::warn(
                check,
                format!("{} is not on the PATH that services have ({SERVICE_PATH})", self.place().display()),
                format!("CLAUDE_CLI={} in .env", self.place().display()),
            ),
            Err(why) => Finding::warn(
                check,
                format!("with the PATH that services have, {why}"),
                "have `./scripts/start-ai-services.sh --install` write the service's file, from this terminal: it keeps this PATH",
            ),
        }
    }

    /// A LaunchDaemon, and an agent before somebody has logged in, has no keychain to read the login from.
    fn without_keychain(&self) -> Finding {
        let check = "without keychain";
        match self.variables.secret.is_empty() {
            false => Finding::ok(check, "the login is in the settings"),
            true => Finding::warn(
                check,
                "the login is in your keychain, which services may not open when nobody is logged in at the screen",
                "`claude setup-token`, and CLAUDE_CODE_OAUTH_TOKEN in .env (mode 600)",
            ),
        }
    }

    /// Where the program is, if it is found.
    fn place(&self) -> PathBuf {
        if self.program.components().count() > 1 {
            return self.program.clone();
        }
        let path = self.variables.plain.get("PATH").cloned().unwrap_or_default();
        let places = std::env::split_paths(&path).map(|folder| folder.join(&self.program));
        places.into_iter().find(|place| place.is_file()).unwrap_or_else(|| self.program.clone())
    }
}

fn within(place: &Path, path: &str) -> bool {
    std::env::split_paths(path).any(|folder| place.parent() == Some(folder.as_path()))
}
