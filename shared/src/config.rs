//! Configuration: flags, then environment, then a TOML file, then the default.
//!
//! The TOML file and a service's own defaults are laid under clap as default values, so that one table, the command
//! line's, knows every setting. A key of the file that is not a setting is an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

mod app;
mod listen;
mod log;
mod service;
mod tunnel;

pub use app::AppArgs;
pub use log::LogArgs;
pub use service::{RetentionArgs, SIGNING_KEY, ServiceArgs};
pub use tunnel::TunnelArgs;

use anyhow::{Context, bail};
use clap::{Arg, Command, CommandFactory, FromArgMatches};
use secrecy::SecretString;

use crate::{
    keys::Again,
    signature::{KeyError, Keys},
};

mod show;

pub use show::{Setting, show, without_password};
use show::{settings, table_settings};

/// A secret from its variable or from the file that `NAME_FILE` names; a trailing line break is not part of it.
///
/// # Errors
/// Both are set, or the file cannot be read.
pub fn secret(
    name: &str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> anyhow::Result<Option<SecretString>> {
    match (value, file) {
        (Some(_), Some(_)) => bail!("{name} and {name}_FILE are both set; keep one of them"),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, None) => Ok(None),
        (None, Some(path)) => secret_file(&format!("{name}_FILE"), path).map(Some),
    }
}

/// The secret in a file that the setting `name` names.
///
/// # Errors
/// It cannot be read, or is empty.
pub fn secret_file(name: &str, path: &Path) -> anyhow::Result<SecretString> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {name} {}", path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("{name} {} is empty", path.display());
    }
    Ok(SecretString::from(text))
}

/// A way to read keys again from the file that `NAME_FILE` names, if it names one.
pub fn again(
    name: &'static str,
    file: Option<&Path>,
    parse: fn(&SecretString) -> Result<Keys, KeyError>,
) -> Option<Again> {
    let file = file?.to_owned();
    Some(Box::new(move || Ok(parse(&secret_file(&format!("{name}_FILE"), &file)?)?)))
}

/// A secret that the service cannot do without.
///
/// # Errors
/// As [`secret`], and when it is not set.
pub fn required(
    name: &str,
    value: Option<&SecretString>,
    file: Option<&Path>,
) -> anyhow::Result<SecretString> {
    secret(name, value, file)?
        .with_context(|| format!("{name} is not set; set it, or {name}_FILE, or see .env.example"))
}

/// What makes a service's configuration its own.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// Default values that differ from those of the shared groups, as (setting, value).
    pub values: &'static [(&'static str, &'static str)],
    /// Tables that the TOML file may have beside the settings; the service reads them itself.
    pub tables: &'static [&'static str],
}

/// A parsed command line with what lies under it.
pub struct Loaded<C> {
    /// The command line.
    pub cli: C,
    /// Every setting with its value and where that came from; secrets are redacted.
    pub settings: Vec<Setting>,
    /// The TOML file's tables that [`Defaults::tables`] allows.
    pub tables: toml::Table,
    /// The command line as it is described: whatever the environment and the file say.
    pub command: Command,
}

impl<C: fmt::Debug> fmt::Debug for Loaded<C> {
    /// Without the tables, which may hold secrets; `settings` has them redacted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Loaded");
        shown.field("cli", &self.cli).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Parses `arguments` over the environment, the TOML file and the defaults. A mistake on the command line, `--help`
/// and `--version` end the process, as clap does.
///
/// # Errors
/// The TOML file cannot be read, or has an unknown key.
pub fn load<C: CommandFactory + FromArgMatches>(
    arguments: impl IntoIterator<Item = OsString>,
    defaults: &Defaults,
) -> anyhow::Result<Loaded<C>> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let described = describe(C::command(), defaults);
    let command = without_empty_variables(described.clone());
    let first_look = without_values(command.clone()).ignore_errors(true).get_matches_from(&arguments);
    let path = first_look.try_get_one::<PathBuf>("config").ok().flatten().cloned();
    let (file, tables) = match &path {
        Some(path) => read_toml(path, &command, defaults)?,
        None => (BTreeMap::new(), toml::Table::new()),
    };
    let from_file: BTreeSet<String> = file.keys().cloned().collect();
    let mut command = command;
    for (name, value) in file {
        command = command.mut_arg(name, |arg| arg.default_value(value));
    }
    let parsed = without_values(command.clone()).try_get_matches_from(&arguments);
    let matches = parsed.unwrap_or_else(|error| show::without_value(error).exit());
    let cli = C::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    let mut settings = settings(&command, &matches, &from_file);
    settings.extend(table_settings(&tables));
    Ok(Loaded { settings, cli, tables, command: described })
}

/// Settings can stand before or after the subcommand.
fn describe(mut command: Command, defaults: &Defaults) -> Command {
    for (name, value) in defaults.values {
        command = command.mut_arg(name, |arg| arg.default_value(*value));
    }
    command.mut_args(|arg| if arg.is_positional() { arg } else { arg.global(true) })
}

/// They count as unset, since an empty one is what a compose file makes of a variable without a value.
fn without_empty_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        let empty = arg.get_env().is_some_and(is_empty_variable);
        if empty { arg.env(None::<&str>) } else { arg }
    })
}

