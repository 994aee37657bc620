//! Whether secrets are worth their name. What is told of one is its length, never a part of it.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt, path::Path};

use secrecy::{ExposeSecret, SecretString};

use super::Finding;
use crate::signature::KeyError;

/// `openssl rand -hex 16` makes as many.
const COMFORTABLE: usize = 32;
/// What is drawn by chance has more different characters.
const FEWEST: usize = 8;

/// What makes a good one.
pub const MAKE: &str = "make one with `openssl rand -hex 32`";
/// What makes a good key between our services.
pub const MAKE_KEY: &str = "make one with `echo whsec_$(openssl rand -hex 32)`, and set it on both machines";

/// The secrets of a comma-separated list.
pub fn split(list: &SecretString) -> Vec<SecretString> {
    let parts = list.expose_secret().split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(SecretString::from).collect()
}

/// The secrets that a setting was `given`, one by one, and what they are worth. `check` says whether they are usable at all,
/// `load` where they come from if there are none, and `make` how better ones are made.
pub fn list(
    found: &mut Vec<Finding>,
    name: &str,
    given: anyhow::Result<SecretString>,
    load: &str,
    check: impl Fn(&SecretString) -> Result<(), KeyError>,
    make: &str,
) -> Vec<SecretString> {
    let given = match given {
        Ok(given) => given,
        Err(error) => {
            found.push(Finding::fail(name, format!("{error:#}"), load));
            return vec![];
        }
    };
    let secrets = split(&given);
    found.push(match check(&given) {
        Ok(()) => strength(name, &secrets, make),
        Err(error) => Finding::fail(name, error.to_string(), make),
    });
    secrets
}

/// How hard the secrets of the setting `name` are to guess; `make` says how a better one is made. That they are usable at
/// all, somebody else has checked.
pub fn strength(name: &str, secrets: &[SecretString], make: &str) -> Finding {
    let weakness = |(index, secret): (usize, &SecretString)| {
        let text = secret.expose_secret();
        let (length, different) = (text.chars().count(), text.chars().collect::<BTreeSet<_>>().len());
        let which = if secrets.len() > 1 { format!("number {} ", index + 1) } else { String::new() };
        if different < FEWEST {
            Some(format!("{which}has only {different} different characters: it is easy to guess"))
        } else if length < COMFORTABLE {
            Some(format!(
                "{which}has {length} characters; {COMFORTABLE} chosen by chance are beyond guessing"
            ))
        } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-+/=.".contains(&b)) {
            Some(format!("{which}has characters that shells, compose files and Coolify may change"))
        } else {
            None
        }
    };
    match secrets.iter().enumerate().find_map(weakness) {
        Some(says) => Finding::warn(name, says, make),
        None => {
            let lengths: Vec<_> =
                secrets.iter().map(|one| one.expose_secret().chars().count().to_string()).collect();
            let many =
                if secrets.len() > 1 { format!("{} are valid, of ", secrets.len()) } else { String::new() };
            Finding::ok(name, format!("{many}{} characters", lengths.join(" and ")))
        }
    }
}

/// Settings that have the same secret: who learns one has the other.
pub fn reused(named: &[(&str, Vec<SecretString>)]) -> Option<Finding> {
    for (index, (name, secrets)) in named.iter().enumerate() {
        for (other, others) in &named[index + 1..] {
            let same = |secret: &SecretString| {
                others.iter().any(|other| other.expose_secret() == secret.expose_secret())
            };
            if secrets.iter().any(same) {
                let says = format!("{name} and {other} are the same: who learns one has the other");
                return Some(Finding::fail("secrets apart", says, format!("give each its own: {MAKE}")));
            }
        }
    }
    None
}

/// Whether a file that holds secrets is its owner's alone; `None` if it cannot be looked at.
pub fn private(name: &str, path: &Path) -> Option<Finding> {
    let mode = path.metadata().ok()?.permissions().mode() & 0o777;
    let shown = path.display();
    let check = format!("{name} file");
    Some(match mode & 0o077 {
        0 => Finding::ok(check, format!("{shown} is its owner's alone")),
        _ => Finding::warn(
            check,
            format!("{shown} has mode {mode:03o}: others on this machine can read or change it"),
            format!("chmod 600 {shown}"),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn of(secrets: &[&str]) -> Finding {
        let secrets: Vec<_> = secrets.iter().map(|&one| SecretString::from(one)).collect();
        strength("S", &secrets, MAKE)
    }

    #[test]
    fn a_secret_is_judged_by_its_length_and_variety_and_never_shown() {
        let good = "0123456789abcdef0123456789abcdef";
        assert_eq!(of(&[good]).says, "32 characters");
        assert_eq!(of(&[good, good]).says, "2 are valid, of 32 and 32 characters");
        for (weak, why) in [
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "1 different"),
            ("canary-of-20-letters", "20 characters"),
            ("canary$with#odd signs in it, and long enough", "may change"),
        ] {
            let found = of(&[good, weak]);
            assert_eq!(found.status, Status::Warn);
            assert!(found.says.starts_with("number 2") && found.says.contains(why), "{}", found.says);
            assert!(!format!("{found:?}").contains("canary"));
        }
    }

    #[test]
    fn one_secret_for_two_purposes_is_found() {
        let one = |text: &str| vec![SecretString::from(text)];
        assert_eq!(reused(&[("A", one("x")), ("B", one("y"))]), None);
        let found = reused(&[("A", one("x")), ("B", one("y")), ("C", one("x"))]).unwrap();
        assert!(found.says.starts_with("A and C are the same"), "{}", found.says);
    }

    #[test]
    fn a_file_of_secrets_is_its_owner_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        assert_eq!(private("X", &file), None);
        std::fs::write(&file, "x").unwrap();
        for (mode, status) in
            [(0o600, Status::Ok), (0o400, Status::Ok), (0o640, Status::Warn), (0o604, Status::Warn)]
        {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(private("X", &file).unwrap().status, status, "{mode:o}");
        }
    }
}
