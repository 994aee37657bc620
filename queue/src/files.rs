//! A store's files: `queue.db` with its log beside it; the memory has such ones, too.

use std::path::{Path, PathBuf};

/// The file beside `path` whose name goes on with `end`.
pub fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
