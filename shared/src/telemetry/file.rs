//! A log file that stays within a size: when it is full, it is kept as `NAME.1`, what was `NAME.1` as `NAME.2`, and so on.
//!
//! Our own, since tracing-appender goes by time only, and the crates that go by size panic or keep a lock poisoned where
//! somebody else moves a file: a log must never end the service.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;

/// The highest number that a kept file may have had under other settings.
pub(crate) const MOST_KEPT: u32 = 99;

/// Takes whole lines; each write is one.
pub(super) struct LogFile {
    path: PathBuf,
    largest: u64,
    kept: u32,
    file: File,
    size: u64,
}

impl LogFile {
    /// Goes on in the file if it is there. Kept ones beyond `kept` are removed.
    pub(super) fn open(path: &Path, largest: u64, kept: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        for number in kept + 1..=MOST_KEPT {
            let _ = fs::remove_file(numbered(path, number));
        }
        let file = open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), largest, kept, file, size })
    }

    /// Where the files cannot be moved, the present one begins anew: the limit holds in any case.
    fn begin_anew(&mut self) -> io::Result<()> {
        match self.keep().and_then(|()| open(&self.path)) {
            Ok(file) => self.file = file,
            Err(_) => self.file.set_len(0)?,
        }
        self.size = self.file.metadata()?.len();
        Ok(())
    }

    fn keep(&self) -> io::Result<()> {
        if self.kept == 0 {
            return gone_is_well(fs::remove_file(&self.path));
        }
        for number in (1..self.kept).rev() {
            gone_is_well(fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1)))?;
        }
        gone_is_well(fs::rename(&self.path, numbered(&self.path, 1)))
    }
}

impl Write for LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.size > 0 && self.size + line.len() as u64 > self.largest {
            self.begin_anew()?;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The owner's alone: log lines name private repositories.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn gone_is_well(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a folder with their texts, by name.
    fn files(folder: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap_or_else(|_| "a folder".to_owned());
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        files.sort();
        files
    }

    fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_full_file_is_kept_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/a.log");
        let mut log = LogFile::open(&path, 10, 2).unwrap();
        for line in ["one..\n", "two..\n", "three\n", "four.\n", "5\n", "6\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let expected = [("a.log", "four.\n5\n6\n"), ("a.log.1", "three\n"), ("a.log.2", "two..\n")];
        assert_eq!(files(path.parent().unwrap()), named(&expected));
    }

    #[test]
    fn it_goes_on_where_it_was_and_keeps_to_new_settings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        for line in ["one..\n", "two..\n", "three\n"] {
            LogFile::open(&path, 10, 2).unwrap().write_all(line.as_bytes()).unwrap();
        }
        let mut log = LogFile::open(&path, 12, 1).unwrap();
        log.write_all(b"four.\n").unwrap();
        assert_eq!(files(folder.path()), named(&[("a.log", "three\nfour.\n"), ("a.log.1", "two..\n")]));
        LogFile::open(&path, 4, 0).unwrap().write_all(b"a line that is longer than all\n").unwrap();
        assert_eq!(files(folder.path()), named(&[("a.log", "a line that is longer than all\n")]));
    }

    #[test]
    fn where_files_cannot_be_moved_it_begins_anew_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::create_dir_all(folder.path().join("a.log.1/in the way")).unwrap();
        let mut log = LogFile::open(&path, 10, 1).unwrap();
        for line in ["one..\n", "two..\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(files(folder.path()), named(&[("a.log", "two..\n"), ("a.log.1", "a folder")]));
    }

    #[test]
    fn it_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        LogFile::open(&path, 10, 1).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
