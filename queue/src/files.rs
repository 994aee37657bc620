//! A store's files: `queue.db` with its log beside it, `queue.db-wal`; the memory has such ones, too.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::OFlags;

/// How the names of a store's own files end. A log belongs to the file that it was written for, and to no other.
const ENDS: [&str; 3] = ["", "-wal", "-shm"];
/// Of what [`replace`] moved aside.
const REPLACED: &str = ".replaced-";

/// The file beside `path` whose name goes on with `end`.
pub fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The files beside `path` whose names go on with `end`, and how they go on after that.
pub(crate) fn beside(path: &Path, end: &str) -> impl Iterator<Item = (String, PathBuf)> {
    let start = with_end(path, end).file_name().unwrap_or_default().to_string_lossy().into_owned();
    fs::read_dir(folder(path)).into_iter().flatten().flatten().filter_map(move |file| {
        let rest = file.file_name().to_string_lossy().strip_prefix(&start)?.to_owned();
        Some((rest, file.path()))
    })
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The right to be the one process that works with the store at `path`, for as long as the file is open; `None`: another
/// one has it.
///
/// # Errors
/// The file cannot be made, or is none.
pub fn lock(path: &Path) -> io::Result<Option<File>> {
    let place = path.with_extension("lock");
    let lock = itself(OpenOptions::new().write(true).create(true).truncate(false), &place)?;
    if let Err(error) = give(&lock, &place) {
        tracing::warn!(lock = %place.display(), %error, "the lock stays root's; the service may be unable to open it");
    }
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Gives a file that root has made to those who have its folder: the service runs under their account.
///
/// # Errors
/// It cannot be given.
pub fn give_to_owner_of_folder(file: &Path) -> io::Result<()> {
    give(&itself(OpenOptions::new().read(true), file)?, file)
}

fn give(file: &File, path: &Path) -> io::Result<()> {
    let (made, folder) = (file.metadata()?, fs::metadata(folder(path))?);
    match made.uid() {
        0 if folder.uid() != 0 && made.nlink() == 1 => fchown(file, Some(folder.uid()), Some(folder.gid())),
        _ => Ok(()),
    }
}

/// Opens a file that is one: those who have the folder could have put there what leads root to a file of its own.
fn itself(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // Nor does it wait for the other end of a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other(format!("{} is no file", path.display()))),
    }
}

/// Gives `unfinished`, which is whole, the name `path`: it is on disk under its own before it is there under that.
///
/// # Errors
/// It cannot be brought to the disk, or have the name.
pub fn settle(unfinished: &Path, path: &Path) -> io::Result<()> {
    File::open(unfinished)?.sync_all()?;
    fs::rename(unfinished, path)?;
    sync_names(path)
}

fn sync_names(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// Puts `new`, which is whole, in the place of the store at `path`, which is moved aside with its log; answers where to.
/// At each moment the former one with its log is there, or none, which [`left_by_a_replacement`] tells, or the new one.
///
/// # Errors
/// A file cannot be moved.
pub fn replace(path: &Path, new: &Path) -> io::Result<Option<PathBuf>> {
    File::open(new)?.sync_all()?;
    let aside = place_aside(path);
    for end in ENDS {
        let file = with_end(path, end);
        if file.exists() {
            fs::rename(&file, with_end(&aside, end))?;
            sync_names(path)?;
        }
    }
    settle(new, path)?;
    Ok(aside.exists().then_some(aside))
}

/// Where the store at `path` is to be moved; where a replacement that was cut off had begun to move it.
fn place_aside(path: &Path) -> PathBuf {
    let begun = beside(path, REPLACED).filter(|(at, _)| at.ends_with('Z')).max();
    let begun =
        begun.filter(|(at, begun)| !path.exists() && may_have_log(at, begun, &with_end(path, "-wal")));
    // So exactly that a second one in the same second does not take the place of the first.
    begun
        .map_or_else(|| with_end(path, &format!("{REPLACED}{}", stamp(Timestamp::now()))), |(_, begun)| begun)
}

/// Whether `log`, if there is one, can be that of the file moved aside `at` that time: it has none yet, and nobody has
/// written to the log since.
fn may_have_log(at: &str, aside: &Path, log: &Path) -> bool {
    let Ok(log) = fs::metadata(log) else { return true };
    let written = log.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    written.is_some_and(|written| *stamp(written) <= *at) && !with_end(aside, "-wal").exists()
}

fn stamp(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%S.%3fZ").to_string()
}

/// What was moved aside for the store at `path`, each with its log.
pub(crate) fn replaced(path: &Path) -> impl Iterator<Item = PathBuf> {
    beside(path, REPLACED).map(|(_, file)| file)
}

/// Where there is no store at `path`: what shows that there was one, or was to be one. An empty one in its place would hide
/// that, and SQLite would throw away a log that is there.
pub fn left_by_a_replacement(path: &Path) -> Option<PathBuf> {
    let log = with_end(path, "-wal");
    let log = fs::metadata(&log).is_ok_and(|log| log.len() > 0).then_some(log);
    let unfinished = || Some(with_end(path, ".unfinished")).filter(|file| file.exists());
    let replaced = || replaced(path).max();
    if path.exists() { None } else { log.or_else(unfinished).or_else(replaced) }
}

/// What is to be said of that.
pub fn how_to_go_on(path: &Path, left: &Path) -> String {
    format!(
        "there is none, but {}, as when a restore is cut off; restore the backup once more, or, to begin with an empty store: mv {}?* ANOTHER-FOLDER",
        left.display(),
        path.display()
    )
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