/// `--help` names variables and not what they are set to, which may be a URL with a password; that is `config show`'s.
fn without_values(command: Command) -> Command {
    command.mut_args(|arg| arg.hide_env_values(true))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment beside clap")]
fn is_empty_variable(name: &std::ffi::OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

fn read_toml(
    path: &Path,
    command: &Command,
    defaults: &Defaults,
) -> anyhow::Result<(BTreeMap<String, String>, toml::Table)> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    // The parser's message would quote the line, which may hold a secret; its position is enough to find it.
    let parsed: Result<toml::Table, toml::de::Error> = toml::from_str(&text);
    let table = match parsed {
        Ok(table) => table,
        Err(error) => {
            let line =
                error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
            bail!("{} is not valid TOML near line {line}: {}", path.display(), error.message());
        }
    };
    let (mut values, mut tables) = (BTreeMap::new(), toml::Table::new());
    for (key, value) in table {
        if defaults.tables.contains(&key.as_str()) {
            tables.insert(key, value);
        } else if key != "config"
            && command.get_arguments().any(|arg| arg.get_id() == key.as_str() && is_setting(arg))
        {
            let text = scalar(&value).with_context(|| {
                format!("`{key}` in {} must be a string, number, boolean or list of strings", path.display())
            })?;
            values.insert(key, text);
        } else {
            bail!("unknown setting `{key}` in {}; `config show` lists the settings", path.display());
        }
    }
    Ok((values, tables))
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(items) => {
            items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// Refuses a URL with a user or password: it would be shown in logs and health reports.
///
/// # Errors
/// It has one.
pub fn plain_url(name: &str, url: &url::Url) -> anyhow::Result<()> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    bail!("{name} must not contain a user or password: requests are signed, and URLs are logged");
}

/// What is hidden and no secret is the process's surroundings, such as PATH, and nothing to set.
fn is_setting(arg: &Arg) -> bool {
    let surroundings = arg.is_hide_set() && !arg.is_hide_env_values_set();
    !surroundings
        && (arg.get_env().is_some()
            || arg.get_long().is_some_and(|long| !["help", "version"].contains(&long)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use secrecy::ExposeSecret;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        service: ServiceArgs,
        #[command(subcommand)]
        command: Option<Verb>,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Verb {
        Serve,
    }

    const DEFAULTS: Defaults = Defaults { values: &[("port", "4200")], tables: &["routes"] };

    fn try_load(toml: &str, flags: &[&str]) -> anyhow::Result<Loaded<Cli>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.toml");
        fs::write(&path, toml).unwrap();
        let start = ["relay", "--config", path.to_str().unwrap()];
        load(start.iter().chain(flags).map(OsString::from), &DEFAULTS)
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let loaded = try_load(
            "port = 4300\nqueue_url = \"sqlite:///q\"\n[routes]\na = 1",
            &["serve", "--port", "4400"],
        )
        .unwrap();
        assert_eq!(loaded.cli.service.port, 4400);
        assert!(matches!(loaded.cli.command, Some(Verb::Serve)));
        assert_eq!(loaded.cli.service.queue_url(), "sqlite:///q");
        assert!(loaded.tables.contains_key("routes"));
        assert_eq!(try_load("port = 4300", &[]).unwrap().cli.service.port, 4300);
        assert_eq!(try_load("", &[]).unwrap().cli.service.port, 4200);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = try_load("prot = 4300", &[]).unwrap_err().to_string();
        assert!(error.contains("`prot`"), "{error}");
        let error = try_load("a = [", &[]).unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let loaded = try_load("relay_signing_key = \"whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0\"", &[]).unwrap();
        let text = show(&loaded.settings);
        assert!(text.contains("relay_signing_key = \"<redacted>\""), "{text}");
        assert!(!text.contains("c2VjcmV0") && !format!("{loaded:?}").contains("c2VjcmV0"));
        assert!(loaded.cli.service.signing_keys().is_ok());
    }

    #[test]
    fn tables_are_shown_without_their_secrets() {
        let toml = "[[routes]]\nname = \"bot\"\nurl = \"https://example.org/hook?token=s3cret\"\nsigning_key = \"s3cret\"\nevents = [\"push\", \"issues\"]";
        let loaded = try_load(toml, &[]).unwrap();
        let text = show(&loaded.settings);
        for line in [
            "routes[0].name = \"bot\"",
            "routes[0].signing_key = \"<redacted>\"",
            "routes[0].url = \"https://example.org/hook?redacted\"",
            "routes[0].events = \"push,issues\"",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains("s3cret") && !format!("{loaded:?}").contains("s3cret"));
    }

    #[test]
    fn a_url_that_cannot_be_read_is_shown_without_its_password() {
        let flags = ["relay", "--listen", "https://me:s3/cret@example.org"];
        let error = describe(Cli::command(), &DEFAULTS).try_get_matches_from(flags).unwrap_err();
        let text = show::without_value(error).to_string();
        assert!(text.contains("--listen") && text.contains("https://redacted@example.org"), "{text}");
        assert!(!text.contains("cret"), "{text}");
    }

    #[test]
    fn a_secret_comes_from_its_variable_or_its_file_but_not_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "from-file\n").unwrap();
        let value = SecretString::from("from-variable");
        assert_eq!(secret("X", None, Some(&path)).unwrap().unwrap().expose_secret(), "from-file");
        let both = secret("X", Some(&value), Some(&path)).unwrap_err().to_string();
        assert!(both.contains("X_FILE") && !both.contains("from-"), "{both}");
        assert!(required("X", None, None).unwrap_err().to_string().starts_with("X is not set"));
    }
}
