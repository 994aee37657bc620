//! What `config show` shows.

use std::{collections::BTreeSet, fmt::Write as _};

use clap::{
    Arg, ArgMatches, Command,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};

use super::{is_setting, scalar};

/// One line of `config show`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name in the TOML file; in upper case, its environment variable.
    pub name: String,
    /// Its value, or `<redacted>`, or `None` when it is not set.
    pub value: Option<String>,
    /// `flag`, `environment`, `file` or `default`.
    pub source: &'static str,
}

/// The settings that clap knows.
pub(super) fn settings(
    command: &Command,
    matches: &ArgMatches,
    from_file: &BTreeSet<String>,
) -> Vec<Setting> {
    let show = |arg: &Arg| {
        let name = arg.get_id().to_string();
        let raw = matches.try_get_raw(&name).ok().flatten();
        let value =
            raw.map(|values| values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(","));
        let source = match matches.value_source(&name) {
            Some(ValueSource::CommandLine) => "flag",
            Some(ValueSource::EnvVariable) => "environment",
            _ if from_file.contains(&name) => "file",
            _ => "default",
        };
        let value = value.map(|text| without_password(&text));
        let value = if arg.is_hide_env_values_set() { value.map(|_| "<redacted>".to_owned()) } else { value };
        Setting { name, value, source }
    };
    let mut settings: Vec<Setting> =
        command.get_arguments().filter(|arg| is_setting(arg)).map(show).collect();
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    settings
}

/// One line for each value in the TOML file's tables, as `table[0].key`. A key that is named like a secret is one.
pub(super) fn table_settings(tables: &toml::Table) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (table, entries) in tables {
        for (index, entry) in entries.as_array().into_iter().flatten().enumerate() {
            for (key, value) in entry.as_table().into_iter().flatten() {
                let secret = ["key", "secret", "token", "password"].iter().any(|word| key.ends_with(word));
                let text = if secret { "<redacted>".to_owned() } else { scalar(value).unwrap_or_default() };
                let name = format!("{table}[{index}].{key}");
                settings.push(Setting { name, value: Some(without_password(&text)), source: "file" });
            }
        }
    }
    settings
}

/// The text of `config show`: every setting, its value, and where that came from.
pub fn show(settings: &[Setting]) -> String {
    let mut text = String::new();
    for Setting { name, value, source } in settings {
        let _ = match value {
            Some(value) => writeln!(text, "{:<56} # {source}", format!("{name} = {value:?}")),
            None => writeln!(text, "{:<56} # not set", format!("# {name} =")),
        };
    }
    text
}

/// A mistake on the command line or in the environment, told without the password of a URL that cannot be read.
pub(super) fn without_value(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let shown = ContextValue::String(without_password(value));
        error.insert(ContextKind::InvalidValue, shown);
    }
    error
}

/// What looks like a URL, without what looks like its user and password.
fn without_user(text: &str) -> String {
    match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://redacted@{host}"),
        None => text.to_owned(),
    }
}

/// A URL with the password it should not have, or with a token in its query, made showable.
pub fn without_password(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return without_user(text) };
    let (user, query) = (url.password().is_some() || !url.username().is_empty(), url.query().is_some());
    if user {
        let _ = (url.set_username("redacted"), url.set_password(None));
    }
    if query {
        url.set_query(Some("redacted"));
    }
    if user || query { url.to_string() } else { text.to_owned() }
}
