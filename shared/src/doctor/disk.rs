//! Room on the disk, and whether the data folder can be written.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::Finding;

/// With less nothing works for long.
const LEAST: u64 = 128 << 20;

/// Bytes that may still be written where `path` is, or is to be made.
///
/// # Errors
/// The file system does not tell.
pub fn free(path: &Path) -> io::Result<u64> {
    let there = path.ancestors().find(|folder| folder.exists() && !folder.as_os_str().is_empty());
    let stat = rustix::fs::statvfs(there.unwrap_or(Path::new(".")))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether there is room at `path` for `growth` more bytes, which its limits allow.
pub fn room(path: &Path, growth: u64) -> Finding {
    match free(path) {
        Ok(free) => judge(path, free, growth),
        Err(error) => Finding::skipped("disk", format!("the file system does not tell: {error}")),
    }
}

fn judge(path: &Path, free: u64, growth: u64) -> Finding {
    let (folder, left, wanted) = (path.display(), size(free), size(growth));
    let look = format!("`df -h {folder}`; make room, or lower RETENTION_SIZE");
    match free {
        ..LEAST => Finding::fail("disk", format!("only {left} are free at {folder}"), look),
        _ if free < growth => Finding::warn(
            "disk",
            format!("{left} are free at {folder}; what is kept may grow by {wanted} within its limits"),
            look,
        ),
        _ => Finding::ok("disk", format!("{left} are free")),
    }
}

/// Whether a file can be made in `folder`. It is made, brought to the disk, and removed.
pub fn writable(folder: &Path) -> Finding {
    let tried = folder.join(format!(".doctor-{}", std::process::id()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tried)?;
        file.write_all(b"doctor")?;
        file.sync_all()
    };
    let written = write();
    let _ = fs::remove_file(&tried);
    let shown = folder.display();
    match written {
        Ok(()) => Finding::ok("data folder", format!("{shown} can be written")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::warn(
            "data folder",
            format!("{shown} is not there yet; the service makes it, with an empty store, where it runs"),
            "if there is a store elsewhere, set DATA_DIR to its folder",
        ),
        Err(error) => Finding::fail(
            "data folder",
            format!("{shown} cannot be written: {error}"),
            format!("`ls -ld {shown}`; give it to the account that the service runs under, or set DATA_DIR"),
        ),
    }
}

/// For people.
pub fn size(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{} KiB", bytes >> 10)
    } else if bytes < 1 << 30 {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{}.{} GiB", bytes >> 30, ((bytes & 0x3FFF_FFFF) * 10) >> 30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn room_is_judged_by_what_may_still_come() {
        let status = |free, growth| judge(Path::new("/data"), free, growth).status;
        assert_eq!(status(1 << 20, 0), Status::Fail);
        assert_eq!(status(1 << 30, 2 << 30), Status::Warn);
        assert_eq!(status(3 << 30, 2 << 30), Status::Ok);
        assert_eq!([size(2048), size(5 << 20), size((3 << 30) + (1 << 29))], ["2 KiB", "5 MiB", "3.5 GiB"]);
    }

    #[test]
    fn a_folder_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(writable(folder.path()).status, Status::Ok);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(writable(&folder.path().join("none")).status, Status::Warn);
        // A file where a folder should be: also root cannot write there.
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(writable(&file).status, Status::Fail);
        assert!(free(&folder.path().join("not/there/yet")).unwrap() > 0);
    }
}
