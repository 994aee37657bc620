//! The copies that are set aside before a store is upgraded: the way back to the version before. They lie beside the store,
//! as `queue.db.schema-1-20261130T070000Z`; the memory's file has such ones, too.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;

use crate::files::{self, beside, with_end};

/// Nobody goes back after so long, and what was removed from a store must be gone from here, too.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
const TIME: &str = "%Y%m%dT%H%M%SZ";
const START: &str = ".schema-";
/// Of the store, that an upgrade takes room for.
const COPIES: u64 = 3;

/// A copy that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Aside {
    /// Where.
    pub path: PathBuf,
    /// When it goes by itself; what a restore moved aside stays until somebody removes it.
    pub until: Option<Timestamp>,
}

/// A copy that was just made. It goes again unless it is kept: an upgrade that failed has changed nothing, and each further
/// start would leave one.
#[derive(Debug)]
#[must_use = "it goes again unless it is kept"]
pub struct Copied(Option<PathBuf>);

impl Copied {
    /// The upgrade is done.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        if let Some(copy) = &self.0 {
            remove(copy, "the upgrade failed and changed nothing");
        }
    }
}

/// Sets a copy of the store at `path` aside, which is of that schema now; `copy` makes it.
///
/// # Errors
/// Those of `copy`.
pub fn set<E>(path: &Path, schema: i64, copy: impl FnOnce(&Path) -> Result<(), E>) -> Result<Copied, E> {
    // What a start left that was killed, and what this copy is newer than.
    for found in found(path).filter(|found| found.schema == schema || !found.whole) {
        remove(&found.path, "it makes room for the copy before an upgrade");
    }
    let aside = with_end(path, &format!("{START}{schema}-{}", Timestamp::now().strftime(TIME)));
    copy(&aside)?;
    tracing::info!(from = schema, copy = %aside.display(), "upgrading the store");
    Ok(Copied(Some(aside)))
}

/// Whether there is room to upgrade the store at `path`: for the copy that is set aside, for what is made anew, and for the
/// log that this goes through. To find out by writing would leave none for others.
///
/// # Errors
/// There is not; the file system does not tell.
pub fn room(path: &Path) -> io::Result<()> {
    let stat = rustix::fs::statvfs(path)?;
    let size = |end: &str| fs::metadata(with_end(path, end)).map_or(0, |file| file.len());
    enough(stat.f_bavail.saturating_mul(stat.f_frsize), COPIES * (size("") + size("-wal")))
}

fn enough(free: u64, wanted: u64) -> io::Result<()> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    if free > wanted {
        return Ok(());
    }
    let short = format!("it takes {} MiB, and {} MiB are free", mib(wanted), mib(free));
    Err(io::Error::new(io::ErrorKind::StorageFull, short))
}

/// The newest copy of the store at `path` that a build which knows `schema` can open.
pub fn newest(path: &Path, schema: i64) -> Option<PathBuf> {
    let fitting = found(path).filter(|found| found.whole && found.schema <= schema);
    fitting.map(|found| (found.schema, found.path)).max().map(|(_, copy)| copy)
}

/// Removes the copies of the store at `path` that are older than two weeks, and what is left of one that was not finished;
/// answers the others. For those who have the store locked: nobody else makes one then.
pub fn clear(path: &Path) -> Vec<Aside> {
    let now = Timestamp::now();
    let mut left = Vec::new();
    for Found { path, whole, .. } in found(path) {
        let made = fs::metadata(&path).and_then(|known| known.modified()).ok();
        let until = made.and_then(|made| Timestamp::try_from(made + KEPT).ok()).unwrap_or(now);
        if whole && until > now {
            left.push(Aside { path, until: Some(until) });
        } else {
            remove(&path, "it was kept for long enough");
        }
    }
    left
}

/// As [`clear`], with what restores have moved aside.
pub fn left(path: &Path) -> Vec<Aside> {
    let mut replaced: Vec<_> = files::replaced(path).collect();
    replaced.sort();
    let replaced = replaced.into_iter().map(|path| Aside { path, until: None });
    clear(path).into_iter().chain(replaced).collect()
}

fn remove(copy: &Path, why: &'static str) {
    match fs::remove_file(copy) {
        Ok(()) => tracing::info!(copy = %copy.display(), why, "removed a copy from before an upgrade"),
        Err(error) => {
            tracing::warn!(copy = %copy.display(), %error, "a copy from before an upgrade cannot be removed");
        }
    }
}

struct Found {
    schema: i64,
    whole: bool,
    path: PathBuf,
}

/// Nothing that only looks like one.
fn found(path: &Path) -> impl Iterator<Item = Found> {
    beside(path, START).filter_map(|(rest, path)| {
        let (schema, at) = rest.split_once('-')?;
        let (_, rest) = at.split_at_checked(16).filter(|(at, _)| at.ends_with('Z'))?;
        let known = rest.is_empty() || rest.starts_with(".unfinished");
        known.then_some(Found { schema: schema.parse().ok()?, whole: rest.is_empty(), path })
    })
}

#[cfg(test)]
#[path = "aside_tests.rs"]
mod tests;
