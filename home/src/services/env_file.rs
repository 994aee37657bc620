//! The file with the settings: lines NAME=VALUE as container engines and our scripts read them. Nothing in it is run.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::Path,
};

use anyhow::{Context, bail};

use crate::{commands, tunnel::place::write_private};

/// What there is to set, with its defaults.
const EXAMPLE: &str = include_str!("../../../.env.example");
/// Settings that stand there empty and that the services need, with what their values begin with.
const SECRETS: [(&str, &str); 4] = [
    ("GITHUB_WEBHOOK_SECRET", ""),
    ("RELAY_SIGNING_KEY", "whsec_"),
    ("RELAY_ADMIN_TOKEN", ""),
    ("MEMORY_TOKEN", ""),
];
/// Nobody writes more settings than this by hand.
const LARGEST: u64 = 1024 * 1024;

/// The settings of a file that its owner alone can read.
///
/// # Errors
/// It is missing, not ours, open to others, or not made of such lines. No error quotes a line, which may hold a secret.
pub(super) fn read(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| {
        format!(
            "cannot read the settings {shown}; `{}` makes them with fresh secrets; where they are already, run this in that \
             folder",
            commands::services("install")
        )
    })?;
    let about = file.metadata().with_context(|| format!("cannot read {shown}"))?;
    check_private(path, &about)?;
    let mut text = String::new();
    file.take(LARGEST + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("{shown} is not a text file"))?;
    if text.len() as u64 > LARGEST {
        bail!("{shown} has more than a MiB; is it the file with the settings?");
    }
    parse(&text).with_context(|| format!("{shown} cannot be used"))
}

/// Makes the file with fresh secrets, as `make_env` in `scripts/lib.sh`, unless it is there; whether it was made.
///
/// # Errors
/// It cannot be written.
pub(super) fn make(path: &Path) -> anyhow::Result<bool> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(false);
    }
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        text.push_str(line);
        let empty = line.strip_suffix('=');
        if let Some((_, prefix)) = SECRETS.iter().find(|(name, _)| Some(*name) == empty) {
            text.push_str(prefix);
            text.push_str(&random_hex()?);
        }
        text.push('\n');
    }
    write_private(path, &text)?;
    Ok(true)
}

fn random_hex() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no random numbers")?;
    Ok(hex::encode(bytes))
}

/// Whoever can read it has every secret, and whoever can write it chooses what runs.
fn check_private(path: &Path, about: &fs::Metadata) -> anyhow::Result<()> {
    let (shown, mode) = (path.display(), about.mode() & 0o777);
    if !about.is_file() {
        bail!("{shown} is not a file");
    }
    if mode & 0o077 != 0 {
        bail!("{shown} holds secrets and others may open it (mode {mode:03o}); run: chmod 600 '{shown}'");
    }
    let us = rustix::process::geteuid().as_raw();
    if about.uid() != us && about.uid() != 0 {
        bail!("{shown} belongs to another account (uid {}); run: sudo chown {us} '{shown}'", about.uid());
    }
    Ok(())
}

/// As `load_env` in `scripts/lib.sh`: lines that begin with a capital letter count, one pair of quotes around a value is
/// taken off, and of two lines with the same name the first counts.
fn parse(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let Some((name, value)) = line.split_once('=') else { continue };
        if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
            continue;
        }
        if !name.chars().all(|sign| sign.is_ascii_alphanumeric() || sign == '_') {
            bail!("line {} does not begin with NAME=", number + 1);
        }
        if value.contains('\0') {
            bail!("line {} holds a zero byte", number + 1);
        }
        settings.entry(name.to_owned()).or_insert_with(|| unquoted(value).to_owned());
    }
    Ok(settings)
}

fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn lines_are_read_as_the_scripts_read_them() {
        let text = "# a comment\nA=1\r\nB=\"two words\"\nC='$HOME'\nD=a=b\nE=\nlower=no\n F=no\nno line\nA=2\nG=\"\nH=\"x'\n";
        let (_folder, path) = file(text, 0o600);
        let found: Vec<_> = read(&path).unwrap().into_iter().collect();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "$HOME"),
            ("D", "a=b"),
            ("E", ""),
            ("G", "\""),
            ("H", "\"x'"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_file_that_others_may_open_is_refused_with_the_command_that_mends_it() {
        for mode in [0o640, 0o604, 0o620, 0o644] {
            let (_folder, path) = file("TOKEN=s3cret", mode);
            let error = format!("{:#}", read(&path).unwrap_err());
            assert!(error.contains(&format!("(mode {mode:o}); run: chmod 600 '/")), "{error}");
            assert!(!error.contains("s3cret"));
        }
        let (_folder, path) = file("A=1", 0o400);
        assert!(read(&path).is_ok());
    }

    #[test]
    fn a_missing_file_is_made_with_secrets_of_its_own_as_the_scripts_make_it() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, other, scripts] = ["a", "b", "c"].map(|name| folder.path().join(name));
        assert!(make(&ours).unwrap() && make(&other).unwrap());
        assert!(!make(&ours).unwrap(), "what is there stays");
        let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lib.sh");
        let made = std::process::Command::new("bash")
            .args(["-c", ". \"$0\"; make_env \"$1\""])
            .args([&lib, &scripts])
            .status();
        assert!(made.unwrap().success());
        let [ours, other, scripts] = [ours, other, scripts].map(|path| read(&path).unwrap());
        let shape = |settings: &BTreeMap<String, String>| {
            let shown = |value: &String| (value.starts_with("whsec_"), value.len());
            settings.iter().map(|(name, value)| (name.clone(), shown(value))).collect::<Vec<_>>()
        };
        assert_eq!(shape(&ours), shape(&scripts));
        for (name, _) in SECRETS {
            assert!(ours[name].len() >= 64 && ours[name] != other[name], "{name}");
        }
    }

    #[test]
    fn no_error_quotes_a_line() {
        for text in ["A=1\nTOKEN s3cret=x", "A=1\nB=s3cret\0"] {
            let (_folder, path) = file(text, 0o600);
            let error = format!("{:#}", read(&path).unwrap_err());
            assert!(error.contains("line 2") && !error.contains("s3cret"), "{error}");
        }
        let error = format!("{:#}", read(Path::new("/nowhere/.env")).unwrap_err());
        assert!(error.contains("install` makes them with fresh secrets"), "{error}");
        let (_folder, path) = file(&"A=1\n".repeat(300_000), 0o600);
        assert!(read(&path).unwrap_err().to_string().contains("more than a MiB"));
    }
}
