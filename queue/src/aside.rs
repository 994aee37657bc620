//! The copies that are set aside before a store is upgraded: the way back to the version before. They lie beside the store,
//! as `queue.db.schema-1-20261130T070000Z`; the memory's file has such ones, too.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

/// Nobody goes back after so long, and what was removed from a store must be gone from here, too.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// Where the store at `path`, which is of that schema now, is to be copied to.
pub fn place(path: &Path, schema: i64) -> PathBuf {
    start(path, &format!("{schema}-{}", Timestamp::now().strftime(TIME)))
}

/// The newest copy of the store at `path` that a build which knows `schema` can open.
pub fn newest(path: &Path, schema: i64) -> Option<PathBuf> {
    copies(path).filter(|(of, _)| *of <= schema).max().map(|(_, copy)| copy)
}

/// Removes the copies of the store at `path` that are older than two weeks.
pub fn clear(path: &Path) {
    for (_, copy) in copies(path) {
        let age =
            fs::metadata(&copy).and_then(|known| known.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > KEPT) {
            match fs::remove_file(&copy) {
                Ok(()) => tracing::info!(copy = %copy.display(), "removed the copy from before an upgrade"),
                Err(error) => tracing::warn!(copy = %copy.display(), %error, "an old copy cannot be removed"),
            }
        }
    }
}

fn start(path: &Path, then: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".schema-{then}"));
    name.into()
}

/// With their schemas.
fn copies(path: &Path) -> impl Iterator<Item = (i64, PathBuf)> {
    let start = start(path, "").file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(move |file| {
        let name = file.file_name().to_string_lossy().into_owned();
        let (schema, at) = name.strip_prefix(&start)?.split_once('-')?;
        // Nothing that only looks like one, such as a copy that was not finished.
        let is_whole = at.len() == 16 && at.ends_with('Z');
        is_whole.then_some((schema.parse().ok()?, file.path()))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::SystemTime};

    use super::*;

    #[test]
    fn the_newest_copy_that_can_be_opened_is_the_way_back_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("queue.db");
        let copy = |end: &str| {
            let path = folder.path().join(format!("queue.db.schema-{end}"));
            File::create(&path).unwrap();
            path
        };
        assert_eq!(newest(&store, 9), None);
        let old = copy("1-20260101T000000Z");
        let [first, second] = [copy("2-20260102T000000Z"), copy("2-20260103T000000Z")];
        let others = [copy("3-20260104T000000Z"), copy("2-20260105T000000Z.unfinished"), copy("x-y")];
        assert_eq!(newest(&store, 2), Some(second.clone()));
        assert_eq!(newest(&store, 1), Some(old.clone()));
        let then = SystemTime::now() - KEPT - Duration::from_secs(60);
        for aged in [&old, &first, &others[1]] {
            File::options().write(true).open(aged).unwrap().set_modified(then).unwrap();
        }
        clear(&store);
        assert!(
            !old.exists() && !first.exists() && second.exists() && others.iter().all(|other| other.exists())
        );
        let place = place(&store, 2);
        File::create(&place).unwrap();
        assert_eq!(newest(&store, 2), Some(place));
    }
}
