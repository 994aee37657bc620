//! Small disks that can be filled, made read-only, or broken. Where the machine does not let us mount, there are none.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tempfile::TempDir;

use super::process::run;

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Volume {
    folder: TempDir,
    image: Option<PathBuf>,
    mounted: bool,
}

impl Volume {
    /// In memory, of so many KiB.
    ///
    /// # Errors
    /// This machine does not let us mount.
    pub(super) fn in_memory(kibibytes: u64) -> anyhow::Result<Self> {
        let mut volume =
            Self { folder: TempDir::with_prefix("crash-test-disk-")?, image: None, mounted: false };
        let size = format!("size={kibibytes}k");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &volume.path_text()])?;
        volume.mounted = true;
        Ok(volume)
    }

    /// An ext4 in a file, which becomes read-only when it meets an error, as most servers' disks do.
    ///
    /// # Errors
    /// This machine does not let us mount, or has no loop devices.
    pub(super) fn in_file(kibibytes: u64) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("crash-test-disk-")?;
        let image = folder.path().with_extension("img");
        let mut volume = Self { folder, image: Some(image.clone()), mounted: false };
        fs::File::create(&image)?.set_len(kibibytes * 1024)?;
        run("mkfs.ext4", &["-q", "-F", "-O", "^has_journal", &image.display().to_string()])?;
        volume.mount()?;
        Ok(volume)
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn path_text(&self) -> String {
        self.path().display().to_string()
    }

    /// Mounts the file again, after [`unmount`](Self::unmount).
    pub(super) fn mount(&mut self) -> anyhow::Result<()> {
        let image = self.image.as_ref().context("it lives in memory")?.display().to_string();
        run("mount", &["-o", "loop,errors=remount-ro", &image, &self.path_text()])?;
        self.mounted = true;
        Ok(())
    }

    /// Unmounts it; what is in a file stays there.
    pub(super) fn unmount(&mut self) -> anyhow::Result<()> {
        run("umount", &[&self.path_text()])?;
        self.mounted = false;
        Ok(())
    }

    /// From now on nobody may write, or may again. Only while no file is open for writing.
    pub(super) fn set_read_only(&self, read_only: bool) -> anyhow::Result<()> {
        let how = if read_only { "remount,ro" } else { "remount,rw" };
        run("mount", &["-o", how, &self.path_text()])
    }

    /// The kernel meets an error on it and makes it read-only under whoever writes.
    pub(super) fn break_down(&self) -> anyhow::Result<()> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let path = self.path_text();
        let device = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let device = words.next()?;
            (words.next()? == path).then_some(device)
        });
        let name = device.and_then(|device| device.strip_prefix("/dev/")).context("it is not mounted")?;
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").context("the kernel cannot be told")
    }

    /// Writes a file until nothing more fits, but for `spare` KiB.
    pub(super) fn fill(&self, spare: u64) -> anyhow::Result<()> {
        let block = vec![0_u8; 4096];
        let mut filler = fs::File::create(self.filler())?;
        let mut written = 0;
        while std::io::Write::write_all(&mut filler, &block).is_ok() {
            written += 4096;
        }
        Ok(filler.set_len(written - written.min(spare * 1024))?)
    }

    /// Takes that file away.
    pub(super) fn make_room(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.mounted && run("umount", &[&self.path_text()]).is_err() {
            // Somebody still has a file open; it goes as soon as they do not.
            let _ = run("umount", &["-l", &self.path_text()]);
        }
        if let Some(image) = &self.image {
            let _ = fs::remove_file(image);
        }
    }
}
