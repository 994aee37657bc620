//! What the tunnel says while it runs: a line for each change, with its time.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use jiff::{Timestamp, Unit};
use shared::terminal::printable;

/// A file of this size is moved aside, in place of the one before.
const LARGEST: u64 = 1 << 20;
const LONGEST_LINE: usize = 1000;

/// Standard output, or a file that never takes more than twice [`LARGEST`].
#[derive(Debug)]
pub(super) struct Log {
    file: Option<PathBuf>,
}

impl Log {
    /// To standard output, which the system's journal keeps.
    pub(super) fn to_output() -> Self {
        Self { file: None }
    }

    /// To a file, whichever folder the tunnel works in later.
    ///
    /// # Errors
    /// The working folder is gone.
    pub(super) fn to_file(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { file: Some(std::path::absolute(path)?) })
    }

    /// Says one line. A log that cannot be written must not end the tunnel.
    pub(super) fn say(&self, text: &str) {
        let now = Timestamp::now().round(Unit::Second).unwrap_or_default();
        let text: String = printable(text).chars().take(LONGEST_LINE).collect();
        let line = format!("{now} tunnel: {text}\n");
        match &self.file {
            None => {
                let _ = std::io::stdout().write_all(line.as_bytes());
            }
            Some(path) => {
                if let Err(error) = append(path, &line, LARGEST) {
                    eprintln!("error: {error:#}; the line was: {line}");
                }
            }
        }
    }
}

fn append(path: &Path, line: &str, largest: u64) -> anyhow::Result<()> {
    if fs::metadata(path).is_ok_and(|file| file.len() >= largest) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The last lines of a file.
pub(super) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_stays_small_and_loses_only_the_oldest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tunnel.log");
        for number in 0..40 {
            append(&path, &format!("line {number:02}\n"), 64).unwrap();
        }
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        let both = [path.with_extension("log.1"), path.clone()].map(|path| fs::read_to_string(path).unwrap());
        assert!(both.iter().all(|text| text.len() <= 72), "{both:?}");
        let kept = both.concat();
        let expected: String =
            (40 - kept.lines().count()..40).map(|number| format!("line {number:02}\n")).collect();
        assert_eq!(kept, expected);
        assert_eq!(tail(&path, 1), "line 39\n");
    }
}
